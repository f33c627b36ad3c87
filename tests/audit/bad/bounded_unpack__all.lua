#!lua flags=allow-oom
-- Move a job to another list.
--
-- KEYS  1   source   list    rw  where it is
--       2   target   list    rw  where it goes
-- ARGV  1.. payload  the jobs, whole
-- RETURNS   1 if it moved, 0 if it was gone
-- BOUND     1 job
-- REPLAY    same
-- ROLES     worker, admin
-- INVARIANT it is in one list

local source, target = KEYS[1], KEYS[2]

redis.call("LLEN", source)
redis.call("LPUSH", target, unpack(ARGV))
redis.call("LPOP", source)
return 1
-- REFUSED: neither a slice of 1000
