#!lua flags=allow-oom
-- Put a fetched job of a paused class aside, unless somebody recovered it or the class was resumed meanwhile.
--
-- KEYS  1   paused    set   r   names of paused job classes
--       2   running   list  rw  jobs this process holds from the queue
--       3   held      list  rw  jobs of the class that were put aside; the left end is the newest
-- ARGV  1   name      the class's name
--       2   payload   the job exactly as it was fetched
--       3   item      what to store: the queue's name, a line feed, the job exactly as it was fetched
-- RETURNS   "HELD", "RUN" if the class is not paused, or "GONE" if this process no longer holds the job
-- BOUND     1 job, O(length of the running list)
-- REPLAY    same
-- ROLES     worker
-- INVARIANT the job is in `running` or in `held`; nothing is counted, for nothing ran

local paused, running, held = KEYS[1], KEYS[2], KEYS[3]
local name, payload, item = ARGV[1], ARGV[2], ARGV[3]

if not redis.call("LPOS", running, payload) then
  return "GONE"
end
if redis.call("SISMEMBER", paused, name) == 0 then
  return "RUN"
end
redis.call("LPUSH", held, item)
redis.call("LREM", running, 1, payload)
return "HELD"
