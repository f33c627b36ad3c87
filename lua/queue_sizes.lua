#!lua flags=no-writes
-- Read the sizes of several queues and the job that is next in each, up to a number of bytes.
--
-- KEYS  1   paused    set   r   names of paused queues
--       2.. queues    list  r   queues, in the order of `names`
-- ARGV  1   bytes     stop once this many bytes are read
--       2.. names     the queues' names
-- RETURNS   for each: {size, the oldest payload or "", 1 if paused else 0}; the last ones may be missing
-- BOUND     100 queues, `bytes` plus one payload
-- REPLAY    same
-- ROLES     worker, dashboard
-- INVARIANT nothing is written

local paused = KEYS[1]
local bytes = ARGV[1]

local found, size = {}, 0
for i = 2, #KEYS do
  local oldest = redis.call("LINDEX", KEYS[i], -1) or ""
  found[i - 1] = {
    redis.call("LLEN", KEYS[i]),
    oldest,
    redis.call("SISMEMBER", paused, ARGV[i]),
  }
  size = size + #oldest
  if size >= tonumber(bytes) then
    break
  end
end
return found
