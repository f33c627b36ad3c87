#!lua flags=allow-oom
-- Acknowledge jobs that succeeded and take the next ones, in one call.
--
-- KEYS  1   owners         hash    r   who may hold running lists
--       2   paused         set     r   names of paused queues
--       3   processed      string  rw  runs, in total
--       4   processed_day  string  rw  runs on this UTC day
--       5.. lists          list    rw  pairs in the order to look: a queue, the running list for it
-- ARGV  1   owner     this process's field in `owners`
--       2   n         how many jobs to take at most
--       3   bytes     stop once this many bytes are taken
--       4   ttl       seconds the day's counter is kept
--       5.. rest      the queues' names in the order of `lists`, then pairs: number of the pair, payload
-- RETURNS   {"OK", problem or "", {number of the pair, payload, …}, {numbers of paused pairs}, {positions of
--           acknowledged jobs that were gone}}, or {"REAPED"}: nothing was done
-- BOUND     200 acknowledged jobs as in `ack`, n taken jobs, `bytes` plus one payload
-- REPLAY    repeats: other jobs are taken; after a lost reply send `ack` and read the running lists
-- ROLES     worker
-- INVARIANT those of `ack` and `fetch`

local owners, paused, processed, processed_day = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local owner, n, bytes, ttl = ARGV[1], ARGV[2], ARGV[3], ARGV[4]

-- include lib/count.lua
-- include lib/take.lua

if redis.call("HEXISTS", owners, owner) == 0 then
  return {"REAPED"}
end
local some = redis.call("SCARD", paused)
local gone = {}
local done = 5 + (#KEYS - 4) / 2
for i = done, #ARGV, 2 do
  if redis.call("LREM", KEYS[4 + 2 * tonumber(ARGV[i])], -1, ARGV[i + 1]) == 0 then
    gone[#gone + 1] = (i - done) / 2 + 1
  end
end
local taken, passed, problem = take(KEYS, 5, ARGV, 5, paused, some, tonumber(n), tonumber(bytes))
local trouble = count(processed, processed_day, ttl, (#ARGV - done + 1) / 2 - #gone)
return {"OK", problem ~= "" and problem or trouble, taken, passed, gone}
