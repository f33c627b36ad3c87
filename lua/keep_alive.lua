#!lua flags=allow-oom
-- Prolong the heartbeat of a process that is too busy to do it itself; one that is gone stays gone.
--
-- KEYS  1   process   hash  rw  the process
--       2   work      hash  rw  its running jobs by thread
-- ARGV  1   ttl       seconds the heartbeat lasts
-- RETURNS   1 if it was prolonged, 0 if there was none
-- BOUND     2 keys
-- REPLAY    same
-- ROLES     worker
-- INVARIANT a heartbeat that expired is not brought back

local process, work = KEYS[1], KEYS[2]
local ttl = ARGV[1]

redis.call("EXPIRE", work, ttl)
return redis.call("EXPIRE", process, ttl)
