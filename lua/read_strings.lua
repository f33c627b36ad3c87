#!lua flags=no-writes
-- Read several strings: the counts of days, or who is leader.
--
-- KEYS  1.. strings   string  r   counts of days, or the leader's name
-- RETURNS   for each: its value, or ""
-- BOUND     1000 short strings
-- REPLAY    same
-- ROLES     dashboard
-- INVARIANT nothing is written

local found = {}
for i = 1, #KEYS do
  found[i] = redis.call("GET", KEYS[i]) or ""
end
return found
