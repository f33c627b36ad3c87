#!lua flags=no-writes
-- Read one page of a set: the queues, the processes, the paused queues, or the rows that were relayed.
--
-- KEYS  1   set       set  r   queues, processes, paused or lua:relayed:OUTBOX
-- ARGV  1   cursor    0 for the first page
--       2   size      about how many to read
-- RETURNS   {the next cursor, "0" at the end, members}
-- BOUND     about `size` members
-- REPLAY    same
-- ROLES     enqueuer, worker, dashboard
-- INVARIANT nothing is written

local set = KEYS[1]
local cursor, size = ARGV[1], ARGV[2]

return redis.call("SSCAN", set, cursor, "COUNT", size)
