-- reap(owners, owner, reaped): take the right to fetch from a dead process, which may only sleep, until it
-- registers again under a new epoch; its lists stay known under the field reaped.
local function reap(owners, owner, reaped)
  local entry = redis.call("HGET", owners, owner)
  if entry then
    redis.call("HSET", owners, reaped, entry)
    redis.call("HDEL", owners, owner)
  end
end
