#!lua flags=allow-oom
-- Save how far an iterable job has come, unless somebody recovered it; is it cancelled?
--
-- KEYS  1   running     list  r   jobs this process holds
--       2   state       hash  rw  the job's iteration
-- ARGV  1   raw         the payload exactly as it was fetched
--       2   ttl         seconds the state is kept from now on
--       3   executions  how often the job was started
--       4   cursor      JSON, what to go on from
--       5   runtime     seconds it has run, in total
--       6   cancelled   epoch seconds at which the job cancelled itself, or ""
-- RETURNS   {1 if saved or 0 if this process no longer holds the job, 1 if the job is cancelled else 0}
-- BOUND     1 hash, O(length of the running list)
-- REPLAY    same
-- ROLES     worker
-- INVARIANT only who holds the job writes its state: a run that was taken for dead sets nothing back

local running, state = KEYS[1], KEYS[2]
local raw, ttl, executions, cursor, runtime, cancelled = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6]

-- include lib/save_state.lua

if not redis.call("LPOS", running, raw) then
  return {0, 0}
end
return {1, save_state(state, ttl, executions, cursor, runtime, cancelled)}
