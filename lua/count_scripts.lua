#!lua
-- Add what one process has called scripts, and what came of it, to the counts of all workers.
--
-- KEYS  1   counts   hash  rw  SCRIPT HASH:KIND to a number; `since` to epoch seconds
-- ARGV  1   since    epoch seconds, for the first count of all
--       2   limit    the hash begins anew when it has more fields: releases that are gone leave theirs
--       3.. entries  pairs: field, addend
-- RETURNS   the text of an error that left out a part, or ""
-- BOUND     each of the pairs; a process sends four at most for each script
-- REPLAY    repeats: the same is added once more
-- ROLES     worker
-- INVARIANT the hash has no more fields than `limit` and one call add up to

local counts = KEYS[1]
local since, limit = ARGV[1], ARGV[2]

if redis.call("HLEN", counts) > tonumber(limit) then
  redis.call("UNLINK", counts)
end
redis.call("HSETNX", counts, "since", since)
local problem = ""
for i = 3, #ARGV, 2 do
  local reply = redis.pcall("HINCRBY", counts, ARGV[i], ARGV[i + 1])
  problem = type(reply) == "table" and reply.err or problem
end
return problem
