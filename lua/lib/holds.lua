-- holds(entries, entry, score): whether a sorted set still has the entry with
-- the score it was read with; if not, somebody took or rescheduled it since.
local function holds(entries, entry, score)
  local found = redis.call("ZSCORE", entries, entry)
  return found and tonumber(found) == tonumber(score)
end
