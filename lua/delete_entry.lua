#!lua flags=allow-oom
-- Delete one entry of the retry, schedule or dead set, unless it is gone or was rescheduled.
--
-- KEYS  1   entries   zset  rw  retry, schedule or dead
-- ARGV  1   entry     the entry exactly as it was read
--       2   score     its score as it was read
-- RETURNS   1 if deleted, 0 if it is gone or was rescheduled
-- BOUND     1 entry, O(log of the set's size)
-- REPLAY    same
-- ROLES     dashboard, admin
-- INVARIANT no other entry is touched, whatever its jid or score

local entries = KEYS[1]
local entry, score = ARGV[1], ARGV[2]

-- include lib/holds.lua

if not holds(entries, entry, score) then
  return 0
end
return redis.call("ZREM", entries, entry)
