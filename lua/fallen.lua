#!lua flags=no-writes
-- Which jobs was a process running when it was seen to die?
--
-- KEYS  1   fallen    set  r   crash keys of the jobs it was running, and "" always
-- RETURNS   the members; none if nobody saw it die
-- BOUND     as many members as the process had slots
-- REPLAY    same
-- ROLES     worker, dashboard
-- INVARIANT nothing is written

local fallen = KEYS[1]

return redis.call("SMEMBERS", fallen)
