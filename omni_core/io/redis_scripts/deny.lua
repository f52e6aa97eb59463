-- ARGV: epoch, public key, for how long (ms; '': for good), reason.
if is_other_epoch(ARGV[1]) then
  return {'EPOCH'}
end
local text = (ARGV[3] == '' and '' or digits(now + ARGV[3])) .. ' ' .. ARGV[4]
redis.call('HSET', 'omni:denied', ARGV[2], text)
return {'OK', digits(now), digits(append('x', ARGV[2] .. text))}
