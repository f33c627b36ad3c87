#!lua flags=no-writes
-- Read the next page of the retry, schedule or dead set in its order, from behind a given place.
--
-- KEYS  1   entries   zset  r   retry, schedule or dead
-- ARGV  1   upward    1 from the lowest score up, 0 from the highest down
--       2   score     that of the entry looked at last; "" for the first page
--       3   member    the entry looked at last, which may be gone since
--       4   n         how many entries to look at, at most
--       5   bytes     stop once entries of so many bytes were looked at
--       6   text      answer only those that contain it; "" for all
-- RETURNS   {how many were looked at, the last of them, its score, {entry, score, …}}
-- BOUND     n entries, `bytes` plus 100 entries; O(log of the set's size), of which some 20 to find the place
-- REPLAY    same
-- ROLES     dashboard, admin
-- INVARIANT page by page, every entry that nobody touches comes exactly once

local entries = KEYS[1]
local upward, score, member, n, bytes, text = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6]

-- include lib/place.lua
-- include lib/step.lua

n, bytes = tonumber(n), tonumber(bytes)
local at = 0
if score ~= "" then
  local before, there = place(entries, score, member)
  at = upward == "1" and before + there or redis.call("ZCARD", entries) - before
end
local found, seen, size, asked = {}, 0, 0
repeat
  asked = step(seen, size, n, bytes)
  local rows
  if upward == "1" then
    rows = redis.call("ZRANGE", entries, at + seen, at + seen + asked - 1, "WITHSCORES")
  else
    rows = redis.call("ZRANGE", entries, at + seen, at + seen + asked - 1, "REV", "WITHSCORES")
  end
  for i = 1, #rows, 2 do
    member, score = rows[i], rows[i + 1]
    size = size + #member
    if text == "" or member:find(text, 1, true) then
      found[#found + 1] = member
      found[#found + 1] = score
    end
  end
  seen = seen + #rows / 2
until #rows < 2 * asked or seen == n or size >= bytes
return {seen, member, score, found}
