#!lua flags=allow-oom
-- Delete one job from a queue.
--
-- KEYS  1   queue     list  rw  the queue
-- ARGV  1   payload   the job exactly as it was read
-- RETURNS   1 if deleted, 0 if it is gone: a worker took it
-- BOUND     1 job, but O(length of the queue): 20 to 60 ms in 1,000,000 jobs, so only a person asks for it
-- REPLAY    repeats: a second job of the same bytes, if there is one, is deleted too
-- ROLES     dashboard, admin
-- INVARIANT of several jobs of the same bytes one is deleted, the newest

local queue = KEYS[1]
local payload = ARGV[1]

return redis.call("LREM", queue, 1, payload)
