#!lua flags=allow-oom
-- Delete every job that waits in a queue, and forget the queue's name.
--
-- KEYS  1   queues    set   rw  names of every queue
--       2   queue     list  rw  the queue
-- ARGV  1   name      the queue's name
-- RETURNS   how many jobs were deleted
-- BOUND     2 keys; the list is unlinked, not read
-- REPLAY    repeats: what was pushed in between is deleted too
-- ROLES     dashboard, admin
-- INVARIANT jobs that run are not touched; one that comes back makes the name known again

local queues, queue = KEYS[1], KEYS[2]
local name = ARGV[1]

local deleted = redis.call("LLEN", queue)
redis.call("SREM", queues, name)
redis.call("UNLINK", queue)
return deleted
