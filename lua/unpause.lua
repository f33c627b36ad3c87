#!lua flags=allow-oom
-- Let a paused queue go on.
--
-- KEYS  1   paused    set  rw  names of paused queues
-- ARGV  1   name      the queue's name
-- RETURNS   1 if it was paused
-- BOUND     1 member
-- REPLAY    same
-- ROLES     dashboard, admin
-- INVARIANT no job moves

local paused = KEYS[1]
local name = ARGV[1]

return redis.call("SREM", paused, name)
