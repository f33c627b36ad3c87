#!lua flags=no-writes
-- Before a process starts: may its user do all that the scripts do, and has every key the right type?
--
-- KEYS  1   queues     set     r   names of every queue
--       2   schedule   zset    r   jobs that are due later
--       3   retry      zset    r   jobs waiting for another try
--       4   dead       zset    r   dead jobs
--       5   processes  set     r   identities of the processes
--       6   owners     hash    r   who may hold running lists
--       7   processed  string  r   runs, in total
--       8   failed     string  r   failed runs, in total
--       9   process    hash    r   this process
--       10  signals    list    r   signals sent to it
--       11  crashes    string  r   a count of crashes
--       12  paused     set     r   names of paused queues
--       13  work       hash    r   its running jobs by thread
--       14  fallen     set     r   crash keys of jobs whose process died
--       15.. lists     list    r   queues and running lists
-- RETURNS   pairs: key, the command that its user may not run or the wrong type that it has
-- BOUND     a few checks for each key
-- REPLAY    same
-- ROLES     worker
-- INVARIANT nothing is written

local queues, schedule, retry, dead, processes, owners = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local processed, failed, process, signals, crashes = KEYS[7], KEYS[8], KEYS[9], KEYS[10], KEYS[11]
local paused, work, fallen = KEYS[12], KEYS[13], KEYS[14]

local problems = {}
local function need(kind, key, ...)
  local found = redis.call("TYPE", key).ok
  if found ~= kind and found ~= "none" then
    problems[#problems + 1], problems[#problems + 2] = key, found
  end
  for _, command in ipairs({...}) do
    if not redis.acl_check_cmd(unpack(command, 1, 1), key, unpack(command, 2)) then
      problems[#problems + 1], problems[#problems + 2] = key, command[1]
    end
  end
end

need("set", queues, {"SADD", "q"}, {"SCARD"})
need("zset", schedule, {"ZADD", "1", "m"}, {"ZREM", "m"}, {"ZRANGE", "0", "1"}, {"ZMSCORE", "m"})
need("zset", retry, {"ZADD", "1", "m"}, {"ZREM", "m"}, {"ZRANGE", "0", "1"}, {"ZMSCORE", "m"})
need("zset", dead, {"ZADD", "1", "m"}, {"ZCARD"}, {"ZCOUNT", "0", "1"}, {"ZREMRANGEBYRANK", "0", "1"})
need("set", processes, {"SADD", "m"}, {"SREM", "m"}, {"SCARD"}, {"SSCAN", "0"})
need("hash", owners, {"HSET", "f", "v"}, {"HDEL", "f"}, {"HEXISTS", "f"}, {"HGET", "f"}, {"HMGET", "f"}, {"HSCAN", "0"})
need("string", processed, {"INCRBY", "1"}, {"EXPIRE", "1"})
need("string", failed, {"INCRBY", "1"}, {"EXPIRE", "1"})
need("hash", process, {"HSET", "f", "v"}, {"EXPIRE", "1"}, {"EXISTS"}, {"DEL"})
need("list", signals, {"RPOP"})
need("string", crashes, {"GET"}, {"SET", "1"}, {"DEL"}, {"EXPIRE", "1"})
need("set", paused, {"EXISTS"}, {"SISMEMBER", "m"})
need("hash", work, {"HSET", "f", "v"}, {"EXPIRE", "1"}, {"UNLINK"})
need("set", fallen, {"SADD", "m"}, {"EXPIRE", "1"}, {"SMEMBERS"})
for i = 15, #KEYS do
  need("list", KEYS[i], {"LPUSH", "m"}, {"RPUSH", "m"}, {"LREM", "1", "m"}, {"LMOVE", KEYS[i], "LEFT", "RIGHT"},
    {"LPOS", "m"}, {"LINDEX", "0"}, {"LLEN"}, {"EXISTS"})
end
return problems
