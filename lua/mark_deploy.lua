#!lua
-- Mark a deploy at its minute, unless it was marked in the last minute or the minute has a mark.
--
-- KEYS  1   lock      string  rw  the label is marked already
--       2   marks     hash    rw  the day's marks: label by minute
-- ARGV  1   stamp     the minute, as ISO 8601
--       2   label     what was deployed
--       3   lock_ttl  seconds for which the same label is not marked again
--       4   ttl       seconds for which the day's marks are kept
-- RETURNS   1 if marked, 0 if the label was marked just now, or the minute has a mark
-- BOUND     1 field
-- REPLAY    same
-- ROLES     admin
-- INVARIANT each minute has one mark, the first

local lock, marks = KEYS[1], KEYS[2]
local stamp, label, lock_ttl, ttl = ARGV[1], ARGV[2], ARGV[3], ARGV[4]

redis.call("HLEN", marks)
if not redis.call("SET", lock, stamp, "NX", "EX", lock_ttl) then
  return 0
end
local marked = redis.call("HSETNX", marks, stamp, label)
redis.call("EXPIRE", marks, ttl)
return marked
