#!lua flags=allow-oom
-- Remove an iterable job that has ended, together with its state, and count it.
--
-- KEYS  1   running        list    rw  jobs this process holds
--       2   state          hash    rw  the job's iteration
--       3   processed      string  rw  runs, in total
--       4   processed_day  string  rw  runs on this UTC day
-- ARGV  1   raw       the payload exactly as it was fetched
--       2   ttl       seconds the day's counter is kept
-- RETURNS   {1 if removed or 0 if this process no longer holds the job, problem with the counters or ""}
-- BOUND     1 job, O(length of the running list)
-- REPLAY    same
-- ROLES     worker
-- INVARIANT the state is there as long as the job is: one that runs again goes on from it

local running, state, processed, processed_day = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local raw, ttl = ARGV[1], ARGV[2]

-- include lib/count.lua

if redis.call("LREM", running, -1, raw) == 0 then
  return {0, ""}
end
redis.call("UNLINK", state)
return {1, count(processed, processed_day, ttl, 1)}
