#!lua
-- Keep the profile of one run of a job, and forget those that are over.
--
-- KEYS  1   profiles  zset  rw  names of profiles by the time of their end
--       2   profile   hash  rw  this one
-- ARGV  1   name      TOKEN-JID
--       2   now       epoch seconds; what ended before is forgotten
--       3   ending    epoch seconds at which this one ends
--       4   ttl       seconds it is kept
--       5.. fields    fields and values of `profile`
-- RETURNS   1
-- BOUND     1 MB and a few fields; at most 1000 ended profiles leave the set
-- REPLAY    same
-- ROLES     worker
-- INVARIANT a profile is in `profiles`, or nobody finds it

local profiles, profile = KEYS[1], KEYS[2]
local name, now, ending, ttl = ARGV[1], ARGV[2], ARGV[3], ARGV[4]

redis.call("ZCARD", profiles)
redis.call("HSET", profile, unpack(ARGV, 5))
redis.call("EXPIRE", profile, ttl)
redis.call("ZADD", profiles, ending, name)
-- Counted now: one of this name that had ended is no longer among them.
local over = redis.call("ZCOUNT", profiles, "-inf", now)
if over > 0 then
  redis.call("ZREMRANGEBYRANK", profiles, 0, math.min(over, 1000) - 1)
end
return 1
