/* SPDX-License-Identifier: Apache-2.0
 *
 * From what a TAP with IFF_VNET_HDR gives to frames for the wire: a super-frame (TSO, USO) is cut, a checksum that
 * the kernel left open (CHECKSUM_PARTIAL) is finished. One that is wrong stays wrong. Pure functions on memory: no
 * system calls, no allocation; every length that the input names is checked against what is there.
 */
#ifndef NATIVE_SEGMENT_H
#define NATIVE_SEGMENT_H

#include <linux/virtio_net.h>
#include <stddef.h>
#include <stdint.h>

#define SEGMENT_HEADERS_MAX 256 /* Ethernet, two tags, IP with options or a few extension headers, TCP with options */

/* Opaque for the caller but for what is named. */
struct cutter {
	size_t frames;      /* how many cutter_next() will give */
	size_t frame_bytes; /* of each but the last, which may be shorter */
	/* ... internal fields follow, owner: segment.c */
	const uint8_t *frame;
	size_t length;
	size_t headers;                      /* bytes in front of the payload */
	size_t payload_size;                 /* of each segment but the last */
	size_t at;                           /* offset of the next segment's payload */
	size_t network, transport, checksum; /* offsets: of the headers, and of the transport's checksum */
	uint64_t network_sum, transport_sum; /* of what is the same in all segments */
	uint32_t index;
	uint8_t kind, ip_version;
};

/* Prepares to cut. ``frame``, ``length``: behind the vnet header, as read; must stay valid and unchanged until the
 * last cutter_next(). ``frame_max``: bytes that one frame may have; TCP segments are made smaller than gso_size where
 * they would not fit. Returns 0, or -1 when frame and vnet header contradict each other (BAD_INNER_FRAME is the drop
 * reason), or not even one byte of a TCP super-frame fits. A frame that is no super-frame is given as it is (also
 * when longer than frame_max), with its checksum finished if the header asks for it. The datagrams of a UDP super-
 * frame keep their size, which has a meaning, even when longer than frame_max. */
int cutter_start(struct cutter *cutter, const struct virtio_net_hdr *vnet, const uint8_t *frame, size_t length,
		 size_t frame_max);

/* Writes the next frame to ``out``, which has room for frame_bytes; returns its length, 0 when there is none left. */
size_t cutter_next(struct cutter *cutter, uint8_t *out);

#endif
