#!lua flags=allow-oom
-- Move a job to another list.
--
-- KEYS  1   source   list    rw  where it is
--       2   target   list    rw  where it goes
-- ARGV  1   payload  the job, whole
-- RETURNS   1 if it moved, 0 if it was gone
-- BOUND     1 job
-- REPLAY    same
-- ROLES     worker, admin
-- INVARIANT it is in one list

local source, target = KEYS[1], KEYS[2]
local payload = ARGV[1]

if not redis.call("LPOS", source, payload) then
  return 0
end
redis.call("LRANGE", target, 0, -1)
redis.call("LPUSH", target, payload)
redis.call("LREM", source, 1, payload)
return 1
-- REFUSED: LRANGE is bounded only by what RANKED says
