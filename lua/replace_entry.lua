#!lua flags=allow-oom
-- Put another text in an entry's stead at the same time, unless it is gone or was rescheduled.
--
-- KEYS  1   entries   zset  rw  retry, schedule or dead
-- ARGV  1   entry     the entry exactly as it was read
--       2   score     its score as it was read
--       3   payload   the text to store in its stead
-- RETURNS   1 if replaced, 0 if it is gone or was rescheduled, or the set holds the new text already
-- BOUND     1 entry, O(log of the set's size)
-- REPLAY    same
-- ROLES     dashboard, admin
-- INVARIANT the job is in `entries` once, with one text or the other

local entries = KEYS[1]
local entry, score, payload = ARGV[1], ARGV[2], ARGV[3]

-- include lib/holds.lua

if not holds(entries, entry, score) or redis.call("ZADD", entries, "NX", score, payload) == 0 then
  return 0
end
redis.call("ZREM", entries, entry)
return 1
