#!lua flags=allow-oom
-- Cancel an iterable job, which sees it when it starts and whenever it saves its state.
--
-- KEYS  1   state  hash  rw  the job's iteration
-- ARGV  1   now    epoch seconds, whole
--       2   ttl    seconds until a state is forgotten that nobody saves any more
-- RETURNS   1 if this call was the first to cancel it, else 0
-- BOUND     1 hash
-- REPLAY    same
-- ROLES     enqueuer, dashboard, admin
-- INVARIANT the first moment stays; the state is whole, since Ruby fails on one without a cursor

local state = KEYS[1]
local now, ttl = ARGV[1], ARGV[2]

local first = redis.call("HSETNX", state, "cancelled", now)
redis.call("HSETNX", state, "ex", 0)
redis.call("HSETNX", state, "c", "null")
redis.call("HSETNX", state, "rt", 0)
redis.call("EXPIRE", state, ttl, "NX")
return first
