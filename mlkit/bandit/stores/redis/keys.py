"""The keys of a fleet in Redis, and the scripts that change several of them at once.

All keys share a hash tag, so that they are in one slot. `head` names the fleet, the number and tag
of its last entry, and the secret that signs decision ids. An entry of `stream` has its number as
its id, and the tag of the entry before: so who follows the stream sees whether what it knows is the
beginning of what is there, also after a failover that lost the end of it.
"""

from __future__ import annotations

from typing import NamedTuple

MOST_CHUNKS = 1 << 16


class Keys(NamedTuple):
    """Names of keys.

    Attributes:
        head: A hash: `fleet`, `number` and `tag` of the last entry.
        stream: The entries.
        snapshot: A hash that names the present snapshot.
        secret: The key that signs decision ids.
        hosts: A hash of what each host reported last.
    """

    head: str
    stream: str
    snapshot: str
    secret: str
    hosts: str

    @staticmethod
    def of(name: str) -> Keys:
        """Return the keys of a fleet."""
        return Keys(*(f"mlkit:{{{name}}}:{each}" for each in Keys._fields))

    def chunk(self, snapshot: str, number: int) -> str:
        """Return the key of a part of a snapshot."""
        return f"{self.snapshot}:{snapshot}:{number}"


NO_FLEET = "NOFLEET"
# KEYS: head, stream. ARGV: fleet, tag, body.
APPEND = f"""
local head = redis.call('HMGET', KEYS[1], 'fleet', 'number', 'tag')
if head[1] ~= ARGV[1] then return redis.error_reply('{NO_FLEET}') end
local number = string.format('%d', tonumber(head[2]) + 1)
local now = redis.call('TIME')
redis.call('XADD', KEYS[2], number .. '-0', 'time', now[1] .. '.' .. string.format('%06d', now[2]),
  'tag', ARGV[2], 'after', head[3], 'body', ARGV[3])
redis.call('HSET', KEYS[1], 'number', number, 'tag', ARGV[2])
return tonumber(number)
"""
# KEYS: head, hosts. ARGV: host, entries, stale, queued, seconds after which a host is forgotten.
REPORT = """
local now = redis.call('TIME')
local time = now[1] .. '.' .. string.format('%06d', now[2])
local last = tonumber(redis.call('HGET', KEYS[1], 'number') or '0')
local behind = string.format('%d', math.max(last - tonumber(ARGV[2]), 0))
redis.call('HSET', KEYS[2], ARGV[1],
  table.concat({time, ARGV[2], behind, ARGV[3], ARGV[4]}, ' '))
local rows = redis.call('HGETALL', KEYS[2])
for place = 1, #rows, 2 do
  local at = tonumber(string.match(rows[place + 1], '^[%d.]+') or '0') or 0
  if at < tonumber(now[1]) - tonumber(ARGV[5]) then redis.call('HDEL', KEYS[2], rows[place]) end
end
return {time, redis.call('HGETALL', KEYS[2])}
"""
# KEYS: head, stream, snapshot. ARGV: fleet, number, tag, id, chunks, size, digest, founds.
# The chunks are uploaded before, with an expiry that ends here. Two snapshots' entries are kept, so
# that a host that is behind need not load the newer one.
PUBLISH = """
local head = redis.call('HMGET', KEYS[1], 'fleet', 'number')
local before = redis.call('HMGET', KEYS[3], 'number', 'id', 'chunks')
local place = ARGV[2] .. '-0'
if ARGV[8] == '1' then
  if head[1] then return 0 end
else
  if head[1] ~= ARGV[1] then return 0 end
  if before[1] and tonumber(ARGV[2]) <= tonumber(before[1]) then return 0 end
  local entry = redis.call('XRANGE', KEYS[2], place, place)[1]
  if not entry or entry[2][4] ~= ARGV[3] then return 0 end
end
for number = 0, tonumber(ARGV[5]) - 1 do
  local chunk = KEYS[3] .. ':' .. ARGV[4] .. ':' .. string.format('%d', number)
  if redis.call('PERSIST', chunk) == 0 then return 0 end
end
if ARGV[8] == '1' then
  redis.call('DEL', KEYS[2])
  redis.call('HSET', KEYS[1], 'fleet', ARGV[1], 'number', ARGV[2], 'tag', ARGV[3])
end
redis.call('HSET', KEYS[3], 'number', ARGV[2], 'tag', ARGV[3], 'id', ARGV[4], 'chunks', ARGV[5],
  'size', ARGV[6], 'digest', ARGV[7])
if before[1] then
  for number = 0, tonumber(before[3]) - 1 do
    redis.call('UNLINK', KEYS[3] .. ':' .. before[2] .. ':' .. string.format('%d', number))
  end
  if ARGV[8] == '0' then redis.call('XTRIM', KEYS[2], 'MINID', before[1] .. '-0') end
end
return 1
"""
