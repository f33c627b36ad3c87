#!lua flags=allow-oom
-- Write down which scripts this version runs, unless a newer schema is at work here.
--
-- KEYS  1   scripts   hash  rw  script hash to name and version; `schema` to the schema's number
-- ARGV  1   schema    the number of the schema that this version writes
--       2.. entries   pairs: script hash, name and version
-- RETURNS   the schema's number found in Redis, or 0 if there was none; if it is larger, nothing was written
-- BOUND     as many fields as there are scripts
-- REPLAY    same
-- ROLES     worker
-- INVARIANT an older process never lowers the schema's number

local scripts = KEYS[1]
local schema = ARGV[1]

local found = tonumber(redis.call("HGET", scripts, "schema") or 0) or 0
if found <= tonumber(schema) then
  redis.call("HSET", scripts, "schema", schema, unpack(ARGV, 2))
end
return found
