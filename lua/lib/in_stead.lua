-- in_stead(entries, entry, queues, known, name, queue, payload): push a payload to a queue, and then drop the
-- entry that it stands for; without a queue, only drop it. `known` keeps the names that were added to `queues`
-- by this call. Returns 1, or -1 if the queue is not a list and the entry stays.
local function in_stead(entries, entry, queues, known, name, queue, payload)
  if queue then
    if not known[name] then
      redis.call("SADD", queues, name)
      known[name] = true
    end
    if type(redis.pcall("LPUSH", queue, payload)) == "table" then
      return -1
    end
  end
  redis.call("ZREM", entries, entry)
  return 1
end
