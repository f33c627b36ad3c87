#!lua flags=no-writes
-- Read one page of a running list, oldest first, up to a number of bytes, and the list's length.
--
-- KEYS  1   running   list  r   jobs a process holds from one queue
-- ARGV  1   skip      how many of the oldest to skip
--       2   n         how many to read at most
--       3   bytes     stop once this many bytes are read
-- RETURNS   {the length of the list, {payloads, oldest first}}
-- BOUND     n jobs, `bytes` plus one payload; O(skip)
-- REPLAY    same
-- ROLES     worker, dashboard
-- INVARIANT nothing is written

local running = KEYS[1]
local skip, n, bytes = ARGV[1], ARGV[2], ARGV[3]

local held, size = {}, 0
for i = 1, tonumber(n) do
  local payload = redis.call("LINDEX", running, -tonumber(skip) - i)
  if not payload or size >= tonumber(bytes) then
    break
  end
  held[i] = payload
  size = size + #payload
end
return {redis.call("LLEN", running), held}
