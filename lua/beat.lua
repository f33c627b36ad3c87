#!lua flags=allow-oom
-- Say that this process is alive and what it is doing; take one signal that was sent to it.
--
-- KEYS  1   processes  set   rw  identities of the processes
--       2   process    hash  rw  this process
--       3   work       hash  rw  its running jobs by thread
--       4   signals    list  rw  signals sent to it
--       5   owners     hash  r   who may hold running lists
--       6   paused     set   r   names of paused job classes
--       7   resumed    set   r   names of job classes whose held jobs have to be released
--       8.. running    list  r   its running lists
-- ARGV  1   identity   HOST:PID:NONCE
--       2   ttl        seconds the heartbeat lasts
--       3   m          how many owners follow
--       4   n          how many parts of the process hash follow those
--       5.. rest       m of: field in `owners`; n of: field, value for `process`; then thread, job for `work`
-- RETURNS   {1 if the process was known already, number of its owners that are registered, its signal or
--           "", number of processes, {length of each running list, or nothing if all are empty},
--           how many of `paused` and `resumed` have names}
-- BOUND     1 field for each running job, 1 MB of them; the running lists are counted, not read
-- REPLAY    repeats: one more signal is taken
-- ROLES     worker
-- INVARIANT a process that stops beating is gone from `process` and `work` after `ttl`

local processes, process, work, signals, owners = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local paused, resumed = KEYS[6], KEYS[7]
local identity, ttl, m, n = ARGV[1], ARGV[2], ARGV[3], ARGV[4]

local fields = 5 + tonumber(m)
local jobs = fields + tonumber(n)
-- First of all: without it, others take this process for dead, whatever else is wrong.
local new = redis.call("HSET", process, unpack(ARGV, fields, jobs - 1))
redis.call("EXPIRE", process, ttl)
redis.call("UNLINK", work)
for i = jobs, #ARGV, 1000 do
  redis.call("HSET", work, unpack(ARGV, i, math.min(i + 999, #ARGV)))
end
if #ARGV >= jobs then
  redis.call("EXPIRE", work, ttl)
end
redis.call("SADD", processes, identity)
local counts, classes = {}, 0
-- One question where a process has nothing to do, which is most of the time.
if redis.call("EXISTS", unpack(KEYS, 6)) > 0 then
  classes = redis.call("EXISTS", paused, resumed)
  for i = 8, #KEYS do
    counts[i - 7] = redis.call("LLEN", KEYS[i])
  end
end
local registered = 0
for _, entry in ipairs(redis.call("HMGET", owners, unpack(ARGV, 5, fields - 1))) do
  registered = registered + (entry and 1 or 0)
end
local known = new * 2 < tonumber(n) and 1 or 0
local signal = redis.call("RPOP", signals) or ""
return {known, registered, signal, redis.call("SCARD", processes), counts, classes}
