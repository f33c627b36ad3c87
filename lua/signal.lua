#!lua flags=allow-oom
-- Send a signal to a process; it takes one each beat, in the order they were sent.
--
-- KEYS  1   signals   list  rw  signals sent to it
-- ARGV  1   signal    TSTP (quiet), TERM (stop) or TTIN (dump threads)
-- RETURNS   how many signals wait
-- BOUND     1 signal
-- REPLAY    repeats: the signal is sent twice
-- ROLES     dashboard, admin
-- INVARIANT a signal that nobody takes is gone after a minute

local signals = KEYS[1]
local signal = ARGV[1]

local waiting = redis.call("LPUSH", signals, signal)
redis.call("EXPIRE", signals, 60)
return waiting
