-- pure_lib__global(list, item): add an item twice.
function pure_lib__global(list, item)
  redis.call("LPUSH", list, item)
  redis.call("LPUSH", list, item)
end
-- REFUSED: one `local function
