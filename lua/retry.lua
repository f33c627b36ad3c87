#!lua flags=allow-oom
-- Move a job that failed to the retry set, unless somebody recovered it first.
--
-- KEYS  1   running        list    rw  jobs this process holds
--       2   retry          zset    rw  jobs waiting for another try, by the time it is due
--       3   processed      string  rw  runs, in total
--       4   processed_day  string  rw  runs on this UTC day
--       5   failed         string  rw  failed runs, in total
--       6   failed_day     string  rw  failed runs on this UTC day
-- ARGV  1   raw       the payload exactly as it was fetched
--       2   payload   the payload to store, with its error fields
--       3   due       epoch seconds of the next try
--       4   ttl       seconds the day's counters are kept
-- RETURNS   {1 if moved or 0 if this process no longer holds the job, problem with the counters or ""}
-- BOUND     1 job, O(length of the running list)
-- REPLAY    same
-- ROLES     worker
-- INVARIANT the job is in `running` or in `retry`; the counters rise only if it moved

local running, retry, processed, processed_day, failed, failed_day = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local raw, payload, due, ttl = ARGV[1], ARGV[2], ARGV[3], ARGV[4]

-- include lib/count.lua

if not redis.call("LPOS", running, raw) then
  return {0, ""}
end
redis.call("ZADD", retry, due, payload)
redis.call("LREM", running, -1, raw)
local problem = count(processed, processed_day, ttl, 1)
local trouble = count(failed, failed_day, ttl, 1)
return {1, problem ~= "" and problem or trouble}
