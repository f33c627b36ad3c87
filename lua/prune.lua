#!lua flags=allow-oom
-- Forget listed processes whose heartbeat is gone, as Ruby's clean-up does.
--
-- KEYS  1   processes  set     rw  identities of the processes
--       2   lock       string  rw  who cleans up, at most once a minute
--       3.. hashes     hash    r   heartbeats, in the order of `identities`
-- ARGV  1.. identities  HOST:PID:NONCE
-- RETURNS   how many were forgotten, -1 if another process cleaned up within the last minute
-- BOUND     100 processes
-- REPLAY    same
-- ROLES     worker, dashboard
-- INVARIANT a process that beats stays listed

local processes, lock = KEYS[1], KEYS[2]

redis.call("SCARD", processes)
if not redis.call("SET", lock, "1", "NX", "EX", 60) then
  return -1
end
local forgotten = 0
for i = 3, #KEYS do
  if redis.pcall("HEXISTS", KEYS[i], "info") == 0 then
    forgotten = forgotten + redis.call("SREM", processes, ARGV[i - 2])
  end
end
return forgotten
