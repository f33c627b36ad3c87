#!lua
-- Add jobs to one queue, unless the same push came before: it may be sent again after a lost reply.
--
-- KEYS  1   queues    set     rw  names of every queue
--       2   queue     list    rw  the queue itself; the left end is the newest
--       3   lane      string  rw  number of the last push that one sender made on this lane
-- ARGV  1   number    this push's number on its lane; the sender has one push at a time on a lane
--       2   ttl       seconds for which the lane is remembered
--       3   name      the queue's name, as `queues` holds it
--       4.. payloads  job payloads, oldest first
-- RETURNS   the queue's length after the push, or 0 if it was done before
-- BOUND     1000 payloads or the batch_size asked for, 8 MB or one larger payload (the client cuts larger pushes);
--           1 MB takes the server some 3 ms
-- REPLAY    token: for ttl seconds the lane remembers the push
-- ROLES     enqueuer, worker
-- INVARIANT a queue that holds a job is known, a refused push writes nothing, and none is done twice

local queues, queue, lane = KEYS[1], KEYS[2], KEYS[3]
local number, ttl, name = ARGV[1], ARGV[2], ARGV[3]

if (tonumber(redis.call("GET", lane)) or 0) >= tonumber(number) then
  -- A write, so that WAIT on this connection covers the push itself.
  redis.call("EXPIRE", lane, ttl)
  return 0
end
redis.call("LLEN", queue)
redis.call("SADD", queues, name)
local length = 0
for first = 4, #ARGV, 1000 do
  length = redis.call("LPUSH", queue, unpack(ARGV, first, math.min(first + 999, #ARGV)))
end
redis.call("SET", lane, number, "EX", ttl)
return length
