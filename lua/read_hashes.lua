#!lua flags=no-writes
-- Read several hashes whole, up to a number of fields.
--
-- KEYS  1.. hashes  hash  r   metrics of minutes, marks of days, running jobs, iterations
-- ARGV  1   fields  stop once this many fields are read
-- RETURNS   for each hash: {field, value, field, value, …}; the last ones may be missing
-- BOUND     60 hashes, `fields` fields plus one hash: 3 for each class, 1 for each minute or running job
-- REPLAY    same
-- ROLES     dashboard
-- INVARIANT nothing is written

local hashes = KEYS
local fields = ARGV[1]

local found, count = {}, 0
for i = 1, #hashes do
  found[i] = redis.call("HGETALL", hashes[i])
  count = count + #found[i] / 2
  if count >= tonumber(fields) then
    break
  end
end
return found
