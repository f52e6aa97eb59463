/* SPDX-License-Identifier: Apache-2.0
 *
 * An engine in mode alone, with one worker, for the fuzz targets: what it delivers goes to /dev/null, and what it sends is refused
 * by a socket that leads nowhere. Two peers, 1 with a session in use and 2 without.
 */
#ifndef NATIVE_FUZZ_SMALL_ENGINE_H
#define NATIVE_FUZZ_SMALL_ENGINE_H

#include <fcntl.h>
#include <stdlib.h>

#include "../engine.h" /* compiled with -DFDB_SLOTS=1024: each input looks at the whole table */
#include "fuzz.h"

#define SMALL_SEND_ID UINT64_C(0x1122334455667788)
#define SMALL_RECEIVE_ID UINT64_C(0x99aabbccddeeff11)
#define SMALL_NOW UINT64_C(1000000000000)

static struct engine small_engine;
static const uint8_t small_mac_here[6] = {2, 0, 0, 0, 0, 1}, small_mac_there[6] = {2, 0, 0, 0, 0, 2};

static inline struct worker *small_worker(void)
{
	return &small_engine.threads[0];
}

/* Group 01:00:5e:01:02:03 is peer 1's, its port 7400 nobody's; elsewhere is peer 2's. */
static inline void small_groups(void)
{
	static const struct __attribute__((packed)) {
		struct set_groups request;
		struct group_entry any;
		uint32_t first;
		struct group_entry port, elsewhere;
		uint32_t second;
	} body = {
		.request = {.until = UINT64_MAX, .flags = GROUPS_WATCH},
		.any = {.mac = {0x01, 0x00, 0x5e, 1, 2, 3}, .peers = 1},
		.first = 1,
		.port = {.mac = {0x01, 0x00, 0x5e, 1, 2, 3}, .port = 7400},
		.elsewhere = {.peers = 1},
		.second = 2,
	};

	if (groups_set(&small_engine, (const uint8_t *)&body, sizeof(body)))
		exit(2);
}

static inline void small_session(void)
{
	struct add_session session = {
		.peer = 1,
		.slot = 0xffffffff,
		.send_id = SMALL_SEND_ID,
		.receive_id = SMALL_RECEIVE_ID,
		.expires = UINT64_MAX,
	};
	struct set_peer peer = {.peer = 1, .mtu = 1500, .place = {.port = htons(51820)}, .socket = 0xffffffff};
	uint32_t ids[2] = {1, 2};

	memset(session.send_key, 1, KEY_SIZE);
	memset(session.receive_key, 2, KEY_SIZE);
	peer.place.address[10] = peer.place.address[11] = 0xff;
	peer.place.address[12] = 127;
	peer.place.address[15] = 1;
	if (session_add(&small_engine, &session) || peer_set_path(&small_engine, &peer) || !peer_get(&small_engine, 2) ||
	    flood_set(&small_engine, ids, 2))
		exit(2);
	peer_find(&small_engine, 1)->sending = session_find(&small_engine, SMALL_RECEIVE_ID);
	small_groups();
	fdb_set_static(&small_engine, small_mac_here, VLAN_ANY, OWNER_LOCAL);
	fdb_set_static(&small_engine, small_mac_there, VLAN_ANY, 1);
}

static inline void small_start(void)
{
	int pair[2];

	small_engine.mode = MODE_ALONE;
	small_engine.workers = 1;
	small_engine.sockets = 1;
	small_engine.ganglion = -1;
	small_engine.forwarding = 1;
	small_engine.sessions = calloc(MAX_SESSIONS, sizeof(struct session));
	if (!small_engine.sessions || fdb_init(&small_engine.fdb, -1) || socketpair(AF_UNIX, SOCK_DGRAM, 0, pair))
		exit(2);
	for (unsigned i = 0; i < 2; i++) {
		struct worker *worker = &small_engine.threads[i];

		worker->engine = &small_engine;
		worker->index = i;
		worker->now = SMALL_NOW;
		worker->tap = open("/dev/null", O_RDWR);
		worker->sockets[0] = pair[0];
		worker->batch.arena = malloc(BATCH_BYTES);
		worker->tap_buffer = malloc(TAP_BUFFER);
		worker->receive_buffers = malloc((size_t)RECEIVE_BATCH * RECEIVE_STRIDE);
		if (!worker->batch.arena || !worker->receive_buffers ||
		    socketpair(AF_UNIX, SOCK_SEQPACKET, 0, worker->mailbox))
			exit(2);
		receive_init(worker);
	}
	small_session();
}

/* The next chunk of the input, which begins with its length in two bytes. 0: no more. Copied to memory of its own, so that
 * a sanitizer sees every byte too far. */
static inline int small_chunk(const uint8_t **data, size_t *size, uint8_t **chunk, size_t *length)
{
	if (*size < 2)
		return 0;
	*length = (size_t)((*data)[0] | (*data)[1] << 8);
	*data += 2;
	*size -= 2;
	if (*length > *size)
		*length = *size;
	*chunk = malloc(*length + WIRE_OVERHEAD + 1);
	if (!*chunk)
		exit(2);
	memcpy(*chunk, *data, *length);
	*data += *length;
	*size -= *length;
	return 1;
}

#endif
