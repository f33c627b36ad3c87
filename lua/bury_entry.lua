#!lua flags=allow-oom
-- Move one entry of the retry or schedule set to the dead set, unless it is gone or was rescheduled.
--
-- KEYS  1   entries   zset  rw  retry or schedule; not `dead` itself
--       2   dead      zset  rw  dead jobs by the time of death
-- ARGV  1   entry     the entry exactly as it was read
--       2   score     its score as it was read
--       3   payload   the payload to store
--       4   now       epoch seconds
--       5   cutoff    epoch seconds; what died before is dropped
--       6   limit     the setting dead_max_jobs; one less is kept, as Sidekiq does
-- RETURNS   {1 if moved or 0 if it is gone or was rescheduled, 1 if the dead set did not hold the same text yet}
-- BOUND     1 entry, O(log of the sets' sizes); 2000 dropped dead jobs
-- REPLAY    same
-- ROLES     dashboard, admin
-- INVARIANT the job is in `entries` or in `dead`; nothing is counted, for nothing ran

local entries, dead = KEYS[1], KEYS[2]
local entry, score, payload, now, cutoff, limit = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6]

-- include lib/holds.lua
-- include lib/trim_dead.lua

if not holds(entries, entry, score) then
  return {0, 0}
end
local added = redis.call("ZADD", dead, now, payload)
redis.call("ZREM", entries, entry)
trim_dead(dead, cutoff, tonumber(limit))
return {1, added}
