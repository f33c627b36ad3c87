#!lua flags=allow-oom
-- Move due entries of the retry or schedule set to their queues, unless they are gone or rescheduled.
--
-- KEYS  1   entries   zset  rw  retry or schedule
--       2   queues    set   rw  names of every queue
--       3.. lists     list  rw  the queues that the entries go to
-- ARGV  1   now       epoch seconds; an entry with a later score stays
--       2.. rest      the queues' names in the order of `lists`, then triples: number of the list (0: client
--                     middleware stopped the job, forget it), the entry exactly as it was read, the
--                     payload to push in its stead
-- RETURNS   per entry: 1 moved or forgotten, 0 gone or not due, -1 its queue is not a list
-- BOUND     100 entries, 500 KB and ten more, as `due` reads them
-- REPLAY    same
-- ROLES     worker, scheduler
-- INVARIANT an entry is in `entries` or in its queue, and one of many pollers moves it

local entries, queues = KEYS[1], KEYS[2]
local now = ARGV[1]

-- include lib/in_stead.lua

redis.call("SCARD", queues)
local lists = #KEYS - 2
local moved, known = {}, {}
for i = 2 + lists, #ARGV, 3 do
  local list, entry, state = tonumber(ARGV[i]), ARGV[i + 1], 0
  local score = redis.call("ZSCORE", entries, entry)
  if score and tonumber(score) <= tonumber(now) then
    local name, queue = ARGV[1 + list], list > 0 and KEYS[2 + list]
    state = in_stead(entries, entry, queues, known, name, queue, ARGV[i + 2])
  end
  moved[#moved + 1] = state
end
return moved
