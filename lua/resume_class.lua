#!lua flags=allow-oom
-- Let a paused job class go on; from now on no job of it is held, and those that are have to be released.
--
-- KEYS  1   paused    set   rw  names of paused job classes
--       2   resumed   set   rw  names of job classes whose held jobs have to be released
--       3   held      list  r   jobs of the class that were put aside
-- ARGV  1   name      the class's name
-- RETURNS   {1 if it was paused, how many jobs are held}
-- BOUND     1 member
-- REPLAY    same
-- ROLES     dashboard, admin
-- INVARIANT while jobs are held, the class is in one of the two sets, so that somebody releases them

local paused, resumed, held = KEYS[1], KEYS[2], KEYS[3]
local name = ARGV[1]

redis.call("SCARD", paused)
local length = redis.call("LLEN", held)
if length > 0 then
  redis.call("SADD", resumed, name)
end
return {redis.call("SREM", paused, name), length}
