-- Edges live. ARGV: epoch, life time, public keys.
if is_other_epoch(ARGV[1]) then
  return {'EPOCH'}
end
for i = 3, #ARGV do
  redis.call('ZADD', 'omni:deadlines', 'XX', now + ARGV[2], ARGV[i])
end
return {'OK', digits(now)}
