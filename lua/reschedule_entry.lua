#!lua flags=allow-oom
-- Give one entry of the retry, schedule or dead set another time, unless it is gone or was rescheduled.
--
-- KEYS  1   entries   zset  rw  retry, schedule or dead
-- ARGV  1   entry     the entry exactly as it was read
--       2   score     its score as it was read
--       3   due       epoch seconds, its new score
-- RETURNS   1 if rescheduled, 0 if it is gone or was rescheduled by somebody else
-- BOUND     1 entry, O(log of the set's size)
-- REPLAY    same
-- ROLES     dashboard, admin
-- INVARIANT the entry's bytes stay as they are, and no entry is added

local entries = KEYS[1]
local entry, score, due = ARGV[1], ARGV[2], ARGV[3]

-- include lib/holds.lua

if not holds(entries, entry, score) then
  return 0
end
redis.call("ZADD", entries, "XX", due, entry)
return 1
