#!lua flags=allow-oom
-- Take the oldest jobs of the first queues that have some into this process's running lists.
--
-- KEYS  1   owners    hash  r   who may hold running lists
--       2   paused    set   r   names of paused queues
--       3.. lists     list  rw  pairs in the order to look: a queue, the running list for it
-- ARGV  1   owner     this process's field in `owners`
--       2   n         how many jobs to take at most
--       3   bytes     stop once this many bytes are taken
--       4.. names     the queues' names, in the order of `lists`
-- RETURNS   {"OK", problem or "", {number of the pair, payload, …}, {numbers of paused pairs}}, or {"REAPED"}:
--           register again first
-- BOUND     n jobs, `bytes` plus one payload
-- REPLAY    repeats: other jobs are taken; after a lost reply read the running lists instead
-- ROLES     worker
-- INVARIANT a job is in its queue or in a running list of a registered owner

local owners, paused = KEYS[1], KEYS[2]
local owner, n, bytes = ARGV[1], ARGV[2], ARGV[3]

-- include lib/take.lua

if redis.call("HEXISTS", owners, owner) == 0 then
  return {"REAPED"}
end
local some = redis.call("SCARD", paused)
local taken, passed, problem = take(KEYS, 3, ARGV, 4, paused, some, tonumber(n), tonumber(bytes))
return {"OK", problem, taken, passed}
