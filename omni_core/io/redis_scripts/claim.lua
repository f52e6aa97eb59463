-- Registers an edge, in place of an older registration of its key, or tells where it is now.
-- ARGV: epoch, public key, entry without its number, kind ('j' joined, 'm' moved), ms since the edge was heard, life time,
-- lease time.
if is_other_epoch(ARGV[1]) then
  return {'EPOCH'}
end
local key, kind, heard, life, lease_time = ARGV[2], ARGV[4], now - ARGV[5], tonumber(ARGV[6]), tonumber(ARGV[7])
local edge = parse(digits(0) .. ARGV[3])
local known = redis.call('HGET', 'omni:edges', key)
local was = known and parse(known)
if was and (was.version > edge.version or kind == 'm' and (was.version ~= edge.version or was.cluster ~= edge.cluster)) then
  return {'STALE', digits(now)}
end
if kind == 'm' and not was then
  return {'GONE', digits(now)}
end
if tonumber(ARGV[5]) > 0 then  -- from memory, after an outage: who has heard it since knows better
  local gone = not was and redis.call('HGET', 'omni:gone', key)
  if gone and tonumber(string.sub(gone, 21, 40)) >= heard and string.sub(gone, 41, 60) >= edge.version then
    return {'GONE', digits(now)}
  end
  if was and was.nucleus ~= edge.nucleus and was.version == edge.version then
    if tonumber(redis.call('ZSCORE', 'omni:deadlines', key) or '0') - life > heard then
      return {'THEIRS', digits(now)}
    end
  end
end
for _, address in ipairs(edge.addresses) do
  if address ~= '' then
    local holder = redis.call('HGET', 'omni:addresses', edge.cluster .. '\0' .. address)
    if holder and holder ~= key then
      return {'TAKEN', digits(now), address, holder}
    end
  end
end
if edge.addresses[1] ~= '' then
  local holder = redis.call('HGET', 'omni:leased', edge.cluster .. '\0' .. edge.addresses[1])
  if holder and holder ~= key then
    local lease = redis.call('HGET', 'omni:leases', edge.cluster .. '\0' .. holder)
    if lease and tonumber(string.sub(lease, 5)) > now then
      return {'TAKEN', digits(now), edge.addresses[1], holder}
    end
  end
end
if was and was.cluster ~= edge.cluster then
  remove(key, was, 'l', lease_time)
elseif was then
  release(was)
end
for _, address in ipairs(edge.addresses) do
  if address ~= '' then
    redis.call('HSET', 'omni:addresses', edge.cluster .. '\0' .. address, key)
  end
end
local number = digits(redis.call('HGET', 'omni:meta', 'head') + 1)
redis.call('HSET', 'omni:edges', key, number .. ARGV[3])
redis.call('ZADD', 'omni:deadlines', heard + life, key)
redis.call('HDEL', 'omni:gone', key)
redis.call('ZREM', 'omni:gone:order', key)
append(kind, key .. number .. ARGV[3])
return {'OK', digits(now), number}
