#!lua
-- Add jobs that are due later.
--
-- KEYS  1   schedule  zset  rw  payloads by the time they are due; people add to the retry and dead sets too
-- ARGV  1.. entries   pairs: epoch seconds, payload
-- RETURNS   how many entries were new
-- BOUND     100 entries, 8 MB or one larger entry (the client cuts larger pushes); 1 MB takes the server some 4 ms
-- REPLAY    same
-- ROLES     enqueuer, worker, admin
-- INVARIANT a refused call writes nothing

local schedule = KEYS[1]

return redis.call("ZADD", schedule, unpack(ARGV, 1, #ARGV))
