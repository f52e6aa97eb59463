"""What all profiles agree on, whatever the vendor: participants of both must see each other come and go alike."""

from __future__ import annotations

# A participant that is not heard for so long is gone. Twice the outage that Wi-Fi roaming takes, Fast DDS's own default
# (Cyclone DDS: 10 s), and long enough for the SPDP cache, which renews at a quarter of it.
LEASE = 20.0  # s
ANNOUNCEMENT = 3.0  # s between two announcements; unchanged ones do not cross the underlay (spdp_cache)
INITIAL_ANNOUNCEMENTS = 5
INITIAL_PERIOD = 0.2  # s between them

# One robot's 4 MB message arrives as some 3,000 datagrams in one burst, each charged 2,304 bytes by the kernel
# (skb->truesize of a 1,500 byte packet). The kernel doubles what is asked for, up to net.core.rmem_max.
RECEIVE_BUFFER = 8 << 20  # bytes
SEND_BUFFER = 1 << 20

# Ports of a domain: 7400 + 250 * domain + 10 + 2 * index (DDSI-RTPS 2.5, section 9.6.2.3), below the next domain's.
PARTICIPANTS_MAX = 120
LAST_INDEX = PARTICIPANTS_MAX - 1
STATIC_PEER_RANGE = 32  # participants that a static peer is asked for; as rmw_fastrtps does it for LOCALHOST
