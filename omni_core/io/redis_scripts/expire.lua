-- Edges whose time has come depart. When nobody has looked for a while, this Redis or all Nuclei were away, and the edges
-- get a whole life to be heard again. ARGV: epoch, life time, lease time, silence that is an outage, how many at most.
if is_other_epoch(ARGV[1]) then
  return {'EPOCH'}
end
local looked = redis.call('HGET', 'omni:meta', 'looked')
if not looked or now - looked > tonumber(ARGV[4]) then
  redis.call('HSET', 'omni:meta', 'grace', now + ARGV[2])
end
redis.call('HSET', 'omni:meta', 'looked', now)
local gone = 0
if now >= tonumber(redis.call('HGET', 'omni:meta', 'grace')) then
  local due = redis.call('ZRANGEBYSCORE', 'omni:deadlines', '-inf', now, 'LIMIT', 0, ARGV[5])
  for _, key in ipairs(due) do
    remove(key, parse(redis.call('HGET', 'omni:edges', key)), 'd', tonumber(ARGV[3]))
    gone = gone + 1
  end
end
return {'OK', digits(now), digits(gone)}
