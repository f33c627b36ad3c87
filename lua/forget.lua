#!lua flags=allow-oom
-- Forget a dead owner whose running lists are empty.
--
-- KEYS  1   owners    hash  rw  who may hold running lists
--       2   process   hash  r   the owner's heartbeat
--       3.. running   list  r   its running lists
-- ARGV  1   owner     its field in `owners`
--       2   reaped    the field it has there instead once `recover` has returned jobs of it
-- RETURNS   1 if it was forgotten, 0 if it beats, holds jobs or was unknown
-- BOUND     the running lists are looked up, not read
-- REPLAY    same
-- ROLES     worker
-- INVARIANT an owner that holds jobs is never forgotten

local owners, process = KEYS[1], KEYS[2]
local owner, reaped = ARGV[1], ARGV[2]

if redis.call("EXISTS", process, unpack(KEYS, 3)) > 0 then
  return 0
end
return redis.call("HDEL", owners, owner, reaped) > 0 and 1 or 0
