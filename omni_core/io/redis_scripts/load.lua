-- Everything, at one moment. ARGV: epoch.
if is_other_epoch(ARGV[1]) then
  return {'EPOCH'}
end
return {
  'OK', digits(now), redis.call('HGET', 'omni:meta', 'head'), redis.call('HGET', 'omni:meta', 'floor') or '0',
  redis.call('HGETALL', 'omni:edges'), redis.call('HGETALL', 'omni:gone'), redis.call('HGETALL', 'omni:leases'),
  redis.call('HGETALL', 'omni:denied'),
}
