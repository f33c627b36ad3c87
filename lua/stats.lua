#!lua flags=no-writes
-- Read the counters and the sizes of the sets.
--
-- KEYS  1   processed  string  r   runs, in total
--       2   failed     string  r   failed runs, in total
--       3   schedule   zset    r   jobs that are due later
--       4   retry      zset    r   jobs waiting for another try
--       5   dead       zset    r   dead jobs
--       6   processes  set     r   identities of the processes
-- RETURNS   {processed, failed, size of schedule, of retry, of dead, number of processes}
-- BOUND     6 reads
-- REPLAY    same
-- ROLES     dashboard
-- INVARIANT nothing is written

local processed, failed, schedule, retry, dead, processes = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]

return {
  redis.call("GET", processed) or "0",
  redis.call("GET", failed) or "0",
  redis.call("ZCARD", schedule),
  redis.call("ZCARD", retry),
  redis.call("ZCARD", dead),
  redis.call("SCARD", processes),
}
