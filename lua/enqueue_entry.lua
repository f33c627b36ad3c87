#!lua flags=allow-oom
-- Move one entry of the retry, schedule or dead set to its queue now, unless it is gone or was rescheduled.
--
-- KEYS  1   entries   zset    rw  retry, schedule or dead
--       2   queues    set     rw  names of every queue
--       3   queue     list    rw  the queue it goes to; the left end is the newest
--       4   crashes   string  rw  how many processes died running this job
-- ARGV  1   entry     the entry exactly as it was read
--       2   score     its score as it was read
--       3   name      the queue's name
--       4   payload   the payload to push in its stead
--       5   forgive   1 to forget the crashes, so that a poison pill out of `dead` has all its lives again; else 0
-- RETURNS   1 if moved, 0 if it is gone or was rescheduled
-- BOUND     1 entry, O(log of the set's size)
-- REPLAY    same
-- ROLES     dashboard, admin
-- INVARIANT the job is in `entries` or in its queue

local entries, queues, queue, crashes = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local entry, score, name, payload, forgive = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]

-- include lib/holds.lua

redis.call("LLEN", queue)
if not holds(entries, entry, score) then
  return 0
end
redis.call("SADD", queues, name)
redis.call("LPUSH", queue, payload)
redis.call("ZREM", entries, entry)
if forgive == "1" then
  redis.call("DEL", crashes)
end
return 1
