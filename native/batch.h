/* SPDX-License-Identifier: Apache-2.0
 *
 * Sealed packets on their way to the socket: built in place, one behind the other, so that packets of one size for one
 * path leave in one message (UDP_SEGMENT), and all messages in one system call.
 */
#ifndef NATIVE_BATCH_H
#define NATIVE_BATCH_H

#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#define BATCH_BYTES (512 * 1024)
#define BATCH_RUNS 64
#define RUN_PACKETS 64	/* UDP_MAX_SEGMENTS of kernels before 6.9 */
#define RUN_BYTES 64000 /* below 65,535 less the headers */
/* A receiver behind XDP in generic mode sees a run whole; it tells it from one packet by the MTU (bpf/rx.h). */
#define RUN_BYTES_MIN 1500

struct path;
struct worker;

struct run {
	struct path *path;
	size_t at, bytes; /* in the arena */
	size_t packet;	  /* bytes of each but the last */
	unsigned packets;
	int closed; /* a shorter one has come */
};

struct batch {
	uint8_t *arena;
	size_t used;
	unsigned count;
	struct run runs[BATCH_RUNS];
};

/* Room for a packet of up to ``length`` bytes, valid until the next call; sends first when there is none left. */
uint8_t *batch_room(struct worker *worker, size_t length);

/* What batch_room() gave has become a packet of ``length`` bytes for the path. */
void batch_add(struct worker *worker, struct path *path, size_t length);

/* Sends all. Waits a little for a full socket, so that the queue of the TAP fills and its senders slow down. */
void batch_flush(struct worker *worker);

#endif
