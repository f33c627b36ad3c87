#!lua
-- Add jobs that are due later.
--
-- KEYS  1   schedule  zset  payloads by the time they are due
-- ARGV  1.. entries   pairs: epoch seconds, payload
-- RETURNS   how many entries were new
-- BOUND     100 entries a call (the client cuts larger pushes)
-- REPLAY    same
-- ROLES     enqueuer, worker
-- INVARIANT a refused call writes nothing

local schedule = KEYS[1]

return redis.call("ZADD", schedule, unpack(ARGV, 1, #ARGV))
