#!lua flags=no-writes
-- Which of these processes have a heartbeat?
--
-- KEYS  1.. processes  hash  r   heartbeats
-- RETURNS   1 or 0 for each
-- BOUND     100 processes
-- REPLAY    same
-- ROLES     worker, dashboard
-- INVARIANT nothing is written

local alive = {}
for i = 1, #KEYS do
  alive[i] = redis.call("EXISTS", KEYS[i])
end
return alive
