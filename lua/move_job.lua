#!lua flags=allow-oom
-- Move a waiting job to the waiting end of another queue, unless it is gone.
--
-- KEYS  1   queue     list  rw  where it waits
--       2   queues    set   rw  names of every queue
--       3   other     list  rw  the queue it goes to, not the same one
-- ARGV  1   job       the job exactly as it was read
--       2   name      the other queue's name
--       3   payload   the text to push in its stead
-- RETURNS   1 if moved, 0 if it is gone: a worker took it
-- BOUND     1 job, but O(length of the queue), twice: 40 to 120 ms in 1,000,000 jobs, so only a person asks for it
-- REPLAY    repeats: a second job of the same bytes, if there is one, is moved too
-- ROLES     dashboard, admin
-- INVARIANT the job is in one of the two queues; of several jobs of the same bytes one is moved, the newest

local queue, queues, other = KEYS[1], KEYS[2], KEYS[3]
local job, name, payload = ARGV[1], ARGV[2], ARGV[3]

redis.call("LLEN", other)
if not redis.call("LPOS", queue, job) then
  return 0
end
redis.call("SADD", queues, name)
redis.call("LPUSH", other, payload)
redis.call("LREM", queue, 1, job)
return 1
