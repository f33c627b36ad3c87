-- set_aside(dead, now, queues, ward, ward_name, payload): put a poison pill in the queue called ward_name or, if
-- that is "", in dead. Returns 2 for dead and 3 for the queue.
local function set_aside(dead, now, queues, ward, ward_name, payload)
  if ward_name == "" then
    redis.call("ZADD", dead, now, payload)
    return 2
  end
  redis.call("SADD", queues, ward_name)
  redis.call("LPUSH", ward, payload)
  return 3
end
