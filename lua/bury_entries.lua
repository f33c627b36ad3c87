#!lua flags=allow-oom
-- Move several entries of the retry or schedule set to the dead set as they are, unless they are gone or were
-- rescheduled.
--
-- KEYS  1   entries   zset  rw  retry or schedule; not `dead` itself
--       2   dead      zset  rw  dead jobs by the time of death
-- ARGV  1   now       epoch seconds
--       2   cutoff    epoch seconds; what died before is dropped
--       3   limit     the setting dead_max_jobs; one less is kept, as Sidekiq does
--       4.. moves     pairs: the entry and its score as they were read
-- RETURNS   per entry: 1 moved, 0 gone or rescheduled
-- BOUND     100 entries, 250 KB or one larger entry; 2000 dropped dead jobs
-- REPLAY    same
-- ROLES     dashboard, admin
-- INVARIANT an entry is in `entries` or in `dead`; nothing is counted, for nothing ran

local entries, dead = KEYS[1], KEYS[2]
local now, cutoff, limit = ARGV[1], ARGV[2], ARGV[3]

-- include lib/holds.lua
-- include lib/trim_dead.lua

redis.call("ZCARD", dead)
local moved = {}
for i = 4, #ARGV, 2 do
  local state = 0
  if holds(entries, ARGV[i], ARGV[i + 1]) then
    redis.call("ZADD", dead, now, ARGV[i])
    redis.call("ZREM", entries, ARGV[i])
    state = 1
  end
  moved[#moved + 1] = state
end
trim_dead(dead, cutoff, tonumber(limit))
return moved
