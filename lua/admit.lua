#!lua flags=allow-oom
-- Keep a job that a blocking move delivered, or put it back because its queue is paused.
--
-- KEYS  1   owners    hash  r   who may hold running lists
--       2   paused    set   r   names of paused queues
--       3   running   list  rw  where the blocking move put the job
--       4   queue     list  rw  where it came from
-- ARGV  1   owner     this process's field in `owners`
--       2   name      the queue's name
--       3   payload   the job
-- RETURNS   "KEPT", "BACK" if its queue is paused, "GONE" if another process recovered it, or "REAPED"
-- BOUND     O(length of the running list)
-- REPLAY    same
-- ROLES     worker
-- INVARIANT no job of a paused queue starts

local owners, paused, running, queue = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local owner, name, payload = ARGV[1], ARGV[2], ARGV[3]

-- include lib/put_back.lua

if redis.call("HEXISTS", owners, owner) == 0 then
  return "REAPED"
end
if not redis.call("LPOS", running, payload) then
  return "GONE"
end
if redis.call("SISMEMBER", paused, name) == 0 then
  return "KEPT"
end
put_back(running, queue, payload)
return "BACK"
