#!lua flags=allow-oom
-- Pause a job class: from their next heartbeat on, workers put its jobs aside instead of starting them.
--
-- KEYS  1   paused    set  rw  names of paused job classes
--       2   resumed   set  rw  names of job classes whose held jobs have to be released
-- ARGV  1   name      the class's name
-- RETURNS   1 if it was not paused before
-- BOUND     1 member
-- REPLAY    same
-- ROLES     dashboard, admin
-- INVARIANT a class is in at most one of the two sets; jobs that run go on

local paused, resumed = KEYS[1], KEYS[2]
local name = ARGV[1]

redis.call("SCARD", resumed)
local new = redis.call("SADD", paused, name)
redis.call("SREM", resumed, name)
return new
