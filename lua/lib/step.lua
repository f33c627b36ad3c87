-- step(seen, size, n, bytes): how many members to read next, when `seen` of n are read and have `size` of
-- at most `bytes` bytes: one, then as many as fit if the rest is like them, but no more than 100.
local function step(seen, size, n, bytes)
  if seen == 0 then
    return 1
  end
  local fit = math.floor((bytes - size) * seen / math.max(size, 1))
  return math.max(1, math.min(n - seen, fit, 100))
end
