-- take(keys, from, names, first, paused, some, n, bytes): move jobs from the lists
-- keys[from], keys[from + 2], … to the lists beside them, oldest first, until n
-- are taken or their sizes reach bytes. names[first..] are the queues' names;
-- those in the set paused, if it has some, are passed over, and so is a list of
-- a wrong type.
-- Returns {number of the pair, payload, …}, {numbers of paused pairs} and the
-- text of an error, or "".
local function take(keys, from, names, first, paused, some, n, bytes)
  local taken, passed, problem = {}, {}, ""
  local key = from
  while key < #keys and (some > 0 or (n > 0 and bytes > 0)) do
    local pair = (key - from) / 2
    -- Of many queues most are empty: one question for ten of them.
    if some == 0 and pair > 0 and pair % 10 == 0
      and redis.call("EXISTS", unpack(keys, key, math.min(key + 19, #keys))) == 0 then
      key = key + 20
    elseif some > 0 and redis.call("SISMEMBER", paused, names[first + pair]) == 1 then
      passed[#passed + 1] = pair + 1
      key = key + 2
    else
      while n > 0 and bytes > 0 do
        local payload = redis.pcall("LMOVE", keys[key], keys[key + 1], "RIGHT", "LEFT")
        if type(payload) ~= "string" then
          problem = payload and payload.err or problem
          break
        end
        n, bytes = n - 1, bytes - #payload
        taken[#taken + 1] = pair + 1
        taken[#taken + 1] = payload
      end
      key = key + 2
    end
  end
  return taken, passed, problem
end
