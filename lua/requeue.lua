#!lua flags=allow-oom
-- Put running jobs back at the consuming end of their queue: at a shutdown, or when there is no free slot.
--
-- KEYS  1   running   list  rw  jobs this process holds from the queue
--       2   queue     list  rw  the queue; the right end is taken first
--       3   queues    set   rw  names of every queue
-- ARGV  1   name      the queue's name
--       2.. payloads  the jobs exactly as they were fetched, oldest first
-- RETURNS   positions in `payloads` of jobs that were gone
-- BOUND     100 jobs, 1 MB or one larger job, each O(length of the running list)
-- REPLAY    same
-- ROLES     worker
-- INVARIANT the job is in `running` or in its queue; nothing is counted

local running, queue, queues = KEYS[1], KEYS[2], KEYS[3]
local name = ARGV[1]

-- include lib/put_back.lua

redis.call("LLEN", running)
redis.call("LLEN", queue)
redis.call("SADD", queues, name)
local gone = {}
for i = #ARGV, 2, -1 do
  if not put_back(running, queue, ARGV[i]) then
    gone[#gone + 1] = i - 1
  end
end
return gone
