#!lua flags=allow-oom
-- Let one relay of an outbox work: it may push until another one claims, or its own claim runs out.
--
-- KEYS  1   holder    string  rw  the relay that works now
--       2   epoch     string  rw  how many claims there have been; only the last one may push
-- ARGV  1   me        the relay's name
--       2   ttl_ms    for how long the claim holds
-- RETURNS   the epoch of this claim, or 0 if another relay works
-- BOUND     2 keys
-- REPLAY    repeats: the epoch rises once more, and what was sent with the one before is refused
-- ROLES     enqueuer, worker
-- INVARIANT an epoch is given out once

local holder, epoch = KEYS[1], KEYS[2]
local me, ttl_ms = ARGV[1], ARGV[2]

local works = redis.call("GET", holder)
if works and works ~= me then
  return 0
end
local mine = redis.call("INCRBY", epoch, 1)
redis.call("SET", holder, me, "PX", ttl_ms)
return mine
