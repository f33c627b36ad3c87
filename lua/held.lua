#!lua flags=no-writes
-- Read one page of a running list from either end, up to a number of bytes, and the list's length.
--
-- KEYS  1   running   list  r   jobs a process holds from one queue
-- ARGV  1   skip      how many to skip at that end
--       2   n         how many to read at most
--       3   bytes     stop once this many bytes are read
--       4   newest    1 to begin with the newest job, 0 with the oldest
-- RETURNS   {the length of the list, {payloads in that order}}
-- BOUND     n jobs, `bytes` plus one payload; O(skip)
-- REPLAY    same
-- ROLES     worker, dashboard
-- INVARIANT nothing is written

local running = KEYS[1]
local skip, n, bytes, newest = ARGV[1], ARGV[2], ARGV[3], ARGV[4]

local held, size = {}, 0
for i = 1, tonumber(n) do
  local at = newest == "1" and tonumber(skip) + i - 1 or -tonumber(skip) - i
  local payload = redis.call("LINDEX", running, at)
  if not payload or size >= tonumber(bytes) then
    break
  end
  held[i] = payload
  size = size + #payload
end
return {redis.call("LLEN", running), held}
