#!lua flags=no-writes
-- Ask whether something is in a set.
--
-- KEYS  1   set       set  r   processes or paused
-- ARGV  1   member    what to look for
-- RETURNS   1 if it is in the set, else 0
-- BOUND     1 member
-- REPLAY    same
-- ROLES     dashboard
-- INVARIANT nothing is written

local set = KEYS[1]
local member = ARGV[1]

return redis.call("SISMEMBER", set, member)
