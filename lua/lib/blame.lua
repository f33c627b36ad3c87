-- blame(crash, count, window): write down a job's crashes, for window seconds from the first.
local function blame(crash, count, window)
  redis.pcall("SET", crash, count, "KEEPTTL")
  redis.pcall("EXPIRE", crash, window, "NX")
end
