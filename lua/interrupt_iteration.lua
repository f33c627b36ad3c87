#!lua flags=allow-oom
-- Interrupt an iterable job: save how far it has come, and put it back, unless somebody recovered it.
--
-- KEYS  1   running     list  rw  jobs this process holds
--       2   state       hash  rw  the job's iteration
--       3   queues      set   rw  names of every queue
--       4   queue       list  rw  where the job goes on; the left end is the newest
--       5   schedule    zset  rw  payloads by the time they are due
-- ARGV  1   raw         the payload exactly as it was fetched
--       2   ttl         seconds the state is kept from now on
--       3   executions  how often the job was started
--       4   cursor      JSON, what to go on from
--       5   runtime     seconds it has run, in total
--       6   cancelled   epoch seconds at which the job cancelled itself, or ""
--       7   name        the queue's name
--       8   payload     the job as it goes on
--       9   due         epoch seconds before which it does not go on, or "" for the queue
-- RETURNS   1 if moved, 0 if this process no longer holds the job
-- BOUND     1 job, O(length of the running list)
-- REPLAY    same
-- ROLES     worker
-- INVARIANT the job is in `running`, or in `queue` or `schedule` with its state saved; nothing is counted

local running, state, queues, queue, schedule = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local raw, ttl, executions, cursor, runtime, cancelled = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6]
local name, payload, due = ARGV[7], ARGV[8], ARGV[9]

-- include lib/save_state.lua

if not redis.call("LPOS", running, raw) then
  return 0
end
redis.call("LLEN", queue)
redis.call("ZCARD", schedule)
save_state(state, ttl, executions, cursor, runtime, cancelled)
if due == "" then
  redis.call("SADD", queues, name)
  redis.call("LPUSH", queue, payload)
else
  redis.call("ZADD", schedule, due, payload)
end
redis.call("LREM", running, -1, raw)
return 1
