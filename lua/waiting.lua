#!lua flags=no-writes
-- Read the next page of a queue, the newest job first, from where the last page ended.
--
-- KEYS  1   queue     list  r   the queue
-- ARGV  1   left      how many of the oldest jobs are not read yet; "" for the first page
--       2   anchor    the newest of those, as the last page said; "" for the first page
--       3   n         how many jobs to look at, at most
--       4   bytes     stop once jobs of so many bytes were looked at
--       5   text      answer only those that contain it; "" for all
-- RETURNS   {how many of the oldest are left to read, the newest of those or "", {payloads}}
-- BOUND     n jobs, `bytes` plus 100 jobs; 200 more to find the anchor; O(how far it is to the nearer end)
-- REPLAY    same
-- ROLES     dashboard, admin
-- INVARIANT counted from the oldest, a job that nobody touches moves only when jobs come back to that end

local queue = KEYS[1]
local left, anchor, n, bytes, text = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]

-- include lib/step.lua

n, bytes = tonumber(n), tonumber(bytes)
local length = redis.call("LLEN", queue)
local at = left == "" and 0 or math.max(0, length - tonumber(left))
local there = redis.call("LINDEX", queue, at) or ""
if anchor ~= "" and there ~= anchor then
  local reach = math.min(100, math.floor(bytes / (2 * #there + 1)))
  local first = math.max(0, at - reach)
  local near = redis.call("LRANGE", queue, first, at + reach)
  local middle = at - first + 1
  for i = 1, reach do
    if near[middle + i] == anchor or near[middle - i] == anchor then
      at = near[middle + i] == anchor and at + i or at - i
      break
    end
  end
end
local found, seen, size, asked, jobs = {}, 0, 0
repeat
  asked = step(seen, size, n, bytes)
  jobs = redis.call("LRANGE", queue, at + seen, at + seen + asked - 1)
  for _, payload in ipairs(jobs) do
    size = size + #payload
    if text == "" or payload:find(text, 1, true) then
      found[#found + 1] = payload
    end
  end
  seen = seen + #jobs
until #jobs < asked or seen == n or size >= bytes
return {math.max(0, length - at - seen), redis.call("LINDEX", queue, at + seen) or "", found}
