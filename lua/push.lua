#!lua
-- Add jobs to one queue and make the queue known.
--
-- KEYS  1   queues    set   rw  names of every queue
--       2   queue     list  rw  the queue itself; the left end is the newest
-- ARGV  1   name      the queue's name, as `queues` holds it
--       2.. payloads  job payloads, oldest first
-- RETURNS   the queue's length after the push
-- BOUND     1000 payloads or the batch_size asked for, 8 MB or one larger payload (the client cuts larger pushes);
--           1 MB takes the server some 3 ms
-- REPLAY    repeats: the jobs are added once more
-- ROLES     enqueuer, worker, scheduler
-- INVARIANT a queue that holds a job is known, and a refused push writes nothing

local queues, queue = KEYS[1], KEYS[2]
local name = ARGV[1]

redis.call("LLEN", queue)
redis.call("SADD", queues, name)
local length = 0
for first = 2, #ARGV, 1000 do
  length = redis.call("LPUSH", queue, unpack(ARGV, first, math.min(first + 999, #ARGV)))
end
return length
