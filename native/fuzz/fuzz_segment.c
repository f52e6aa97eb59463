/* SPDX-License-Identifier: Apache-2.0
 *
 * The cutter. Input: struct virtio_net_hdr, frame_max (16 bits, little-endian), frame. See fuzz.h.
 */
#include "fuzz.h"

#include "segment.h"

/* One frame: the same bytes, but for the checksum. */
static void check_whole(const struct cutter *cutter, const struct virtio_net_hdr *vnet, const uint8_t *frame,
			size_t length, uint8_t *out)
{
	size_t at = (size_t)vnet->csum_start + vnet->csum_offset;

	HOLDS(cutter->frames == 1 && cutter->frame_bytes == length);
	if (!(vnet->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM)) {
		HOLDS(!memcmp(out, frame, length));
		return;
	}
	HOLDS(at + 2 <= length);
	HOLDS(!memcmp(out, frame, at) && !memcmp(out + at + 2, frame + at + 2, length - at - 2));
	if (vnet->csum_offset % 2)
		return;
	uint32_t open = plain_sum(frame + vnet->csum_start, length - vnet->csum_start, 0);
	HOLDS(big16(out + at) == (open == 0xffff && vnet->csum_offset == 6 ? 0xffff : 0xffff - open));
}

/* A segment at ``offset`` of the super-frame's payload. */
static void check_segment(const struct cutter *cutter, const struct virtio_net_hdr *vnet, const uint8_t *frame,
			  const uint8_t *out, size_t bytes, size_t index)
{
	size_t offset = index * cutter->payload_size, payload = bytes - cutter->headers;
	const uint8_t *ip = out + cutter->network, *transport = out + cutter->transport;
	int udp = vnet->gso_type == 5, last = index + 1 == cutter->frames;

	HOLDS(bytes > cutter->headers || (last && !index));
	HOLDS(!memcmp(out + cutter->headers, frame + cutter->headers + offset, payload));
	HOLDS(!memcmp(out, frame, cutter->network + 2));
	HOLDS(payload == cutter->payload_size || (last && payload < cutter->payload_size));
	if (ip[0] >> 4 == 4) {
		HOLDS(big16(ip + 2) == bytes - cutter->network);
		HOLDS(big16(ip + 4) == ((big16(frame + cutter->network + 4) + index) & 0xffff));
		HOLDS(plain_sum(ip, cutter->transport - cutter->network, 0) == 0xffff);
	} else {
		HOLDS(big16(ip + 4) == bytes - cutter->network - 40);
	}
	if (udp) {
		HOLDS(big16(transport + 4) == bytes - cutter->transport);
	} else {
		const uint8_t *super = frame + cutter->transport;
		uint32_t before = big16(super + 4) << 16 | big16(super + 6);
		uint32_t after = big16(transport + 4) << 16 | big16(transport + 6);

		HOLDS(after - before == offset);
		HOLDS((transport[13] & 0x76) == (super[13] & 0x76));
		HOLDS((transport[13] & 0x09) == (last ? super[13] & 0x09 : 0));
		HOLDS((transport[13] & 0x80) == (index ? 0 : super[13] & 0x80));
	}
	/* Behind extension headers the checksum goes on from where the input began it, right or wrong. */
	if (ip[0] >> 4 == 6 && cutter->transport != cutter->network + 40)
		return;
	if (udp && !big16(transport + 6))
		HOLDS(!(vnet->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) && ip[0] >> 4 == 4);
	else
		HOLDS(transport_sum(ip, cutter->transport - cutter->network, bytes - cutter->transport) == 0xffff);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct virtio_net_hdr vnet;
	struct cutter cutter;
	size_t frame_max, length, total = 0;

	if (size < sizeof(vnet) + 2)
		return 0;
	memcpy(&vnet, data, sizeof(vnet));
	frame_max = (size_t)data[10] | (size_t)data[11] << 8;
	length = size - 12;
	uint8_t *frame = copy_of(data + 12, length);
	if (!cutter_start(&cutter, &vnet, frame, length, frame_max)) {
		HOLDS(cutter.frames && cutter.frame_bytes && cutter.frame_bytes <= length);
		uint8_t *out = malloc(cutter.frame_bytes);
		HOLDS(out);
		for (size_t i = 0; i < cutter.frames; i++) {
			memset(out, 0xa5, cutter.frame_bytes);
			size_t bytes = cutter_next(&cutter, out);
			HOLDS(bytes && bytes <= cutter.frame_bytes);
			HOLDS(bytes == cutter.frame_bytes || i + 1 == cutter.frames);
			if (!vnet.gso_type) {
				check_whole(&cutter, &vnet, frame, length, out);
				continue;
			}
			HOLDS(vnet.gso_type == 5 || bytes <= frame_max);
			check_segment(&cutter, &vnet, frame, out, bytes, i);
			total += bytes - cutter.headers;
		}
		HOLDS(!cutter_next(&cutter, out) && !cutter_next(&cutter, out));
		HOLDS(!vnet.gso_type || total == length - cutter.headers);
		free(out);
	}
	HOLDS(!memcmp(frame, data + 12, length));
	free(frame);
	return 0;
}
