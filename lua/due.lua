#!lua flags=no-writes
-- Read the entries of several sets that are due, soonest first.
--
-- KEYS  1.. sets      zset  r   retry, schedule
-- ARGV  1   now       epoch seconds
--       2   n         how many entries to read of each set at most
--       3   bytes     stop once this many bytes of a set are read
--       4.. skips     how many of the soonest to pass over, for each set
-- RETURNS   a list of entries per set, in the order of `sets`
-- BOUND     n entries and `bytes` plus ten entries of each set; O(log of its size + skip)
-- REPLAY    same
-- ROLES     worker, scheduler, dashboard
-- INVARIANT nothing is written

local now, n, bytes = ARGV[1], ARGV[2], ARGV[3]

n, bytes = tonumber(n), tonumber(bytes)
local due = {}
if redis.call("EXISTS", unpack(KEYS, 1)) == 0 then
  -- One question where nothing is scheduled, which every process asks every few seconds.
  for i = 1, #KEYS do
    due[i] = {}
  end
  return due
end
for i = 1, #KEYS do
  local found, size, asked = {}, 0
  repeat
    -- How large an entry is shows only once it was read: one by one while they are large.
    asked = math.min(size * 10 < bytes and #found > 0 and 10 or 1, n - #found)
    local page = redis.call("ZRANGE", KEYS[i], "-inf", now, "BYSCORE", "LIMIT", ARGV[3 + i] + #found, asked)
    for _, entry in ipairs(page) do
      found[#found + 1] = entry
      size = size + #entry
    end
  until #page < asked or #found == n or size >= bytes
  due[i] = found
end
return due
