#!lua flags=no-writes
-- Read the metrics of one class over several minutes, or over several times of ten minutes.
--
-- KEYS  1.. places  hash/string  r   the metrics of each time; where `pairs` is 1, each with the class's histogram behind it
-- ARGV  1   pairs   1: each hash has a histogram behind it, a string; 0: there are hashes alone
--       2   runs    the field CLASS|p
--       3   failed  the field CLASS|f
--       4   ms      the field CLASS|ms
--       5.. words   of BITFIELD_RO, which read the histogram's counters
-- RETURNS   for each time: {runs, failed, ms, {the counters, or nothing}}
-- BOUND     60 times, each with 3 fields and 26 counters
-- REPLAY    same
-- ROLES     dashboard
-- INVARIANT nothing is written

local places = KEYS
local pairs, runs, failed, ms = ARGV[1], ARGV[2], ARGV[3], ARGV[4]

local found = {}
for i = 1, #places, 1 + tonumber(pairs) do
  local counts = redis.call("HMGET", places[i], runs, failed, ms)
  counts[4] = {}
  if pairs == "1" and redis.call("EXISTS", places[i + 1]) == 1 then
    counts[4] = redis.call("BITFIELD_RO", places[i + 1], unpack(ARGV, 5))
  end
  found[#found + 1] = counts
end
return found
