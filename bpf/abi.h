/* SPDX-License-Identifier: Apache-2.0
 *
 * What the programs and userspace share. The Python twin is omni_core/io/synapse/abi.py; a test compares every size
 * and offset, so change both. Numbers are host order unless marked be (network order).
 */
#ifndef SYNAPSE_ABI_H
#define SYNAPSE_ABI_H

#define SYNAPSE_ABI_VERSION 3

#define SYNAPSE_SESSIONS 2048 /* slots: a mesh of 128 peers through two rekeys, several times over */
#define SYNAPSE_PEERS 4096
#define SYNAPSE_FDB 131072
#define SYNAPSE_CPUS 256    /* that elephants may be opened on */
#define SYNAPSE_FLOWS 4096  /* buckets by inner flow */
#define SYNAPSE_FLOOD 128 /* slots: peers that the kernel floods to; above it the Ganglion does */
#define SYNAPSE_GROUPS 16384 /* (group, port) pairs with peers of their own */
#define SYNAPSE_COUNTERS 256
#define SYNAPSE_STREAMS 2 /* 0: this engine's; 1: bulk, sealed and opened by the native engine (native/) */
#define SYNAPSE_RING 128 /* 64-bit blocks of the replay window, one of them slack */

#define SYNAPSE_KEY_SIZE 32
#define SYNAPSE_NOTE_SIZE 512
#define SYNAPSE_HEADER 24 /* session id, sequence, nonce */
#define SYNAPSE_TAG 16
#define SYNAPSE_VLAN_ANY 0xffff   /* in fdb_key.vlan: a static entry that holds on every VLAN */
#define SYNAPSE_OWNER_LOCAL 0xffffffffu /* in fdb_entry.owner: the local port */

/* An IPv4 address is kept as ::ffff:a.b.c.d everywhere. */
struct address {
	__u64 high, low; /* be, as in the packet */
};

/* Peers of the flood set: bit i of the 128 is slot i of map flood, from the lowest of low on. */
struct peer_set {
	__u64 low, high;
};

struct config {
	__u32 abi;
	__u32 syn_ifindex; /* frames for the local port leave here */
	__u32 tap_ifindex; /* frames for the Ganglion leave here */
	__u16 port;        /* be; our UDP port */
	__u16 forwarding;  /* 0: nothing is sealed or opened, all data is dropped (PAUSED) */
	__u8 mark[8];      /* 6 random bytes: a sealed packet on its way from synapse_tx to synapse_out */
	__u8 mac1_key[SYNAPSE_KEY_SIZE];
	__u32 fdb_max_per_peer;
	__u32 fdb_max_local;
	__u32 flood_slow; /* 1: group frames go to the Ganglion, whose flood set has no room in map flood */
	__u32 zero; /* is 0, but the verifier does not know it */
	__u32 cpus; /* entries 0..cpus-1 of map cpus; below 2: every packet is opened where it arrives */
	__u32 bulk_ifindex; /* super-frames leave here, to the native engine; 0: no bulk lane */
	__u32 port_ifindex; /* the overlay interface: what the native engine has opened arrives there */
	__u32 groups_watch; /* 1: while groups_until, IGMP, MLD and RTPS discovery go to the Ganglion alone */
	__u64 groups_until; /* ns, CLOCK_MONOTONIC; until then map groups and elsewhere hold, afterwards all is flooded */
	struct peer_set everyone;  /* the flood set */
	struct peer_set elsewhere; /* IP multicast to a group that map groups does not have */
};

/* Of map groups, whose values are struct peer_set. omni_core/dataplane/groups.py has the rule. */
struct group_key {
	__u8 mac[6];
	__u16 port; /* be; UDP destination. 0: any other, and what has none */
};

/* Apart from the rest, so that userspace never reads them back. Zeroed in place when the session ends. */
struct session_keys {
	__u8 send[SYNAPSE_KEY_SIZE];
	__u8 receive[SYNAPSE_KEY_SIZE];
};

/* Of the control plane, for the one that comes after it. */
struct note {
	__u32 length;
	__u8 bytes[SYNAPSE_NOTE_SIZE];
};

/* Userspace writes a whole one only while no slot leads to it. */
struct session {
	struct bpf_spin_lock lock; /* of the receive counters, and of the replay windows as far as they are ours: struct stream */
	__u32 peer;
	__u64 receive_id;
	__u64 send_id;
	__u64 expires; /* ns, CLOCK_MONOTONIC */
	__u64 tx_sequence; /* the next one; taken by atomic fetch-and-add, never given back */
	__u64 tx_bytes;
	__u64 last_tx; /* ns; 0: never. The same for the others */
	__u64 last_tx_data;
	__u64 rx_frames;
	__u64 rx_bytes;
	__u64 last_rx;
	__u64 last_rx_data;
	__u64 last_unicast;
	__u32 confirmed;
	__u32 reserved;
};

/* Twin: struct lane_stream of native/lane.h. One for each stream of a slot, at slot * SYNAPSE_STREAMS + stream. Of stream 0
 * the programs use next and ring. Stream 1 is the native engine's, which maps this memory; when its lease has run out the
 * programs open it (next, ring), and nobody seals on it. Its tx_sequence never goes back while the session lives.
 * Userspace zeroes both while no packet finds the slot. */
struct stream {
	__u64 next; /* replay window: highest sequence seen + 1; 0: none */
	__u64 ring[SYNAPSE_RING];
	__u64 tx_sequence; /* the next one */
	__u64 tx_bytes;
	__u64 last_tx; /* ns; 0: never */
	__u64 rx_frames;
	__u64 rx_bytes;
	__u64 last_rx;
	__u64 last_unicast;
};

/* Twin: struct lane_state. */
struct lane_state {
	__u64 alive; /* ns; written by the native engine again and again. 0: it ended in order */
};

#define SYNAPSE_LANE_LEASE 300000000 /* ns; an engine that has been silent for longer gets nothing */

#define SYNAPSE_NO_SLOT 0xffffffffu

/* Replaced as a whole by userspace; the programs write moved* only. */
struct peer {
	__u32 slot;    /* of the session that seals; SYNAPSE_NO_SLOT: none */
	__u32 ifindex; /* the route's device; 0: the Ganglion's socket has to send */
	struct address remote;
	struct address local;
	__u16 remote_port; /* be; 0: no path */
	__u16 mtu;         /* of the path, IP packet */
	__u8 ip_header;    /* 20 or 40 */
	__u8 bulk;         /* 1: it opens stream 1, and the native engine can seal for it */
	__u8 reserved[2];
	struct address moved; /* what EndpointMoved has been said for */
	__u16 moved_port;     /* be */
	__u16 reserved2[3];
};

struct fdb_key {
	__u8 mac[6];
	__u16 vlan; /* 0: untagged */
};

#define SYNAPSE_FDB_STATIC 1
#define SYNAPSE_FDB_SHADOWED 2 /* on SYNAPSE_VLAN_ANY: the same MAC is static on one VLAN too */

struct fdb_entry {
	__u32 owner; /* peer, or SYNAPSE_OWNER_LOCAL */
	__u32 flags;
	__u64 seen; /* ns */
};

/* In front of every packet on the TAP, both ways. Looks like an Ethernet header to whoever captures there. */
struct slow_prefix {
	__u8 destination[6]; /* 02:6f:6d:6e:69:01 */
	__u8 source[6];      /* 0 */
	__u16 ethertype;     /* be, SYNAPSE_SLOW_ETHERTYPE */
	__u8 kind;
	__u8 reserved;
	__u32 peer;
	__u16 port;         /* be; of address */
	__u16 reserved2;
	__u64 receive_id;
	struct address address;
};
#define SYNAPSE_SLOW_ETHERTYPE 0x88B6 /* IEEE 802 local experimental 2 */

enum slow_kind {
	/* to the Ganglion */
	SLOW_GROUP = 1,      /* frame to a group address */
	SLOW_UNKNOWN = 2,    /* frame whose destination nobody knows */
	SLOW_NO_SESSION = 3, /* frame for .peer, which has no session that may seal */
	SLOW_CONTROL = 4,    /* authentic in-session control of .receive_id, from .address:.port */
	SLOW_SEND = 5,       /* sealed: header, ciphertext, tag; the socket sends it to .address:.port */
	/* from the Ganglion */
	SLOW_SEAL = 16, /* frame to seal for .peer, whatever its destination; until synapse_out writes .peer, .address is
			 * a struct peer_set */
	SLOW_OPEN = 17, /* Ethernet, IP, UDP and data that reached the socket instead of synapse_rx */
	SLOW_LOCAL = 18, /* frame for the local port, as if a peer had sent it; nothing is learned */
};

enum event_kind {
	EVENT_CONFIRMED = 1,
	EVENT_MOVED = 2,
	EVENT_FDB_FULL = 3, /* .peer reached its bound (SYNAPSE_OWNER_LOCAL: the local port) */
	EVENT_SMALL_FRAMES = 4, /* so many are being sent that sealing them deserves a CPU of its own; said again and again */
};

struct event {
	__u32 kind;
	__u32 peer;
	__u64 receive_id;
	struct address address;
	__u16 port; /* be */
	__u16 reserved[3];
};

/* Ways out. 1..127 are the numbers of omni_core/drops.py; from 128 on nothing was dropped. Never reuse a number. */
enum way {
	DROP_TOO_SHORT = 1,
	DROP_TOO_LONG = 2,
	DROP_UNKNOWN_TYPE = 3,
	DROP_UNKNOWN_SESSION = 4,
	DROP_BAD_NONCE = 5,
	DROP_REPLAYED = 6,
	DROP_BAD_TAG = 7,
	DROP_SESSION_EXPIRED = 8,
	DROP_BAD_INNER_FRAME = 9,
	DROP_SOURCE_MAC_REFUSED = 10,
	DROP_PORT_REFUSED = 11,
	DROP_PAUSED = 12,
	DROP_NOT_LISTENING = 13,
	DROP_NO_SESSION = 20,
	DROP_FRAME_TOO_LONG = 23,
	DROP_SEQUENCE_EXHAUSTED = 24,
	DROP_NO_PATH = 25,
	DROP_FRAME_TOO_SHORT = 26,
	DROP_SPLIT_HORIZON = 28,
	DROP_RESERVED_DESTINATION = 29,
	DROP_NOT_MARKED = 31,
	DROP_NO_ROOM = 32,
	DROP_BAD_MAC1 = 41,

	WAY_RX_DELIVERED = 128,
	WAY_RX_CONTROL = 129,   /* in-session control, to the Ganglion */
	WAY_RX_HANDSHAKE = 130, /* right size and mac1, to the socket */
	WAY_RX_SIGNALING = 131, /* to the socket */
	WAY_RX_FOREIGN = 132,   /* not ours, untouched */
	WAY_RX_STEERED = 133,   /* of an elephant: another CPU opens it, and counts what becomes of it */
	WAY_RX_MERGED = 134,    /* longer than any of ours, in generic mode: several in one, to the socket */
	WAY_RX_BULK = 135,      /* of stream 1, to the native engine's socket */
	WAY_RX_BULK_DELIVERED = 136, /* frames and super-frames that the native engine opened */
	WAY_RX_LOCAL = 137, /* of the Ganglion, to the local port */
	WAY_TX_SEALED = 140,
	WAY_TX_SEND = 141, /* sealed; the Ganglion's socket sends it */
	WAY_TX_GROUP = 142,
	WAY_TX_UNKNOWN = 143,
	WAY_TX_NO_SESSION = 144,
	WAY_TX_LOCAL = 145, /* destination at the local port: left alone */
	WAY_TX_FLOODED = 146, /* group frame, on its way to synapse_out, which clones it for each peer */
	WAY_TX_NOBODY = 147,  /* group frame that no peer listens to: left alone */
	WAY_TX_WATCHED = 148, /* group frame that the Ganglion wants to see, to it alone */
	WAY_OUT_SENT = 150,
	WAY_OUT_CLONED = 151,
	WAY_TX_BULK = 152, /* super-frames and other frames of their flows, to the native engine */
};

/* Slots of the program array. */
enum program {
	PROGRAM_RX = 0,
	PROGRAM_MAC1 = 1,
	PROGRAM_DELIVER = 2,
	PROGRAM_SEAL = 3,
	PROGRAM_WRAP = 4,
	PROGRAM_OPEN = 5,
	PROGRAM_STEER = 6,
	PROGRAM_RX_GENERIC = 7,
};

#endif
