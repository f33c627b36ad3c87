#!lua flags=no-writes
-- Read the entries of several sets that are due, soonest first.
--
-- KEYS  1.. sets      zset  retry, schedule
-- ARGV  1   now       epoch seconds
--       2   n         how many entries to read of each set at most
--       3.. skips     how many of the soonest to pass over, for each set
-- RETURNS   a list of entries per set, in the order of `sets`
-- BOUND     n entries of each set; O(log of its size + skip)
-- REPLAY    same
-- ROLES     worker, scheduler, dashboard
-- INVARIANT nothing is written

local now, n = ARGV[1], ARGV[2]

local due = {}
for i = 1, #KEYS do
  due[i] = redis.call("ZRANGE", KEYS[i], "-inf", now, "BYSCORE", "LIMIT", ARGV[2 + i], n)
end
return due
