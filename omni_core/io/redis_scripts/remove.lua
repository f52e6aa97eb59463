-- ARGV: epoch, public key, kind ('l' left, 'd' departed), lease time, version of the record, nucleus, number of the entry
-- ('': whichever). With a number, what is repeated after an outage: only if the entry is still that one, or this Nucleus's.
if is_other_epoch(ARGV[1]) then
  return {'EPOCH'}
end
local entry = redis.call('HGET', 'omni:edges', ARGV[2])
if entry then
  local edge = parse(entry)
  if edge.version <= ARGV[5] and (ARGV[7] == '' or edge.number == ARGV[7] or edge.nucleus == ARGV[6]) then
    return {'OK', digits(now), digits(remove(ARGV[2], edge, ARGV[3], tonumber(ARGV[4])))}
  end
end
return {'GONE', digits(now)}
