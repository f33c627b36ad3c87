-- unused_lib__alone(list, item): add an item twice.
local function unused_lib__alone(list, item)
  redis.call("LPUSH", list, item)
  redis.call("LPUSH", list, item)
end
-- REFUSED: no script includes it
