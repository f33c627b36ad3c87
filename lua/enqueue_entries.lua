#!lua flags=allow-oom
-- Move several entries of the retry, schedule or dead set to their queues now, unless they are gone or were
-- rescheduled.
--
-- KEYS  1   entries   zset  rw  retry, schedule or dead
--       2   queues    set   rw  names of every queue
--       3.. rest      list  rw  the queues that the entries go to; then, for entries of `dead`, a string for each:
--                           how many processes died running the job, which is forgotten
-- ARGV  1   m         how many queues there are
--       2.. moves     the queues' names; then, for each entry: number of its queue (0: client middleware
--                     stopped the job, forget it), the entry and its score as they were read, the payload
-- RETURNS   per entry: 1 moved or forgotten, 0 gone or rescheduled, -1 its queue is not a list
-- BOUND     100 entries, 250 KB or one larger entry
-- REPLAY    same
-- ROLES     dashboard, admin
-- INVARIANT an entry is in `entries` or in its queue

local entries, queues = KEYS[1], KEYS[2]
local m = ARGV[1]

-- include lib/holds.lua
-- include lib/in_stead.lua

m = tonumber(m)
redis.call("SCARD", queues)
local moved, known = {}, {}
for i = 2 + m, #ARGV, 4 do
  local list, entry, state = tonumber(ARGV[i]), ARGV[i + 1], 0
  if holds(entries, entry, ARGV[i + 2]) then
    local name, queue = ARGV[1 + list], list > 0 and KEYS[2 + list]
    state = in_stead(entries, entry, queues, known, name, queue, ARGV[i + 3])
  end
  moved[#moved + 1] = state
  local crashes = KEYS[2 + m + #moved]
  if state == 1 and crashes then
    redis.call("DEL", crashes)
  end
end
return moved
