#!lua flags=allow-oom
-- Forget rows that an outbox's table has no more; a relay that stops gives its claim back.
--
-- KEYS  1   holder    string  rw  the relay that works now
--       2   relayed   set     rw  rows that were pushed and may still be in the table
-- ARGV  1   me        the relay's name
--       2   leaves    1 if the relay stops, else 0
--       3.. rows      names of rows whose deletion was committed
-- RETURNS   how many rows were forgotten
-- BOUND     1000 rows
-- REPLAY    same
-- ROLES     enqueuer, worker
-- INVARIANT the claim of another relay stays

local holder, relayed = KEYS[1], KEYS[2]
local me, leaves = ARGV[1], ARGV[2]

local works = redis.call("GET", holder)
local forgotten = 0
for i = 3, #ARGV do
  forgotten = forgotten + redis.call("SREM", relayed, ARGV[i])
end
if leaves == "1" and works == me then
  redis.call("DEL", holder)
end
return forgotten
