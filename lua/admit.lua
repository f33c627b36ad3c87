#!lua flags=allow-oom
-- Keep a job that a blocking move delivered, or put it back because its queue is paused.
--
-- KEYS  1   owners    hash  r   who may hold running lists
--       2   paused    set   r   names of paused queues
--       3   running   list  rw  where the blocking move put the job
--       4   queue     list  rw  where it came from
--       5   queues    set   rw  names of every queue
-- ARGV  1   owner     this process's field in `owners`
--       2   name      the queue's name
--       3   payload   the job
-- RETURNS   "KEPT", "BACK" if its queue is paused, "GONE" if another process recovered it, or "REAPED"
-- BOUND     O(length of the running list)
-- REPLAY    same
-- ROLES     worker
-- INVARIANT no job of a paused queue starts; a queue that one comes back to is known

local owners, paused, running, queue, queues = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
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
redis.call("LLEN", queue)
redis.call("SADD", queues, name)
put_back(running, queue, payload)
return "BACK"
