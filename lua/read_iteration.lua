#!lua flags=no-writes
-- Read how far iterable jobs have come.
--
-- KEYS  1.. states  hash  r   iterations of jobs
-- RETURNS   for each: {executions, cursor, runtime, moment of cancellation}, missing ones false
-- BOUND     16 iterations, 4 fields each; with cursors of 64 KB that is 1 MB
-- REPLAY    same
-- ROLES     worker, dashboard
-- INVARIANT nothing is written

local found = {}
for i = 1, #KEYS do
  found[i] = redis.call("HMGET", KEYS[i], "ex", "c", "rt", "cancelled")
end
return found
