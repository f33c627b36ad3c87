#!lua flags=allow-oom
-- Forget rows that an outbox's table has no more; a relay that stops gives its claim back.
--
-- KEYS  1   holder    string  rw  the relay that works now
--       2   epoch     string  r   how many claims there have been
--       3   relayed   set     rw  rows that were pushed and may still be in the table
-- ARGV  1   me        the relay's name
--       2   mine      the epoch of its claim
--       3   leaves    1 if the relay stops, else 0
--       4.. rows      names of rows whose deletion was committed
-- RETURNS   how many rows were forgotten; -1 if there are some and another relay has claimed since
-- BOUND     1000 rows
-- REPLAY    same
-- ROLES     enqueuer, worker
-- INVARIANT the claim of another relay stays, and so do the rows: it may have read them before they were deleted

local holder, epoch, relayed = KEYS[1], KEYS[2], KEYS[3]
local me, mine, leaves = ARGV[1], ARGV[2], ARGV[3]

local works = redis.call("GET", holder)
local forgotten = 0
if #ARGV > 3 and redis.call("GET", epoch) ~= mine then
  forgotten = -1
else
  for i = 4, #ARGV do
    forgotten = forgotten + redis.call("SREM", relayed, ARGV[i])
  end
end
if leaves == "1" and works == me then
  redis.call("DEL", holder)
end
return forgotten
