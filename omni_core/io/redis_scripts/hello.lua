-- A Nucleus has connected. ARGV: run_id of this Redis, an epoch to be used if this is another life of it: what it had not
-- saved is lost then, and its numbers will be given again.
local head = redis.call('HGET', 'omni:meta', 'head') or '0'
local epoch = redis.call('HGET', 'omni:meta', 'epoch')
if redis.call('HGET', 'omni:meta', 'run_id') ~= ARGV[1] then
  local lineage = redis.call('HGETALL', 'omni:lineage')
  for i = 1, #lineage, 2 do
    if tonumber(lineage[i + 1]) > tonumber(head) then
      redis.call('HSET', 'omni:lineage', lineage[i], head)
    end
  end
  if #lineage >= 128 then
    redis.call('HDEL', 'omni:lineage', lineage[1])
  end
  if epoch then
    redis.call('HSET', 'omni:lineage', epoch, head)
  end
  epoch = ARGV[2]
  redis.call('HSET', 'omni:meta', 'run_id', ARGV[1], 'epoch', epoch, 'head', head)
end
return {'OK', epoch, redis.call('HGETALL', 'omni:lineage')}
