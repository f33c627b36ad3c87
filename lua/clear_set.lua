#!lua flags=allow-oom
-- Delete every entry of the retry, schedule or dead set.
--
-- KEYS  1   entries   zset  rw  retry, schedule or dead
-- RETURNS   how many entries were deleted
-- BOUND     1 key; the set is unlinked, not read
-- REPLAY    repeats: what was added in between is deleted too
-- ROLES     dashboard, admin
-- INVARIANT jobs in other places are not touched

local entries = KEYS[1]

local deleted = redis.call("ZCARD", entries)
redis.call("UNLINK", entries)
return deleted
