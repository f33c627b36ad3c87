#!lua flags=allow-oom
-- Return held jobs of a resumed class to the consuming end of their queues, the newest first, so that the
-- oldest runs first again.
--
-- KEYS  1   resumed   set   rw  names of job classes whose held jobs have to be released
--       2   held      list  rw  jobs of the class that were put aside; the left end is the newest
--       3   queues    set   rw  names of every queue
--       4.. lists     list  rw  the queues that the jobs came from
-- ARGV  1   name      the class's name
--       2.. jobs      the queues' names in the order of `lists`; then triples, the newest first: number of
--                     the list, the item exactly as it is in `held`, the job
-- RETURNS   how many were moved, those whose queue is not a list stay; or -1: the class was paused again, or
--           all its jobs are released
-- BOUND     100 jobs, 1 MB or one larger job
-- REPLAY    same
-- ROLES     worker, dashboard, admin
-- INVARIANT the job is in `held` or in its queue; the class is forgotten only when nothing is held

local resumed, held, queues = KEYS[1], KEYS[2], KEYS[3]
local name = ARGV[1]

if redis.call("SISMEMBER", resumed, name) == 0 then
  return -1
end
redis.call("LLEN", held)
redis.call("SCARD", queues)
local lists, moved = #KEYS - 3, 0
for i = 2 + lists, #ARGV, 3 do
  local list = tonumber(ARGV[i])
  if redis.call("LPOS", held, ARGV[i + 1]) then
    redis.call("SADD", queues, ARGV[1 + list])
    if type(redis.pcall("RPUSH", KEYS[3 + list], ARGV[i + 2])) == "number" then
      redis.call("LREM", held, 1, ARGV[i + 1])
      moved = moved + 1
    end
  end
end
if redis.call("LLEN", held) == 0 then
  redis.call("SREM", resumed, name)
end
return moved
