#!lua flags=allow-oom
-- Delete several entries of the retry, schedule or dead set, unless they are gone or were rescheduled.
--
-- KEYS  1   entries   zset  rw  retry, schedule or dead
-- ARGV  1.. moves     pairs: the entry and its score as they were read
-- RETURNS   per entry: 1 deleted, 0 gone or rescheduled
-- BOUND     100 entries, 250 KB or one larger entry
-- REPLAY    same
-- ROLES     dashboard, admin
-- INVARIANT no other entry is touched, whatever its jid or score

local entries = KEYS[1]

-- include lib/holds.lua

local deleted = {}
for i = 1, #ARGV, 2 do
  local state = 0
  if holds(entries, ARGV[i], ARGV[i + 1]) then
    state = redis.call("ZREM", entries, ARGV[i])
  end
  deleted[#deleted + 1] = state
end
return deleted
