#!lua flags=allow-oom
-- Drop dead jobs that are too old or too many; to be called until it drops none.
--
-- KEYS  1   dead      zset  rw  dead jobs by the time of death
-- ARGV  1   cutoff    epoch seconds; what died before is dropped
--       2   limit     the setting dead_max_jobs; one less is kept, as Sidekiq does
-- RETURNS   how many were dropped
-- BOUND     2000 dropped dead jobs
-- REPLAY    repeats: the next ones are dropped, if there are still too many
-- ROLES     dashboard, admin
-- INVARIANT the oldest go first

local dead = KEYS[1]
local cutoff, limit = ARGV[1], ARGV[2]

-- include lib/trim_dead.lua

local before = redis.call("ZCARD", dead)
trim_dead(dead, cutoff, tonumber(limit))
return before - redis.call("ZCARD", dead)
