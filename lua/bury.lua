#!lua flags=allow-oom
-- Move a running job to the dead set, trimmed by age and by count, unless somebody recovered it first.
--
-- KEYS  1   running        list    rw  jobs this process holds
--       2   dead           zset    rw  dead jobs by the time of death
--       3   processed      string  rw  runs, in total
--       4   processed_day  string  rw  runs on this UTC day
--       5   failed         string  rw  failed runs, in total
--       6   failed_day     string  rw  failed runs on this UTC day
-- ARGV  1   raw       the payload exactly as it was fetched
--       2   payload   the payload to store
--       3   now       epoch seconds
--       4   cutoff    epoch seconds; what died before is dropped
--       5   limit     the setting dead_max_jobs; one less is kept, as Sidekiq does
--       6   runs      1 if the job ran, 0 if its text could not even be parsed
--       7   ttl       seconds the day's counters are kept
-- RETURNS   {1 if moved or 0 if this process no longer holds the job, 1 if the dead set did not hold the
--           same text yet, problem with the counters or ""}
-- BOUND     1 job, O(length of the running list); 2000 dropped dead jobs
-- REPLAY    same
-- ROLES     worker
-- INVARIANT the job is in `running` or in `dead`; the counters rise only if it moved

local running, dead, processed, processed_day, failed, failed_day = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local raw, payload, now, cutoff, limit, runs, ttl = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6], ARGV[7]

-- include lib/count.lua
-- include lib/trim_dead.lua

if not redis.call("LPOS", running, raw) then
  return {0, 0, ""}
end
local added = redis.call("ZADD", dead, now, payload)
redis.call("LREM", running, -1, raw)
trim_dead(dead, cutoff, tonumber(limit))
local problem = count(processed, processed_day, ttl, tonumber(runs))
local trouble = count(failed, failed_day, ttl, tonumber(runs))
return {1, added, problem ~= "" and problem or trouble}
