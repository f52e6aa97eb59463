-- To the Nucleus that has the session. ARGV: channel, target's public key and then the asker's.
redis.call('PUBLISH', ARGV[1], ARGV[2])
return {'OK', digits(now)}
