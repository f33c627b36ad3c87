#!lua flags=allow-oom
-- Return jobs of a dead process to their queue; one whose process died too often is buried, or quarantined.
--
-- KEYS  1   process   hash    r   the heartbeat of the process that held them
--       2   owners    hash    rw  who may hold running lists
--       3   running   list    rw  jobs it held from one queue
--       4   queue     list    rw  the queue; the right end is taken first
--       5   queues    set     rw  names of every queue
--       6   dead      zset    rw  dead jobs by the time of death
--       7   ward      list    rw  the queue for poison pills, or `queue` once more if there is none
--       8.. crashes   string  rw  each job's count of crashes, in the order of `jobs`
-- ARGV  1   owner     the dead process's field in `owners`
--       2   reaped    its field from now on: should it wake up, it has to register again
--       3   name      the queue's name
--       4   limit     crashes that make a poison pill; 0: never
--       5   window    seconds a count lives, from the first crash
--       6   now       epoch seconds
--       7   cutoff    epoch seconds; what died before is dropped from `dead`
--       8   keep      the setting dead_max_jobs
--       9   ward_name  the name of `ward`, or "": poison pills go to `dead`
--       10.. jobs     triples, oldest first: payload, 1 if the crash is its to blame or 0, payload for a poison pill
-- RETURNS   {"ALIVE"} if the process beats again; else {"OK", per job: 0 gone, 1 requeued, 2 buried, 3 quarantined}
-- BOUND     100 jobs, 1 MB or one larger (8 ms if all are poison), each O(length of `running`); 2000 dropped dead jobs
-- REPLAY    same
-- ROLES     worker
-- INVARIANT only a process without a heartbeat loses jobs, and each is in one place

local process, owners, running, queue, queues, dead, ward = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6], KEYS[7]
local owner, reaped, name, limit = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local window, now, cutoff, keep, ward_name = ARGV[5], ARGV[6], ARGV[7], ARGV[8], ARGV[9]

-- include lib/blame.lua
-- include lib/put_back.lua
-- include lib/reap.lua
-- include lib/set_aside.lua
-- include lib/trim_dead.lua

if redis.call("EXISTS", process) == 1 then return {"ALIVE"} end
redis.call("LLEN", queue)
redis.call("ZCARD", dead)
redis.call("LLEN", ward)
redis.call("SADD", queues, name)
reap(owners, owner, reaped)
local moved, buried = {"OK"}, false
for i = #ARGV - 2, 10, -3 do
  local job = (i - 10) / 3 + 1
  local raw, blamed, crash = ARGV[i], ARGV[i + 1] == "1", KEYS[7 + job]
  local count = (blamed and tonumber(redis.pcall("GET", crash)) or 0) + 1
  if blamed and limit ~= "0" and count >= tonumber(limit) and redis.call("LPOS", running, raw) then
    moved[job + 1] = set_aside(dead, now, queues, ward, ward_name, ARGV[i + 2])
    buried = buried or moved[job + 1] == 2
    redis.call("LREM", running, 1, raw)
    redis.call("DEL", crash)
  else
    moved[job + 1] = put_back(running, queue, raw) and 1 or 0
    if blamed and moved[job + 1] == 1 then blame(crash, count, window) end
  end
end
if buried then trim_dead(dead, cutoff, tonumber(keep)) end
return moved
