/* SPDX-License-Identifier: Apache-2.0
 *
 * The native engine: what its files share.
 *
 *   main.c        command line, start        control.c     connection of the Ganglion, lease, housekeeping
 *   worker.c      the loop of one worker     requests.c    what its messages do
 *   transmit.c    TAP -> sealed -> socket    sessions.c    sessions, peers and how they leave
 *   receive.c     socket -> opened -> TAP    fdb.c         the forwarding table: our own, or the kernel's
 *   groups.c      who gets group frames      privileges.c  what the process gives up
 *   batch.c       one system call for many
 *   aead.c segment.c merge.c window.h wire.h: as their headers say
 *
 * Threads: one control thread, and workers that each have a queue of the TAP and a socket on every address. A worker runs
 * a packet to completion and takes no lock. Tables are changed by the control thread only. What a worker may be looking
 * at is unlinked, then engine_synchronize() waits until every worker has left it, then it is wiped or freed.
 */
#ifndef NATIVE_ENGINE_H
#define NATIVE_ENGINE_H

#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/socket.h>

#include "aead.h"
#include "batch.h"
#include "fdb.h"
#include "groups.h"
#include "lane.h"
#include "merge.h"
#include "protocol.h"
#include "segment.h"
#include "wire.h"

#define MAX_THREADS (MAX_WORKERS + 1) /* the control thread seals too */
#define MAX_SOCKETS 16		      /* of one worker: bound addresses */
#define BUCKETS 4096

#define TAP_BUFFER (65536 + 512)
#define RECEIVE_BUFFER 65536
#define RECEIVE_STRIDE (RECEIVE_BUFFER + 2112) /* a power of two would put all into the same places of the cache */
#define RECEIVE_BATCH 64		       /* a super-frame, where nothing merged its packets on the way */

struct peer;

struct session {
	struct session *next; /* in its bucket */
	uint64_t receive_id, send_id, expires;
	struct peer *peer;
	_Atomic uint32_t confirmed;
	_Atomic uint32_t owner; /* worker that writes the replay windows; NO_OWNER */
	uint32_t mailed;	/* packets that others have mailed to the owner, in a row */
	_Atomic uint64_t last_tx_data, last_rx_data;
	struct lane_stream *streams; /* both; in mode bulk those of the kernel's map */
	EVP_CIPHER_CTX *_Atomic sealers[MAX_THREADS]; /* made by the thread that first needs one */
	EVP_CIPHER_CTX *_Atomic openers[MAX_THREADS];
	uint8_t send_key[KEY_SIZE], receive_key[KEY_SIZE];
	uint32_t note_length;
	uint8_t note[NOTE_SIZE];
	struct lane_stream own_streams[LANE_STREAMS];
};

/* Where a peer is. Never changed: another one takes its place. */
struct path {
	struct place place;
	struct sockaddr_storage address;
	socklen_t address_length;
	unsigned socket; /* index among a worker's */
	size_t frame_max; /* 0: not known */
	_Atomic uint32_t no_segmentation; /* the kernel refuses UDP_SEGMENT there */
};

struct peer {
	struct peer *next;
	uint32_t id;
	_Atomic uint32_t learned; /* FDB entries */
	uint32_t flooded; /* index in struct flood; of the control thread */
	struct path *_Atomic path;
	struct session *_Atomic sending;
	atomic_flag moving;
	struct place moved; /* EVENT_MOVED was said for it; under moving */
};

/* One thread. Workers have TAP, sockets and mailbox; the control thread uses its own buffers and worker 0's sockets. */
struct worker {
	struct engine *engine;
	unsigned index;
	pthread_t thread;
	int tap;
	int sockets[MAX_SOCKETS];
	int mailbox[2]; /* [0]: the worker reads, [1]: others write: struct place and a packet, or nothing to wake it */
	int poller;
	_Atomic uint64_t epoch; /* odd: at work */
	_Atomic uint64_t drained; /* lost_leases that it has thrown its input away for */
	uint64_t now;		  /* ns */
	uint64_t counters[NATIVE_COUNTERS];
	struct batch batch;
	struct merger merger;
	struct fdb_cache fdb_cache;
	struct session *last_session; /* of the burst; NULL between bursts */
	uint8_t *tap_buffer;
	uint8_t *receive_buffers;
	struct mmsghdr receive_headers[RECEIVE_BATCH];
	struct iovec receive_pieces[RECEIVE_BATCH];
	struct sockaddr_storage receive_sources[RECEIVE_BATCH];
	uint8_t receive_controls[RECEIVE_BATCH][64];
};

struct engine {
	const char *name;
	uint32_t mode;
	unsigned workers, sockets;
	int merge;
	unsigned stream; /* that it seals on */
	struct worker threads[MAX_THREADS]; /* [workers]: the control thread */
	int listener;
	int null; /* /dev/null */
	_Atomic int ganglion; /* the connection; -1: none */
	_Atomic uint32_t forwarding;
	struct session *_Atomic session_buckets[BUCKETS];
	struct peer *_Atomic peer_buckets[BUCKETS];
	struct session *sessions; /* MAX_SESSIONS of them, locked into memory */
	uint32_t session_count, peer_count;
	struct flood *_Atomic flood;
	_Atomic uint64_t groups_until; /* ns; the policy of groups holds */
	_Atomic uint32_t groups_watch;
	struct policy policy, coming; /* of the control thread: what holds, and what is being told */
	struct fdb fdb;
	/* mode bulk */
	struct lane_stream *lane_streams;
	struct lane_state *lane;
	_Atomic uint64_t lost_leases;
	_Atomic uint64_t resume; /* ns; nothing is read before */
	_Atomic int stopped; /* in order */
	_Atomic int failed; /* a worker cannot go on (the TAP was taken away) */
};

static inline void count(struct worker *worker, unsigned way, uint64_t many)
{
	__atomic_store_n(&worker->counters[way], worker->counters[way] + many, __ATOMIC_RELAXED);
}

uint64_t monotonic_ns(void);

/* sessions.c: look-ups for every thread, valid until it goes idle; changes for the control thread. */
struct session *session_find(struct engine *engine, uint64_t receive_id);
struct peer *peer_find(struct engine *engine, uint32_t id);
struct peer *peer_get(struct engine *engine, uint32_t id); /* makes it; NULL: no room */
int session_add(struct engine *engine, const struct add_session *request);
void session_remove(struct engine *engine, struct session *session);
int peer_set_path(struct engine *engine, const struct set_peer *request);
void peer_remove(struct engine *engine, struct peer *peer);
void sessions_wipe(struct engine *engine);
EVP_CIPHER_CTX *session_sealer(struct worker *worker, struct session *session);
EVP_CIPHER_CTX *session_opener(struct worker *worker, struct session *session);
void engine_synchronize(struct engine *engine);

#define NO_OWNER 0xffffffffu

/* transmit.c */
void transmit_from_tap(struct worker *worker);
void transmit_port_frame(struct worker *worker, const struct virtio_net_hdr *vnet, const uint8_t *frame, size_t length);
void transmit_to_peer(struct worker *worker, uint32_t peer_id, const uint8_t *frame, size_t length);

/* receive.c */
struct arrival { /* from where */
	const struct sockaddr_storage *address;
	struct place place; /* the same, once somebody has asked (placed) */
	int placed;
	unsigned mailed_by; /* worker + 1; 0: it came by a socket of ours */
};

void receive_packet(struct worker *worker, uint8_t *packet, size_t length, struct arrival *arrival);
void receive_from_socket(struct worker *worker, unsigned socket);
void receive_from_mailbox(struct worker *worker);
void receive_init(struct worker *worker);
void receive_discard(struct worker *worker);
void receive_for_port(struct worker *worker, const uint8_t *frame, size_t length); /* of the Ganglion */

/* worker.c */
int worker_start(struct worker *worker);
void worker_wake(struct worker *worker);

/* requests.c */
struct answer {
	struct message_header header;
	struct reply reply;
	uint8_t body[MESSAGE_MAX];
	size_t length; /* of body */
};

uint32_t request_carry_out(struct engine *engine, uint16_t type, const uint8_t *message, size_t length,
			   struct answer *answer); /* errno */
void request_one_way(struct engine *engine, uint16_t type, const uint8_t *body, size_t length);

/* control.c */
int control_run(struct engine *engine);
void say(struct worker *worker, uint16_t type, const void *body, size_t length, const void *frame, size_t frame_length);
void mail(struct worker *worker, unsigned to, const struct place *place, const uint8_t *packet, size_t length);
void place_from(struct place *place, const struct sockaddr_storage *address);

/* privileges.c; both say what is wrong on standard error. */
int privileges_drop(struct engine *engine, int keep_root);
int privileges_filter(struct engine *engine);

#endif
