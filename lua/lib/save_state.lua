-- save_state(state, ttl, executions, cursor, runtime, cancelled): write down how
-- far an iterable job has come, for ttl seconds from now. The moment of the first
-- cancellation stays; "" is none. Returns 1 if it is cancelled, else 0.
local function save_state(state, ttl, executions, cursor, runtime, cancelled)
  redis.call("HSET", state, "ex", executions, "c", cursor, "rt", runtime)
  if cancelled ~= "" then
    redis.call("HSETNX", state, "cancelled", cancelled)
  end
  redis.call("EXPIRE", state, ttl)
  return redis.call("HEXISTS", state, "cancelled")
end
