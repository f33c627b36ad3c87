#!lua flags=no-writes
-- Read the sizes of several queues and the job that is next in each.
--
-- KEYS  1   paused    set   names of paused queues
--       2.. queues    list  queues, in the order of `names`
-- ARGV  1.. names     the queues' names
-- RETURNS   for each: {size, the oldest payload or "", 1 if paused else 0}
-- BOUND     100 queues
-- REPLAY    same
-- ROLES     worker, dashboard
-- INVARIANT nothing is written

local paused = KEYS[1]

local found = {}
for i = 2, #KEYS do
  found[i - 1] = {
    redis.call("LLEN", KEYS[i]),
    redis.call("LINDEX", KEYS[i], -1) or "",
    redis.call("SISMEMBER", paused, ARGV[i - 1]),
  }
end
return found
