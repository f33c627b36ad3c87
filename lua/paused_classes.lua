#!lua flags=no-writes
-- Read which job classes are paused, and which are resumed and still have held jobs to be released.
--
-- KEYS  1   paused    set  r   names of paused job classes
--       2   resumed   set  r   names of job classes whose held jobs have to be released
-- RETURNS   {{paused}, {resumed}}
-- BOUND     as many names as people have paused
-- REPLAY    same
-- ROLES     worker, dashboard
-- INVARIANT nothing is written

local paused, resumed = KEYS[1], KEYS[2]

return {redis.call("SMEMBERS", paused), redis.call("SMEMBERS", resumed)}
