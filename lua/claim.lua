#!lua flags=allow-oom
-- Give due entries of the retry or schedule set other times: a poller keeps the others off, or gives them back.
--
-- KEYS  1   entries   zset  rw  retry or schedule
-- ARGV  1   now       epoch seconds; an entry with a later score stays as it is
--       2.. rest      pairs: an entry exactly as it was read, its new score
-- RETURNS   per entry: its score before, or "" if it is gone or not due
-- BOUND     200 entries, 500 KB and ten more, as `due` reads them
-- REPLAY    same
-- ROLES     worker, scheduler
-- INVARIANT the entries' bytes stay as they are, and no entry is added; of many pollers one gets each

local entries = KEYS[1]
local now = ARGV[1]

local asked = {}
for i = 2, #ARGV, 2 do
  asked[i / 2] = ARGV[i]
end
local before = redis.call("ZMSCORE", entries, unpack(asked, 1))
for i, score in ipairs(before) do
  if score and tonumber(score) <= tonumber(now) then
    redis.call("ZADD", entries, "XX", ARGV[2 * i + 1], asked[i])
  else
    before[i] = ""
  end
end
return before
