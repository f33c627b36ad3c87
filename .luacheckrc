-- Redis runs Lua 5.1 with its own few globals. tools/audit lints the scripts as
-- Redis gets them, with their includes in place.
std = "lua51"
read_globals = { "redis", "cmsgpack", "struct", "bit" }
globals = { "KEYS", "ARGV" }
-- A lib function's parameter may be called what the script calls its own value.
ignore = { "431" }
-- KEYS and ARGV are bound to names in one statement each.
max_line_length = 125
