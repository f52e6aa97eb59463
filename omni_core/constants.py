"""Specification constants, then tunables. A derived number is its formula; each value has its reason."""

from __future__ import annotations

from typing import Final

# --- specification: changing one of these breaks interoperability -------------------------------------------------

PROTOCOL_NAME: Final = b"omni_ros2"
PROTOCOL_VERSION: Final = 1
DEFAULT_PORT: Final = 51820

RTPS_PORT_BASE: Final = 7400  # DDSI-RTPS 2.3, 9.6.1.1: PB
RTPS_DOMAIN_GAIN: Final = 250  # DG; discovery multicast of domain d goes to PB + DG * d, user multicast to one more

SESSION_ID_SIZE: Final = 8
SEQUENCE_SIZE: Final = 8
NONCE_SIZE: Final = 8
HEADER_SIZE: Final = SESSION_ID_SIZE + SEQUENCE_SIZE + NONCE_SIZE  # 24, the associated data
TAG_SIZE: Final = 16  # Poly1305
DATA_OVERHEAD: Final = HEADER_SIZE + TAG_SIZE  # 40, around each inner frame
FIRST_DATA_BYTE: Final = 0x10  # a session id never starts with a smaller byte; control types are below

LANE_SHIFT: Final = 56  # nonce = lane << 56 | sequence
STREAM_SHIFT: Final = 6  # lane = stream << 6 | path
MAX_STREAMS: Final = 4
SEQUENCE_MASK: Final = (1 << LANE_SHIFT) - 1

ETHERNET_HEADER: Final = 14
MIN_FRAME: Final = ETHERNET_HEADER  # a TAP hands frames without padding
MAX_FRAME: Final = 9216 + ETHERNET_HEADER + 4  # jumbo, one VLAN tag
IPV4_HEADER: Final = 20
IPV6_HEADER: Final = 40
UDP_HEADER: Final = 8
IPV4_OVERHEAD: Final = IPV4_HEADER + UDP_HEADER + DATA_OVERHEAD  # 68
IPV6_OVERHEAD: Final = IPV6_HEADER + UDP_HEADER + DATA_OVERHEAD  # 88

CONTROL_ETHERTYPE: Final = 0x88B5  # IEEE 802 local experimental 1
CONTROL_MAC: Final = bytes.fromhex("036f6d6e6900")  # locally administered group address; never leaves the tunnel

VIP6_PREFIX: Final = bytes.fromhex("fd6f6d6e")  # RFC 4193 ULA, "omn"; the other 96 bits hash the public key
VIP6_PREFIX_LENGTH: Final = 8 * len(VIP6_PREFIX)

# --- sessions: as WireGuard's, section 6.1 of its paper, for the same reasons --------------------------------------

REKEY_AFTER_TIME: Final = 120.0  # s; forward secrecy at this grain
REJECT_AFTER_TIME: Final = 180.0  # s; a key is never used past it
# WireGuard's 2**60 is a sixteenth of a 64-bit counter. The nonce leaves 56 bits for the sequence: a sixteenth of those.
REKEY_AFTER_MESSAGES: Final = 1 << (LANE_SHIFT - 4)
REJECT_AFTER_MESSAGES: Final = (1 << LANE_SHIFT) - (1 << 13) - 1
REKEY_RETRY: Final = 5.0  # s between initiations
# WireGuard retries each 5 s. Simulated over 10 % loss and 30 ms, two edges that start together are up within
# (p90 / p99) 10.8 / 24 s then, and 3.8 / 8.0 s when the first retries come sooner and the first PING is repeated. A
# frame, which waits at most QUEUE_TIME, outlives one lost handshake message, and a NAT that opened late is tried soon.
FIRST_RETRY: Final = 1.0  # s to the second initiation of an attempt, doubled up to REKEY_RETRY
REKEY_RETRY_JITTER: Final = 0.334  # s, so that two peers do not stay in lockstep
REKEY_ATTEMPT_TIME: Final = 90.0  # s, then give up until there is a reason to try again
RESPONDER_REKEY_GRACE: Final = 15.0  # s that the responder waits for the initiator's rekey before it starts one
PASSIVE_KEEPALIVE: Final = 10.0  # s after data came and nothing was sent back
NAT_KEEPALIVE: Final = 25.0  # s; below the 30 s UDP mapping time of common NATs (RFC 4787 asks for 120 s, many do 30)
TIE_RETRY: Final = 0.25  # s; both initiated at once and ours stands: time for the answer before we insist
UNCONFIRMED_TIME: Final = 2 * NAT_KEEPALIVE  # s; the initiator sends something at least every NAT_KEEPALIVE
MAX_UNSOLICITED: Final = 1024  # unconfirmed sessions with peers that we did not ask for; the oldest gives way
DEAD_AFTER: Final = PASSIVE_KEEPALIVE + REKEY_RETRY  # s sent without an answer: start a new handshake

REPLAY_WINDOW: Final = 8192 - 64  # sequences (RFC 6479: bitmap of 8192 bits, one 64-bit block is slack)

LIVENESS_POLL: Final = 2.5  # s between two looks at a peer's counters; PASSIVE_KEEPALIVE / 4
CLOCK_REFRESH: Final = 60.0  # s between two PINGs to a peer, at most: they measure the offset of its clock
CLOCK_RETRY: Final = 10.0  # s; the same until the first was answered
NUDGE_AFTER: Final = 1.5  # s without an answer, then the Nucleus is asked to tell the peer again; doubled each time
RECONNECT_MIN: Final = 2.0  # s after a wanted peer was lost, doubled each time up to
RECONNECT_MAX: Final = 60.0  # s

COOKIE_LIFETIME: Final = 120.0  # s of one cookie secret
COOKIE_LATENCY: Final = 5.0  # s a cookie is still accepted after that
LOAD_HANDSHAKES_PER_SECOND: Final = 250  # python does about 1,000 handshake halves a second on one robot core
SOURCE_HANDSHAKES_PER_SECOND: Final = 20  # per source address, while under load
SOURCE_HANDSHAKE_BURST: Final = 5
SOURCES_MAX: Final = 16384  # source addresses whose rate is remembered; 0.3 s after its last one a source is forgotten
HEARD_TIMESTAMPS: Final = 16384  # initiators: more than the peers of one edge
# A Nucleus is asked by everyone. A handshake and its REGISTER take it 0.65 ms of a present core, a cookie reply 0.03 ms
# (bench/nucleus/engine_cost.py), so with the free ones this is half a core, and one three times slower almost keeps up.
NUCLEUS_HANDSHAKES_PER_SECOND: Final = 500  # while loaded, with a cookie: 10,000 edges are back within 30 s
NUCLEUS_SHARED_HANDSHAKES_PER_SECOND: Final = 350  # of those, beyond each site's own: 1,000 behind one NAT take 2 s
BEHIND_HANDSHAKES_PER_SECOND: Final = 50  # while more waits than can be done in time: a flood shuts nobody out for good
NUCLEUS_RETRY_SPREAD: Final = 0.5  # of a retry's delay, more or less, for who wants one: else a herd retries in step
# Sessions with a Nucleus carry signed records and where edges are, no frames. Renewed as often as those with peers,
# handshakes were 44 % of all bytes and a third of a Nucleus's processor time (docs/bench.md).
SIGNALING_REKEY_AFTER_TIME: Final = 600.0  # s
SIGNALING_REJECT_AFTER_TIME: Final = SIGNALING_REKEY_AFTER_TIME + REJECT_AFTER_TIME - REKEY_AFTER_TIME  # s
NUCLEUS_REKEY_SPREAD: Final = SIGNALING_REKEY_AFTER_TIME / 4  # s that one is renewed earlier, at most: the same
NUCLEUS_UNSOLICITED: Final = 4096  # 5 s of all that is admitted: a slow path's round trip and a lost packet
NUCLEUS_HEARD_TIMESTAMPS: Final = 65536  # its edges several times over; 250 bytes each

# --- switching -----------------------------------------------------------------------------------------------------

FDB_AGEING: Final = 300.0  # s, IEEE 802.1D default
FDB_MAX_PER_PEER: Final = 4096  # a flooder evicts only its own
FDB_MAX_LOCAL: Final = 16384
QUEUE_FRAMES_PER_PEER: Final = 64  # frames waiting for one handshake or look-up
QUEUE_TIME: Final = 5.0  # s a frame may wait; longer than that DDS has repeated it
QUEUE_DESTINATIONS: Final = 256  # unknown destinations waited for at once
ON_DEMAND_IDLE: Final = 300.0  # s without unicast frames, then an on-demand session ends; as long as FDB entries
UNUSED_IDLE: Final = 60.0  # s; the same for one that no unicast frame has used: of a mesh that outgrew MESH_LIMIT
MESH_LIMIT: Final = 128  # peers up to which every edge keeps a session with every other

# --- signaling -----------------------------------------------------------------------------------------------------

HEARTBEAT_INTERVAL: Final = 30.0  # s
HEARTBEATS_MISSED: Final = 3  # then the edge has departed
RECENT_PEERS: Final = 90.0  # s; REGISTER_ACK lists peers that joined within (whitepaper)
REQUEST_RETRY: Final = 1.0  # s; first retransmission of a signaling request, doubled up to
REQUEST_RETRY_MAX: Final = 8.0  # s
PUSH_INTERVAL: Final = 0.05  # s; joins within it go out in one push
# Datagrams of all pushes, 15 us each. 80 meshes of 125 that come back at once change ten times a second each: so a push
# carries what fits a datagram, and not one join.
PUSHES_PER_SECOND: Final = 10_000
SIGNALING_MAX: Final = 1200  # bytes of one signaling datagram: below every IPv6 path MTU (RFC 8200: 1280)
NEGATIVE_TTL: Final = 5.0  # s that "no such peer" is believed
REQUEST_ATTEMPTS: Final = 4  # sendings of a request: 1 + 2 + 4 + 8 = 15 s without an answer, then the Nucleus is lost
NUCLEUS_LOST_AFTER: Final = 15.0  # s of handshakes without an answer, then the owner is told (trying goes on)
RECONNECT_JITTER: Final = 2.0  # s; edges that lost one Nucleus do not all come back at one moment
REFUSED_RETRY: Final = 30.0  # s; a person may mend what was refused: a VIP taken, a wrong secret
LOCAL_ENDPOINTS_MAX: Final = 8  # that an edge announces besides the observed one
DEPARTED_MAX: Final = 1024  # departures that a cluster's change log remembers; live edges are never forgotten
EDGE_REQUESTS_PER_SECOND: Final = 64  # that the Nucleus answers to one edge; a page of a delta is one request
EDGE_REQUEST_BURST: Final = 256  # a look-up of QUEUE_DESTINATIONS at once
# Keys with a session but no registration at a Nucleus; the oldest gives way. Among them is every edge that keeps this
# Nucleus warm while it uses one that shares nothing with it: 10,000 of those must not push each other out.
UNREGISTERED_MAX: Final = 16384
CLUSTER_EDGES_MAX: Final = 65536
# Registrations that change something. A start with a leased VIP4 takes two, and so does each of two Nuclei in turn.
REGISTERS_PER_SECOND: Final = 0.5  # of one key; each one is told to the whole cluster
REGISTER_BURST: Final = 8
REGISTER_KEYS_MAX: Final = 65536  # keys whose rate is remembered; 16 s after its last one a key is forgotten
# of new keys from one address: as many as handshakes from there are admitted, or a large site would wait for this
SOURCE_REGISTERS_PER_SECOND: Final = LOAD_HANDSHAKES_PER_SECOND + NUCLEUS_SHARED_HANDSHAKES_PER_SECOND
SOURCE_REGISTER_BURST: Final = 2000  # a site of 1,000 robots behind one NAT, powered up, and each leases a VIP4
REGISTER_SOURCES_MAX: Final = 16384  # addresses whose rate is remembered
LEASE_TIME: Final = 86400.0  # s that a leased VIP4 stays its holder's after that was last there: a robot in repair
# Several Nuclei. One that stops answering is left after at most NAT_KEEPALIVE (until the next heartbeat) + 1.2 *
# FAILOVER_ATTEMPTS * REQUEST_RETRY (1.2: jitter) = 32.2 s, on average 19 s: about one heartbeat. Each attempt fails on
# a link that loses 5 % of packets with probability 0.0975, all six with 9e-7: once in 300 days of heartbeats.
FAILOVER_ATTEMPTS: Final = 6  # sendings of a heartbeat, REQUEST_RETRY apart, while another Nucleus is ready
STANDBY_ATTEMPTS: Final = 3  # the same of a STANDBY heartbeat: only readiness depends on it
STANDBY_INTERVAL: Final = 60.0  # s between them: the NAT need not stay open, and a doubt asks at once
STANDBY_TRY: Final = 8.0  # s: four initiations, FIRST_RETRY doubled, then a Nucleus that nobody waits for is left alone
STANDBY_RETRY: Final = 10.0  # s for which it is, doubled up to
STANDBY_RETRY_MAX: Final = 60.0  # s, half of it by jitter
STANDBY_DELAY: Final = 5.0  # s after a registration, at most, then another Nucleus is warmed up
PREFERENCE_PATIENCE: Final = 3.0  # s that a start waits for the preferred Nucleus alone: three initiations
PREFERENCE_SETTLE: Final = 2.0  # s; when all come back at once, the one that was used is used again
FAILBACK_AFTER: Final = 60.0  # s without a fault, then an earlier Nucleus is used again; doubled each time it fails, to
FAILBACK_MAX: Final = 1800.0  # s; one that has served that long is as good as new
# Edges of Nuclei that share nothing are to be together again before those at the one have departed for those at the
# other, after (HEARTBEATS_MISSED + 1) * HEARTBEAT_INTERVAL = 120 s: STANDBY_RETRY_MAX and this are less.
FAILBACK_JITTER: Final = 30.0  # s
FAILBACK_PROBE: Final = 10.0  # s between STANDBY heartbeats meanwhile: an outage as long as that is seen
DRAIN_JITTER: Final = 2.0  # s; edges that were told at one moment do not move at one moment
DRAIN_TIME: Final = 10.0  # s; edges that have another Nucleus leave within a few
DRAIN_BATCH: Final = 100  # edges that are told in one go, every
DRAIN_BATCH_INTERVAL: Final = 0.05  # s: 2,000 edges/s, about as many as another Nucleus can register
DRAIN_REPEAT: Final = 1.0  # s after the last was told: those that are still there are told once more
DRAIN_IDLE: Final = DRAIN_JITTER + 1.0  # s in which nobody was told or has left: the others have nowhere to go

# A store that several Nuclei share. Within its life an edge is touched HEARTBEATS_MISSED times; a touch that comes this
# much later than the heartbeat does no harm.
STORE_TOUCH_INTERVAL: Final = 5.0  # s between two messages to it with the edges that were heard
STORE_EXPIRE_INTERVAL: Final = 1.0  # s between two looks at who has departed, which also tell whether it answers
STORE_OUTAGE: Final = 15.0  # s in which no Nucleus has looked: an outage, after which edges get a whole life
STORE_PATIENCE: Final = 2.0  # s without an answer, then the Nucleus goes on from memory; edges ask after 1, 2, 4 s
STORE_CANDIDATES: Final = 32  # VIP4s that are tried for one lease: other Nuclei lease some at the same moment
STORE_RETRY: Final = 0.5  # s to the next attempt to connect, doubled up to
STORE_RETRY_MAX: Final = 5.0  # s, half of it by jitter

# --- without a Nucleus: gossip between peers, and the cache of their records ------------------------------------------

# A start waits PREFERENCE_PATIENCE for a preferred Nucleus that is dead, then the next one gets two sendings.
ORPHANED_AFTER: Final = PREFERENCE_PATIENCE + 2 * REQUEST_RETRY  # s without a registration, then peers help each other
GOSSIP_INTERVAL: Final = 1.0  # s between two rounds, jittered by a quarter; a round without news sends nothing
# Push with n robots that know something first hand, GOSSIP_FANOUT to each of GOSSIP_ROUNDS: 8 n messages to random
# robots; one is missed by all of them with probability e**-8 (Demers et al. 1987). It can ask, too. A robot that
# hears what it was about to tell counts that as a round, so a mesh that saw a move itself tells it 2 to 3 times each.
GOSSIP_FANOUT: Final = 2
GOSSIP_ROUNDS: Final = 4
GOSSIP_FRAMES: Final = 2  # to one peer in one round: some 14 entries, or 10 % of MESH_LIMIT robots that move at once
GOSSIP_INTRODUCTIONS: Final = 16  # peers that came up and are told of us in one round: MESH_LIMIT of them in 8 s
GOSSIP_BODY_MAX: Final = 1200  # bytes; as SIGNALING_MAX. One that sends all it may in a second sends 21 kB
GOSSIP_ANSWERS_PER_SECOND: Final = 8  # messages in answer to questions; a round of GOSSIP_FANOUT asks two robots
GOSSIP_ANSWER_BURST: Final = 32  # a quarter of the mesh asks at once
# From one peer, in messages: a round's, an answer to each of our questions, and a burst of those who ask where we are.
GOSSIP_HEARD_PER_SECOND: Final = 16
GOSSIP_HEARD_BURST: Final = 64
GOSSIP_HEARD_RECENTLY: Final = 30.0  # s in which one that has a Nucleus answers one that has none
GOSSIP_HOT_TIME: Final = 90.0  # s that news keeps: that all Nuclei are dead is noticed after at most 25 + 15 + 5
GOSSIP_HOT_MAX: Final = 2 * MESH_LIMIT
GOSSIP_WANTED_MAX: Final = 2 * MESH_LIMIT
GOSSIP_ASK_FIRST: Final = 2.0  # s between two questions for one peer, doubled up to
GOSSIP_ASK_LAST: Final = 60.0
GOSSIP_AGE_MAX: Final = 120.0  # s since a peer was heard: a session that works is heard every NAT_KEEPALIVE
# After its goodbye nobody can have heard a peer for longer than GOSSIP_AGE_MAX; the rest is for what is in the air.
TOMBSTONE_TIME: Final = 5 * GOSSIP_AGE_MAX  # s
TOMBSTONES_MAX: Final = 1024
# Hints cost a robot handshakes only while the peer is silent: 480 bytes to each hint, 20 times in the 90 s of an
# attempt (1 + 2 + 4 s, then every 5 s). One that lies can change its hints for a peer once per HINT_HOLD.
HINTS_MAX: Final = 3  # endpoints of one peer; with its path and two of the Nucleus's they are all that is tried at once
HINTS_PER_TELLER: Final = 2  # of them; a liar alone cannot drive out the truth
HINT_HOLD: Final = 10.0  # s
RECORDS_BURST: Final = 4  # new records of one peer that gossip may bring, then one per HINT_HOLD: each is a handshake
HINT_LIFE: Final = 300.0  # s; three attempts
HINT_DOUBT: Final = 2.0  # s that a question to the peer has been without an answer, then its hints are tried
HINT_SHARED: Final = 4  # peers that one endpoint may be a hint for: private addresses come up again behind other NATs
STRANGERS_MAX: Final = 64  # peers that only gossip told of and that never answered; an attempt later they are forgotten
RELEASE_AFTER: Final = 30.0  # s registered, then whom no Nucleus has told of is no peer any more, unless it is up
KNOWN_PEERS_MAX: Final = 512  # in the cache of records; some 220 bytes each
KNOWN_PEER_AGE: Final = 7 * 86400.0  # s since a peer was last there: a robot in repair
PEER_CACHE_INTERVAL: Final = 30.0  # s between two writes of it, which spares the SD card
