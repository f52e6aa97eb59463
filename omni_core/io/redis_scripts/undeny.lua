-- ARGV: epoch, public key.
if is_other_epoch(ARGV[1]) then
  return {'EPOCH'}
end
if redis.call('HDEL', 'omni:denied', ARGV[2]) == 0 then
  return {'GONE', digits(now)}
end
return {'OK', digits(now), digits(append('u', ARGV[2]))}
