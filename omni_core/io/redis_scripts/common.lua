-- In front of each script. A script runs alone, so what it decides is decided for all Nuclei.
--
-- Keys, all of one database (it is not for a Redis Cluster, whose slots would part them):
--   omni:meta        hash: epoch, run_id of the Redis that made it, head (number of the last change), floor, looked, grace
--   omni:lineage     hash: earlier epoch -> number up to which its changes are those of this epoch
--   omni:changes     stream: one entry for each change; its id is <number>-0
--   omni:edges       hash: public key -> entry
--   omni:addresses   hash: cluster \0 address -> public key
--   omni:deadlines   sorted set: public key, by the time when it has departed
--   omni:gone        hash: public key -> number, time, version of its record, cluster; omni:gone:order: by number
--   omni:leases      hash: cluster \0 public key -> VIP4 (4 bytes), until; omni:leased: cluster \0 VIP4 -> public key
--   omni:denied      hash: public key -> until ("": for good), a blank, reason
--
-- entry: number (20 digits), version (20 digits), then cluster, nucleus, VIP4, VIP6, MAC, each behind a byte with its
-- length, then what only the Nuclei read. Numbers of 20 digits compare as strings; a double could not hold a version.
-- Times are in ms by this Redis's clock, the only one that all Nuclei share.

local STREAM_MAX = 16384  -- changes; a Nucleus that missed more loads everything again
local GONE_MAX = 8192  -- departures that are remembered

local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)

local function digits(number)
  return string.format('%020.0f', number)
end

local function append(kind, value)
  local number = redis.call('HINCRBY', 'omni:meta', 'head', 1)
  redis.call('XADD', 'omni:changes', 'MAXLEN', '~', STREAM_MAX, string.format('%.0f-0', number), 'k', kind, 'v', value)
  return number
end

local function parse(entry)
  local fields, at = {}, 41
  for i = 1, 5 do
    local length = string.byte(entry, at)
    fields[i] = string.sub(entry, at + 1, at + length)
    at = at + 1 + length
  end
  return {
    number = string.sub(entry, 1, 20), version = string.sub(entry, 21, 40),
    cluster = fields[1], nucleus = fields[2], addresses = {fields[3], fields[4], fields[5]},
  }
end

-- The lease of an edge that is no longer there runs from now.
local function keep_lease(cluster, key, lease_time)
  local field = cluster .. '\0' .. key
  local lease = redis.call('HGET', 'omni:leases', field)
  if lease then
    redis.call('HSET', 'omni:leases', field, string.sub(lease, 1, 4) .. digits(now + lease_time))
  end
end

local function release(edge)
  for _, address in ipairs(edge.addresses) do
    if address ~= '' then
      redis.call('HDEL', 'omni:addresses', edge.cluster .. '\0' .. address)
    end
  end
end

local function remove(key, edge, kind, lease_time)
  redis.call('HDEL', 'omni:edges', key)
  redis.call('ZREM', 'omni:deadlines', key)
  release(edge)
  keep_lease(edge.cluster, key, lease_time)
  local number = append(kind, edge.cluster .. '\0' .. key)
  redis.call('HSET', 'omni:gone', key, digits(number) .. digits(now) .. edge.version .. edge.cluster)
  redis.call('ZADD', 'omni:gone:order', number, key)
  if redis.call('ZCARD', 'omni:gone:order') > GONE_MAX then
    local oldest = redis.call('ZPOPMIN', 'omni:gone:order')
    redis.call('HDEL', 'omni:gone', oldest[1])
    redis.call('HSET', 'omni:meta', 'floor', oldest[2])
  end
  return number
end

local function is_other_epoch(epoch)
  return redis.call('HGET', 'omni:meta', 'epoch') ~= epoch
end
