"""Who listens to what, and DDS participants: multicast only goes where somebody cares. Part of the Ganglion engine.

listening.py     what our side listens to: groups of the kernel, domains of the participants seen here
exchange.py      telling it to peers until they have it, and hearing theirs
group_policy.py  from that, who gets which group frames
tables.py        announcements of participants, ours and the peers'
spdp_cache.py    announcements are told once, kept, and given to whoever comes later
discovery.py     what the Ganglion calls
"""
