#!lua flags=allow-oom
-- End the heartbeat of a process that was seen to die, and note which jobs it was running.
--
-- KEYS  1   process   hash  rw  the process
--       2   work      hash  rw  its running jobs by thread
--       3   fallen    set   rw  crash keys of the jobs it was running, and "" always
-- ARGV  1   ttl       seconds the note is kept
--       2.. running   "", then a crash key for each running job
-- RETURNS   1 if there was a heartbeat to end; without one nothing is written: its death is no news
-- BOUND     as many members as the process has slots
-- REPLAY    same
-- ROLES     worker
-- INVARIANT its jobs stay in its running lists until `recover` returns them

local process, work, fallen = KEYS[1], KEYS[2], KEYS[3]
local ttl = ARGV[1]

if redis.call("EXISTS", process) == 0 then
  return 0
end
for i = 2, #ARGV, 1000 do
  redis.call("SADD", fallen, unpack(ARGV, i, math.min(i + 999, #ARGV)))
end
redis.call("EXPIRE", fallen, ttl)
redis.call("UNLINK", work)
return redis.call("DEL", process)
