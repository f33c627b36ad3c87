-- place(entries, score, member): how many entries of a sorted set come before this place, and 1 if an entry
-- is there, else 0. Redis orders members of one score by their bytes; Lua's < follows the server's locale.
local function place(entries, score, member)
  local function precedes(a, b)
    local i = 1
    while i <= #a and a:sub(i, i + 255) == b:sub(i, i + 255) do
      i = i + 256
    end
    while i <= #a and a:byte(i) == b:byte(i) do
      i = i + 1
    end
    return (a:byte(i) or -1) < (b:byte(i) or -1)
  end
  local found = redis.call("ZSCORE", entries, member)
  if found and tonumber(found) == tonumber(score) then
    return redis.call("ZRANK", entries, member), 1
  end
  local low = redis.call("ZCARD", entries) - redis.call("ZCOUNT", entries, score, "+inf")
  local high = low + redis.call("ZCOUNT", entries, score, score)
  while low < high do
    local middle = math.floor((low + high) / 2)
    if precedes(redis.call("ZRANGE", entries, middle, middle)[1], member) then
      low = middle + 1
    else
      high = middle
    end
  end
  return low, 0
end
