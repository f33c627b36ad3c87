#!lua flags=allow-oom
-- Move a job to another list.
--
-- KEYS  1   source   list    rw  where it is
--       2   target   list    rw  where it goes
--       3   third    list    r   what no command reads
-- ARGV  1   payload  the job, whole
-- RETURNS   1 if it moved, 0 if it was gone
-- BOUND     1 job
-- REPLAY    same
-- ROLES     worker, admin
-- INVARIANT it is in one list

local source, target, third = KEYS[1], KEYS[2], KEYS[3]
local payload = ARGV[1]

if not redis.call("LPOS", source, payload) then
  return 0
end
redis.call("LPUSH", target, payload)
redis.call("LREM", source, 1, payload)
return third and 1
-- REFUSED: no command touches the key third
