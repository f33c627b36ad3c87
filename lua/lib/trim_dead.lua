-- trim_dead(dead, cutoff, limit): drop what died before cutoff, then what is
-- over the limit, at most 1000 of each a call. Sidekiq keeps limit - 1 entries:
-- the end of ZREMRANGEBYRANK is inclusive, and mixed fleets must trim alike.
local function trim_dead(dead, cutoff, limit)
  local old = redis.call("ZCOUNT", dead, "-inf", cutoff)
  if old > 0 then
    redis.call("ZREMRANGEBYRANK", dead, 0, math.min(old, 1000) - 1)
  end
  local over = redis.call("ZCARD", dead) - limit + 1
  if over > 0 then
    redis.call("ZREMRANGEBYRANK", dead, 0, math.min(over, 1000) - 1)
  end
end
