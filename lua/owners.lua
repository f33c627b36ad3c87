#!lua flags=no-writes
-- Read one page of those that may hold running lists.
--
-- KEYS  1   owners    hash  r   who may hold running lists
-- ARGV  1   cursor    0 for the first page
--       2   size      about how many to read
-- RETURNS   {the next cursor, "0" at the end, {owner, entry, …}}
-- BOUND     about `size` owners
-- REPLAY    same
-- ROLES     worker, dashboard
-- INVARIANT nothing is written

local owners = KEYS[1]
local cursor, size = ARGV[1], ARGV[2]

return redis.call("HSCAN", owners, cursor, "COUNT", size)
