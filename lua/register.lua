#!lua flags=allow-oom
-- Enter this process among those that may hold running lists, before anything can enter such a list.
--
-- KEYS  1   owners    hash  rw  who may hold running lists
-- ARGV  1   owner     identity and epoch
--       2   entry     JSON: identity, epoch and the names of the queues
-- RETURNS   1 if the owner was new, else 0
-- BOUND     1 field
-- REPLAY    same
-- ROLES     worker
-- INVARIANT every running list belongs to a registered owner

local owners = KEYS[1]
local owner, entry = ARGV[1], ARGV[2]

return redis.call("HSET", owners, owner, entry)
