#!lua flags=allow-oom
-- Remove jobs that succeeded from their running lists and count them.
--
-- KEYS  1   processed      string  rw  runs, in total
--       2   processed_day  string  rw  runs on this UTC day
--       3.. running        list    rw  running lists
-- ARGV  1   ttl       seconds the day's counter is kept
--       2.. done      pairs: number of the running list, payload
-- RETURNS   {problem with the counters or "", {positions in `done` of jobs that were gone}}
-- BOUND     200 jobs, 1 MB or one larger job, each O(length of its running list)
-- REPLAY    same
-- ROLES     worker
-- INVARIANT `processed` rises by the jobs that this call removed

local processed, processed_day = KEYS[1], KEYS[2]
local ttl = ARGV[1]

-- include lib/count.lua

local gone = {}
for i = 2, #ARGV, 2 do
  if redis.call("LREM", KEYS[2 + tonumber(ARGV[i])], -1, ARGV[i + 1]) == 0 then
    gone[#gone + 1] = i / 2
  end
end
local problem = count(processed, processed_day, ttl, (#ARGV - 1) / 2 - #gone)
return {problem, gone}
