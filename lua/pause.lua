#!lua flags=allow-oom
-- Pause a queue: no fetch takes from it until `unpause`. Jobs that run go on, and pushes are taken.
--
-- KEYS  1   paused    set  rw  names of paused queues
-- ARGV  1   name      the queue's name
-- RETURNS   1 if it was not paused before
-- BOUND     1 member
-- REPLAY    same
-- ROLES     dashboard, admin
-- INVARIANT the queue need not exist yet, and stays paused when it is cleared

local paused = KEYS[1]
local name = ARGV[1]

return redis.call("SADD", paused, name)
