/* SPDX-License-Identifier: Apache-2.0
 *
 * The local interface between a Ganglion and the native engine: messages over a SOCK_SEQPACKET unix socket that the
 * engine listens on, one Ganglion at a time (a new connection takes the place of the old one). The Python twin is
 * omni_core/io/native/protocol.py; a test compares every size, offset and number, so change both.
 *
 * A message is a struct message_header and the body named below. A request is answered by a message of type
 * REPLY | its type, with its serial, whose body is a struct reply and then what is named; those marked "one way" and
 * events are not answered. The first request of a connection is MESSAGE_HELLO; with another PROTOCOL_VERSION it is
 * answered with EPROTO and the connection is closed. Numbers are host order unless marked be (network order); times
 * are ns of CLOCK_MONOTONIC, 0: never. An IPv4 address is ::ffff:a.b.c.d.
 *
 * Requests take effect before they are answered. Every length is checked: a message of another size than its type has
 * is answered with EINVAL, or dropped when it is one way.
 */
#ifndef NATIVE_PROTOCOL_H
#define NATIVE_PROTOCOL_H

#include <stdint.h>

#define PROTOCOL_VERSION 2
#define MESSAGE_MAX 65536

#define KEY_SIZE 32
#define NOTE_SIZE 512
#define MAX_SESSIONS 2048 /* as SYNAPSE_SESSIONS: in mode bulk a session has its slot of the kernel's maps */
#define MAX_PEERS 4096
#define MAX_WORKERS 16
#define NO_PEER 0xffffffffu
#define OWNER_LOCAL 0xffffffffu
#define VLAN_ANY 0xffff

enum mode {
	MODE_ALONE = 1, /* all frames of the overlay interface, a TAP; seals on stream 0 */
	MODE_BULK = 2,  /* the elephants, beside the engine in the kernel; seals on stream 1, opens stream 1 */
};

enum message_type {
	MESSAGE_HELLO = 1,          /* struct hello; answer: struct hello_answer */
	MESSAGE_CONFIGURE = 2,      /* struct configuration */
	MESSAGE_FORWARD = 3,        /* struct forward */
	MESSAGE_ADD_SESSION = 4,    /* struct add_session; EEXIST: another session has the id; ENOSPC */
	MESSAGE_USE_SESSION = 5,    /* struct session_id; ENOENT */
	MESSAGE_REMOVE_SESSION = 6, /* struct session_id; its keys are zeroed before the answer. None there: fine */
	MESSAGE_SET_PEER = 7,       /* struct set_peer: the peer's path */
	MESSAGE_REMOVE_PEER = 8,    /* struct peer_id; with sessions, FDB entries and flood membership */
	MESSAGE_SET_FLOOD = 9,      /* u32[]: peers that get group frames (alone) */
	MESSAGE_SET_STATIC = 10,    /* struct fdb_pin (alone) */
	MESSAGE_REMOVE_STATIC = 11, /* struct fdb_pin (alone) */
	MESSAGE_REMEMBER = 12,      /* struct remember; ENOENT */
	MESSAGE_STATS = 13,         /* struct session_id; answer: struct session_stats; ENOENT */
	MESSAGE_SESSIONS = 14,      /* struct cursor; answer: u32 next cursor (0: no more), u32 0, struct session_row[] */
	MESSAGE_FDB = 15,           /* struct cursor; answer: u32 next cursor (0: no more), u32 0, struct fdb_row[] (alone) */
	MESSAGE_COUNTERS = 16,      /* nothing; answer: u64[256], by enum DropReason and from 160 on enum native_way */
	MESSAGE_RETAIN = 17,        /* struct retain, u64 receive ids[], u32 peers[]: all other sessions and peers go */
	MESSAGE_STOP = 18,          /* nothing; keys are zeroed, it answers and exits with 0 */
	MESSAGE_SET_GROUPS = 19,    /* struct set_groups, entries (alone); ENOSPC: more than GROUPS_BYTES of them */
	/* one way */
	MESSAGE_SEAL = 32,       /* struct peer_id, frame: seal for the peer, whatever its destination */
	MESSAGE_PORT_FRAME = 33, /* frame, as if the local port had sent it (alone): what EVENT_GROUP told comes back */
	MESSAGE_DATAGRAM = 34,   /* struct place, data packet that reached the Ganglion's socket */
	MESSAGE_TO_PORT = 35,    /* frame for the local port, as if a peer had sent it; nothing is learned (alone) */
	/* events; one way, from the engine. Dropped and counted when the Ganglion does not read them */
	EVENT_UNRESOLVED = 64, /* struct unresolved, frame (alone) */
	EVENT_CONTROL = 65,    /* struct control, frame: authentic in-session control, EtherType 0x88B5 to the control MAC */
	EVENT_CONFIRMED = 66,  /* struct session_id: first authentic packet */
	EVENT_MOVED = 67,      /* struct control (without a frame): newest authentic packet came from there; once a place */
	EVENT_GROUP = 68,      /* frame of the local port, to be looked at and sent back: an ARP or neighbour question, or what is
				* watched (GROUPS_WATCH) (alone) */
	EVENT_DATAGRAM = 69,   /* struct place, packet that is not ours to open (control message, or another stream) */
	EVENT_LEARN = 70,      /* struct fdb_pin: seen as source of an authentic frame; not there, elsewhere, or a second old (bulk) */
};
#define REPLY 0x8000

struct message_header {
	uint16_t version; /* PROTOCOL_VERSION */
	uint16_t type;
	uint32_t serial; /* of the request; 0 in one-way messages */
};

struct reply {
	uint32_t error; /* errno; 0: done */
	uint32_t reserved;
};

struct hello {
	uint32_t version;
	uint32_t reserved;
};

struct hello_answer {
	uint32_t version;
	uint32_t mode;
	uint32_t workers;
	uint32_t pid;
	char build[64]; /* hash of its sources, zero-terminated */
};

struct configuration {
	uint64_t fdb_ageing;
	uint32_t fdb_max_per_peer;
	uint32_t fdb_max_local;
};

struct forward {
	uint32_t on; /* 0: nothing is sealed or opened, all is dropped (PAUSED); so it begins */
	uint32_t reserved;
};

struct add_session {
	uint32_t peer;
	uint32_t slot; /* mode bulk; alone: 0xffffffff */
	uint64_t send_id;
	uint64_t receive_id;
	uint64_t expires;
	uint8_t send_key[KEY_SIZE];
	uint8_t receive_key[KEY_SIZE];
};

struct session_id {
	uint64_t receive_id;
};

struct peer_id {
	uint32_t peer;
	uint32_t reserved;
};

struct place {
	uint8_t address[16];
	uint32_t scope; /* of a link-local IPv6 address; 0 */
	uint16_t port;  /* be */
	uint16_t reserved; /* inside the engine: the worker that mails a packet, + 1 */
};

struct set_peer {
	uint32_t peer;
	uint32_t mtu; /* of the path, IP packet; 0: not known */
	struct place place;
	uint32_t socket; /* index among the sockets of its worker; 0xffffffff: the first of its family */
	uint32_t reserved;
};

struct fdb_pin {
	uint8_t mac[6];
	uint16_t vlan;
	uint32_t owner;
	uint32_t reserved;
};

struct remember {
	uint64_t receive_id;
	uint32_t length;
	uint32_t reserved;
	uint8_t note[NOTE_SIZE];
};

struct session_stats {
	uint64_t tx_frames, tx_bytes, rx_frames, rx_bytes;
	uint64_t last_tx, last_rx, last_tx_data, last_rx_data, last_unicast;
	uint64_t rx_expected; /* highest sequence accepted + 1, sum of the streams */
};

/* Who of the flood set gets which group frames: omni_core/dataplane/groups.py. Behind it entries, each a struct group_entry and
 * so many u32 peers; one with zeros for a MAC: IP multicast to a group without an entry. More than fit into one message
 * come in several, and nothing changes before the last. A new connection ends what holds. */
struct set_groups {
	uint64_t until; /* 0: all group frames go to the whole flood set, and nothing is watched; so it is after that time too */
	uint32_t flags; /* enum groups_flag */
	uint32_t reserved;
};

enum groups_flag {
	GROUPS_WATCH = 1, /* IGMP, MLD and RTPS discovery of the local port: EVENT_GROUP, and nowhere else */
	GROUPS_MORE = 2,  /* another message follows with more entries */
	GROUPS_SAME = 4,  /* the entries are those of before */
};

#define GROUPS_BYTES (8 << 20)

struct group_entry {
	uint8_t mac[6];
	uint16_t port; /* UDP destination; 0: any other, and what has none */
	uint32_t peers;
};

struct cursor {
	uint32_t from; /* 0: from the beginning */
	uint32_t reserved;
};

struct session_row {
	uint32_t peer;
	uint32_t flags; /* enum session_flag */
	uint64_t send_id, receive_id, expires;
	struct place path; /* of the peer; port 0: none */
	uint32_t note_length;
	uint32_t reserved;
	uint8_t note[NOTE_SIZE];
};

enum session_flag {
	SESSION_SENDING = 1,
	SESSION_CONFIRMED = 2,
};

struct fdb_row {
	uint8_t mac[6];
	uint16_t vlan;
	uint32_t owner;
	uint32_t is_static;
	uint64_t seen;
};

struct retain {
	uint32_t sessions;
	uint32_t peers;
};

struct unresolved {
	uint32_t reason; /* enum unresolved_reason */
	uint32_t peer;   /* NO_PEER */
};

enum unresolved_reason {
	UNRESOLVED_DESTINATION = 1,
	UNRESOLVED_SESSION = 2,
};

struct control {
	uint64_t receive_id;
	struct place source;
};

/* Counters from 160 on; those below 128 are numbers of omni_core/drops.py. Never reuse a number. */
enum native_way {
	NATIVE_TX_SEALED = 160,  /* frames */
	NATIVE_TX_SUPER = 161,   /* super-frames that they were cut from */
	NATIVE_TX_CALLS = 162,   /* system calls that sent them */
	NATIVE_RX_OPENED = 163,  /* frames */
	NATIVE_RX_SUPER = 164,   /* super-frames that frames were merged to */
	NATIVE_RX_CALLS = 165,   /* system calls that received them */
	NATIVE_TX_GROUP = 166,   /* group frames of the local port */
	NATIVE_RX_CONTROL = 167, /* in-session control */
	NATIVE_EVENTS_LOST = 168,
	NATIVE_RX_LOCAL = 169,   /* frames of the Ganglion, to the local port */
	NATIVE_TX_NOBODY = 170,  /* group frames that no peer listens to */
	NATIVE_TX_WATCHED = 171, /* group frames that the Ganglion wants to see, to it alone */
};
#define NATIVE_COUNTERS 256

#endif
