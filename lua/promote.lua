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
-- BOUND     200 entries, 500 KB and ten more, as `due` reads them
-- REPLAY    same
-- ROLES     worker, scheduler
-- INVARIANT an entry is in `entries` or in its queue, and one of many pollers moves it

local entries, queues = KEYS[1], KEYS[2]
local now = ARGV[1]

local lists = #KEYS - 2
local asked, moved, gone = {}, {}, {}
for i = 2 + lists, #ARGV, 3 do
  asked[#asked + 1] = ARGV[i + 1]
end
if #asked == 0 then
  return moved
end
local scores = redis.call("ZMSCORE", entries, unpack(asked, 1))
redis.call("SCARD", queues)
local payloads, places, seen = {}, {}, {}
for n, entry in ipairs(asked) do
  local list = tonumber(ARGV[3 * n - 1 + lists])
  local due = scores[n] and tonumber(scores[n]) <= tonumber(now) and not seen[entry]
  seen[entry] = true
  moved[n] = due and 1 or 0
  if due and list == 0 then
    gone[#gone + 1] = entry
  elseif due then
    payloads[list], places[list] = payloads[list] or {}, places[list] or {}
    payloads[list][#payloads[list] + 1] = ARGV[3 * n + 1 + lists]
    places[list][#places[list] + 1] = n
  end
end
for list = 1, lists do
  if payloads[list] then
    redis.call("SADD", queues, ARGV[1 + list])
    local refused = type(redis.pcall("LPUSH", KEYS[2 + list], unpack(payloads[list], 1))) == "table"
    for _, n in ipairs(places[list]) do
      moved[n] = refused and -1 or 1
      gone[#gone + 1] = not refused and asked[n] or nil
    end
  end
end
if #gone > 0 then
  redis.call("ZREM", entries, unpack(gone, 1))
end
return moved
