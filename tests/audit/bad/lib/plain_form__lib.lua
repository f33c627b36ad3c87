-- plain_form__lib(list, item): add an item twice.
local function plain_form__lib(list, item)
  local r = redis
  redis.call("LPUSH", list, item)
  redis.call("LPUSH", list, item)
end
-- REFUSED: `redis` is only for
