#!lua
-- Add jobs that are due later, unless the same push came before: it may be sent again after a lost reply.
--
-- KEYS  1   schedule  zset    rw  payloads by the time they are due
--       2   lane      string  rw  number of the last push that one sender made on this lane
-- ARGV  1   number    this push's number on its lane; the sender has one push at a time on a lane
--       2   ttl       seconds for which the lane is remembered
--       3.. entries   pairs: epoch seconds, payload
-- RETURNS   how many entries were new
-- BOUND     100 entries, 8 MB or one larger entry (the client cuts larger pushes); 1 MB takes the server some 4 ms
-- REPLAY    token: for ttl seconds the lane remembers the push; the entries may have become due since
-- ROLES     enqueuer, worker
-- INVARIANT a refused call writes nothing, and none is done twice

local schedule, lane = KEYS[1], KEYS[2]
local number, ttl = ARGV[1], ARGV[2]

if (tonumber(redis.call("GET", lane)) or 0) >= tonumber(number) then
  -- A write, so that WAIT on this connection covers the push itself.
  redis.call("EXPIRE", lane, ttl)
  return 0
end
local new = redis.call("ZADD", schedule, unpack(ARGV, 3, #ARGV))
redis.call("SET", lane, number, "EX", ttl)
return new
