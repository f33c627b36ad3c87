#!lua flags=no-writes
-- List profiles that are kept, those that end last first.
--
-- KEYS  1   profiles  zset  r   names of profiles by the time of their end
-- ARGV  1   now       epoch seconds; those that ended before are left out
--       2   offset    how many to leave out
--       3   n         how many to read
-- RETURNS   {name, epoch seconds of its end, name, …}
-- BOUND     n profiles
-- REPLAY    same
-- ROLES     dashboard
-- INVARIANT nothing is written

local profiles = KEYS[1]
local now, offset, n = ARGV[1], ARGV[2], ARGV[3]

return redis.call("ZRANGE", profiles, "+inf", now, "BYSCORE", "REV", "WITHSCORES", "LIMIT", offset, n)
