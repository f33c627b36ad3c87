#!lua flags=allow-oom
-- Set totals back to 0.
--
-- KEYS  1.. totals  string  rw  runs, failed runs
-- RETURNS   how many were set
-- BOUND     2 counters
-- REPLAY    repeats: what was counted in between is forgotten too
-- ROLES     admin
-- INVARIANT the counters of the days stay as they are

local totals = KEYS

for i = 1, #totals do
  redis.call("SET", totals[i], "0")
end
return #totals
