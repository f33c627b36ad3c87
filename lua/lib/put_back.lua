-- put_back(running, queue, payload): move one job from a running list to the
-- consuming end of its queue, unless it is gone. Returns whether it moved.
local function put_back(running, queue, payload)
  if not redis.call("LPOS", running, payload) then
    return false
  end
  redis.call("RPUSH", queue, payload)
  redis.call("LREM", running, 1, payload)
  return true
end
