#!lua flags=no-writes
-- Read fields of several profiles.
--
-- KEYS  1.. hashes  hash  r   profiles
-- ARGV  1.. fields  what to read of each; `data` is read of one profile a call
-- RETURNS   for each: the values, in the order of `fields`
-- BOUND     100 profiles of a few fields, or 1 of 1 MB
-- REPLAY    same
-- ROLES     dashboard
-- INVARIANT nothing is written

local hashes = KEYS
local fields = ARGV

local found = {}
for i = 1, #hashes do
  found[i] = redis.call("HMGET", hashes[i], unpack(fields, 1))
end
return found
