-- pure_lib__reads_keys(list, item): add an item twice.
local function pure_lib__reads_keys(list, item)
  redis.call("LPUSH", KEYS[1], item)
  redis.call("LPUSH", list, item)
end
-- REFUSED: KEYS is used, not passed
