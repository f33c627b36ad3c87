#!lua flags=allow-oom
-- Take this process off the lists, unless it still holds jobs.
--
-- KEYS  1   processes  set   rw  identities of the processes
--       2   work       hash  rw  its running jobs by thread
--       3   owners     hash  rw  who may hold running lists
--       4.. running    list  r   its running lists
-- ARGV  1   identity   HOST:PID:NONCE
--       2   owner      this process's field in `owners`
-- RETURNS   0 if it left, else how many running lists still hold jobs; it is listed no more, but stays
--           an owner, so that its jobs are recovered
-- BOUND     the running lists are looked up, not read
-- REPLAY    same
-- ROLES     worker
-- INVARIANT an owner that holds jobs is never forgotten

local processes, work, owners = KEYS[1], KEYS[2], KEYS[3]
local identity, owner = ARGV[1], ARGV[2]

redis.call("HEXISTS", owners, owner)
redis.call("SREM", processes, identity)
redis.call("UNLINK", work)
local held = redis.call("EXISTS", unpack(KEYS, 4))
if held == 0 then
  redis.call("HDEL", owners, owner)
end
return held
