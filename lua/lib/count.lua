-- count(total, day, ttl, n): add n to a total and to its UTC day, which is kept
-- for ttl seconds. The job has moved already, so this never raises: it returns
-- the error's text, or "".
local function count(total, day, ttl, n)
  if n == 0 then
    return ""
  end
  local whole = redis.pcall("INCRBY", total, n)
  local today = redis.pcall("INCRBY", day, n)
  if today == n then
    today = redis.pcall("EXPIRE", day, ttl)
  end
  if type(whole) == "table" then
    return whole.err
  end
  return type(today) == "table" and today.err or ""
end
