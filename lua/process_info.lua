#!lua flags=no-writes
-- Read the heartbeats of several processes.
--
-- KEYS  1.. processes  hash  r   heartbeats
-- RETURNS   for each: {info, concurrency, busy, beat, quiet, rss, rtt_us}, missing ones false
-- BOUND     100 processes
-- REPLAY    same
-- ROLES     dashboard
-- INVARIANT nothing is written

local found = {}
for i = 1, #KEYS do
  found[i] = redis.call("HMGET", KEYS[i], "info", "concurrency", "busy", "beat", "quiet", "rss", "rtt_us")
end
return found
