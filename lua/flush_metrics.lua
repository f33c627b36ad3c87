#!lua
-- Add what ran to the metrics of its minute and its ten minutes, and to the histogram of each class.
--
-- KEYS  1   done        string  rw  the number of this process's last flush
--       2   minute      hash    rw  CLASS|p, CLASS|f and CLASS|ms of one minute
--       3   ten         hash    rw  the same of ten minutes
--       4.. histograms  string  rw  26 counters of 16 bits: how long the jobs of one class ran in one minute
-- ARGV  1   number      of this flush
--       2   short       seconds for which a minute is kept
--       3   long        seconds for which ten minutes are kept, and `done`
--       4.. rest        for each histogram: how many words follow for the hashes, pairs: field, addend; how
--                       many words follow for the histogram: INCRBY, u16, the counter, addend
-- RETURNS   {1 if added, 0 if this flush was added before; the text of an error that left out a part, or ""}
-- BOUND     50 classes, each with at most 3 fields of 2 hashes and 26 counters
-- REPLAY    token: `number`, for as long as ten minutes are kept
-- ROLES     worker
-- INVARIANT of several calls with one number, one is added

local done, minute, ten = KEYS[1], KEYS[2], KEYS[3]
local number, short, long = ARGV[1], ARGV[2], ARGV[3]

if redis.call("GET", done) == number then
  return {0, ""}
end
-- These raise where a key is of another type, before anything is written.
redis.call("HLEN", minute)
redis.call("HLEN", ten)
for i = 4, #KEYS do
  redis.call("STRLEN", KEYS[i])
end
redis.call("SET", done, number, "EX", long)
local problem = ""
local function look(reply)
  problem = type(reply) == "table" and reply.err or problem
end
local at = 4
for i = 4, #KEYS do
  local last = at + tonumber(ARGV[at])
  for word = at + 1, last, 2 do
    look(redis.pcall("HINCRBY", minute, ARGV[word], ARGV[word + 1]))
    look(redis.pcall("HINCRBY", ten, ARGV[word], ARGV[word + 1]))
  end
  at = last + 1
  last = at + tonumber(ARGV[at])
  if last > at then
    look(redis.pcall("BITFIELD", KEYS[i], "OVERFLOW", "SAT", unpack(ARGV, at + 1, last)))
    look(redis.pcall("EXPIRE", KEYS[i], short))
  end
  at = last + 1
end
look(redis.pcall("EXPIRE", minute, short))
look(redis.pcall("EXPIRE", ten, long))
return {1, problem}
