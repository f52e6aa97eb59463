/* SPDX-License-Identifier: Apache-2.0
 *
 * From frames to super-frames: consecutive TCP segments of a flow become one, as the kernel's GRO would make them, to
 * be written to a TAP with IFF_VNET_HDR in one call. Only segments whose IP and TCP checksums are right are merged,
 * or marked as checked (VIRTIO_NET_HDR_F_DATA_VALID); all else is passed on untouched and unmarked. Frames of one
 * flow leave in the order in which they came. Pure functions on memory: no system calls, no allocation; every length
 * is checked.
 */
#ifndef NATIVE_MERGE_H
#define NATIVE_MERGE_H

#include <linux/virtio_net.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#define MERGE_FLOWS 8
#define MERGE_PIECES 64 /* the first frame, and payloads */

/* ``pieces[0]`` begins with the Ethernet header. What the pieces point to is valid during the call only.
 * ``segments``: how many frames went into it. */
typedef void (*merge_emit)(void *context, const struct virtio_net_hdr *vnet, const struct iovec *pieces, int count,
			   unsigned segments);

struct merge_flow { /* internal, owner: merge.c */
	uint8_t *head;       /* the first frame */
	size_t head_bytes;   /* as it came, perhaps padded */
	size_t payload_size; /* of the first */
	size_t total;        /* bytes of the IP packet so far */
	uint32_t next_sequence;
	uint16_t next_id;
	uint8_t ip_version, network, transport, headers; /* the latter: offset of the payload */
	uint8_t pushed;                                  /* the last one had PSH */
	int count;                                       /* of pieces */
	struct iovec pieces[MERGE_PIECES];
};

struct merger {
	merge_emit emit;
	void *context;
	int used;
	uint8_t order[MERGE_FLOWS]; /* indices of flows, oldest first; from ``used`` on: the free ones */
	struct merge_flow flows[MERGE_FLOWS];
};

void merger_init(struct merger *merger, merge_emit emit, void *context);

/* ``frame`` must stay valid until merger_flush(); its headers may be changed. Emits what may not wait. */
void merger_add(struct merger *merger, uint8_t *frame, size_t length);

/* Emits what is left, oldest first. */
void merger_flush(struct merger *merger);

#endif
