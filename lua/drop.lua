#!lua flags=allow-oom
-- Forget a job that failed and is discarded, unless somebody recovered it first.
--
-- KEYS  1   running        list    rw  jobs this process holds
--       2   processed      string  rw  runs, in total
--       3   processed_day  string  rw  runs on this UTC day
--       4   failed         string  rw  failed runs, in total
--       5   failed_day     string  rw  failed runs on this UTC day
-- ARGV  1   raw       the payload exactly as it was fetched
--       2   ttl       seconds the day's counters are kept
-- RETURNS   {1 if removed or 0 if this process no longer holds the job, problem with the counters or ""}
-- BOUND     1 job, O(length of the running list)
-- REPLAY    same
-- ROLES     worker
-- INVARIANT the counters rise only if the job was removed; its death handlers have seen it

local running, processed, processed_day, failed, failed_day = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local raw, ttl = ARGV[1], ARGV[2]

-- include lib/count.lua

if redis.call("LREM", running, -1, raw) == 0 then
  return {0, ""}
end
local problem = count(processed, processed_day, ttl, 1)
local trouble = count(failed, failed_day, ttl, 1)
return {1, problem ~= "" and problem or trouble}
