"""The whole keyspace in one round trip."""

from __future__ import annotations

from typing import Any

LOOK = """
local found = {}
for _, key in ipairs(redis.call("KEYS", "*")) do
  local kind = redis.call("TYPE", key).ok
  local value
  if kind == "string" then
    value = redis.call("GET", key)
  elseif kind == "list" then
    value = redis.call("LRANGE", key, 0, -1)
  elseif kind == "set" then
    value = redis.call("SMEMBERS", key)
  elseif kind == "zset" then
    value = redis.call("ZRANGE", key, 0, -1, "WITHSCORES")
  else
    value = redis.call("HGETALL", key)
  end
  found[#found + 1] = {key, kind, value}
end
return found
"""


def read(reply: list[Any]) -> dict[str, Any]:
    """Lists and sorted sets have bytes, in order; what else there is, is text."""
    return {key.decode(): _value(kind, value) for key, kind, value in reply}


def _value(kind: bytes, value: Any) -> Any:
    match kind:
        case b"string":
            return value.decode()
        case b"list":
            return value
        case b"set":
            return {member.decode() for member in value}
        case b"zset":
            return [(member, float(score)) for member, score in zip(value[::2], value[1::2], strict=True)]
        case _:
            return {k.decode(): v.decode() for k, v in zip(value[::2], value[1::2], strict=True)}
