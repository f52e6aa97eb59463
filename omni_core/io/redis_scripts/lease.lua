-- The first of some VIP4s that nobody else has. ARGV: epoch, cluster, public key, lease time, '1' to leave alone what is
-- held or lapsed (from a backup, or after an outage), VIP4s in the order of preference.
if is_other_epoch(ARGV[1]) then
  return {'EPOCH'}
end
local cluster, key, until_ms, only_new = ARGV[2], ARGV[3], digits(now + ARGV[4]), ARGV[5] == '1'
local mine = redis.call('HGET', 'omni:leases', cluster .. '\0' .. key)
if only_new and mine then
  return {'NONE', digits(now)}
end
for i = 6, #ARGV do
  local field = cluster .. '\0' .. ARGV[i]
  local user, holder = redis.call('HGET', 'omni:addresses', field), redis.call('HGET', 'omni:leased', field)
  local free = not user or user == key
  if free and holder and holder ~= key then
    local lease = redis.call('HGET', 'omni:leases', cluster .. '\0' .. holder)
    free = not only_new and tonumber(string.sub(lease, 5)) <= now
    if free then
      redis.call('HDEL', 'omni:leases', cluster .. '\0' .. holder)
    end
  end
  if free then
    if mine then
      redis.call('HDEL', 'omni:leased', cluster .. '\0' .. string.sub(mine, 1, 4))
    end
    redis.call('HSET', 'omni:leased', field, key)
    redis.call('HSET', 'omni:leases', cluster .. '\0' .. key, ARGV[i] .. until_ms)
    return {'OK', digits(now), digits(append('L', ARGV[i] .. until_ms .. key .. cluster)), ARGV[i]}
  end
end
return {'NONE', digits(now)}
