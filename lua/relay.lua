#!lua
-- Push jobs that an outbox's table holds to one queue, or to the schedule: each row once, however often it comes.
--
-- KEYS  1   holder    string  rw  the relay that works now
--       2   epoch     string  r   how many claims there have been
--       3   relayed   set     rw  rows that were pushed and may still be in the table
--       4   schedule  zset    rw  payloads by the time they are due
--       5   queues    set     rw  names of every queue
--       6   queue     list    rw  the queue itself; the left end is the newest
-- ARGV  1   me        the relay's name
--       2   mine      the epoch of its claim, taken before it read the rows
--       3   ttl_ms    for how long the claim holds from here on
--       4   name      the queue's name
--       5.. rows      triples, oldest first: the row's name, epoch seconds when due or "" for at once, payload
-- RETURNS   how many rows were pushed now, the others had been before; -1 if another relay has claimed since
-- BOUND     100 rows, 1 MB or one larger payload (the relay cuts larger batches)
-- REPLAY    same
-- ROLES     enqueuer, worker
-- INVARIANT a row is in `relayed` if its job was pushed, until the table has it no more; a relay that read the
--           table before the last claim pushes nothing

local holder, epoch, relayed, schedule, queues, queue = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local me, mine, ttl_ms, name = ARGV[1], ARGV[2], ARGV[3], ARGV[4]

local works = redis.call("GET", holder)
if redis.call("GET", epoch) ~= mine or (works and works ~= me) then
  return -1
end
redis.call("LLEN", queue)
redis.call("ZCARD", schedule)
redis.call("SCARD", queues)
redis.call("SCARD", relayed)
redis.call("SET", holder, me, "PX", ttl_ms)
local pushed = 0
for i = 5, #ARGV, 3 do
  local row, due, payload = ARGV[i], ARGV[i + 1], ARGV[i + 2]
  if redis.call("SISMEMBER", relayed, row) == 0 then
    if due == "" then
      redis.call("SADD", queues, name)
      redis.call("LPUSH", queue, payload)
    else
      redis.call("ZADD", schedule, due, payload)
    end
    redis.call("SADD", relayed, row)
    pushed = pushed + 1
  end
end
return pushed
