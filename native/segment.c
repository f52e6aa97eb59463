/* SPDX-License-Identifier: Apache-2.0
 *
 * See segment.h. What the kernel does when no device cuts for it: tcp_gso_segment(), __udp_gso_segment(),
 * inet_gso_segment(), skb_checksum_help().
 */
#include "segment.h"

#include "inner.h"

enum kind {
	KIND_AS_IS,
	KIND_CHECKSUM, /* one frame, its checksum to be finished */
	KIND_TCP,
	KIND_UDP,
	KIND_UDP_UNSUMMED, /* datagrams without a checksum */
};

/* Where a checksum is open, as virtio_net_hdr_to_skb() takes it. */
static int start_checksum(struct cutter *cutter, const struct virtio_net_hdr *vnet)
{
	cutter->transport = vnet->csum_start;
	cutter->checksum = (size_t)vnet->csum_start + vnet->csum_offset;
	if (cutter->checksum + 2 > cutter->length)
		return -1;
	cutter->kind = KIND_CHECKSUM;
	return 0;
}

/* Offset of the transport header of an IPv4 packet, 0 when that has none of ``protocol``. */
static size_t transport_of_ipv4(const uint8_t *frame, size_t length, size_t network, uint8_t protocol)
{
	const uint8_t *ip = frame + network;
	size_t header;

	if (length < network + IPV4_HEADER || ip[0] >> 4 != 4)
		return 0;
	header = (ip[0] & 15u) * 4;
	if (header < IPV4_HEADER || ip[IPV4_PROTOCOL] != protocol || inner_get16(ip + IPV4_FRAGMENT) & IPV4_FRAGMENT_MASK)
		return 0;
	return network + header;
}

/* The same for IPv6, behind those extension headers that a packet which is to be cut may have. */
static size_t transport_of_ipv6(const uint8_t *frame, size_t length, size_t network, uint8_t protocol)
{
	size_t at = network + IPV6_HEADER;
	uint8_t next;

	if (length < at || frame[network] >> 4 != 6)
		return 0;
	next = frame[network + IPV6_NEXT];
	if (next == IPV6_NEXT_HOP_BY_HOP && !inner_get16(frame + network + IPV6_LENGTH))
		return 0; /* a jumbogram (RFC 2675): what is cut from it would still say so */
	while (next != protocol) {
		if (next != IPV6_NEXT_HOP_BY_HOP && next != IPV6_NEXT_ROUTING && next != IPV6_NEXT_DESTINATION)
			return 0;
		if (length < at + 8)
			return 0;
		next = frame[at];
		at += (frame[at + 1] + 1u) * 8;
	}
	return at;
}

/* Sets the sums of what all segments share. Behind IPv6 extension headers the pseudo-header may have another address
 * than the IP header (RFC 8200, 8.1); the kernel's open checksum knows it, and has to be there. */
static int start_sums(struct cutter *cutter, int seeded)
{
	const uint8_t *ip = cutter->frame + cutter->network, *transport = cutter->frame + cutter->transport;
	size_t options = cutter->headers - cutter->transport;
	int tcp = cutter->kind == KIND_TCP;

	if (cutter->ip_version == 4) {
		/* without length, id, checksum */
		cutter->network_sum = checksum_sum(ip, IPV4_LENGTH) + checksum_sum(ip + IPV4_FRAGMENT, 4) +
				      checksum_sum(ip + IPV4_ADDRESSES, cutter->transport - cutter->network - IPV4_ADDRESSES);
		cutter->transport_sum = inner_pseudo_sum(ip + IPV4_ADDRESSES, 4, tcp ? INNER_TCP : INNER_UDP);
	} else if (cutter->transport == cutter->network + IPV6_HEADER) {
		cutter->transport_sum = inner_pseudo_sum(ip + IPV6_ADDRESSES, 6, tcp ? INNER_TCP : INNER_UDP);
	} else if (seeded) {
		cutter->transport_sum = checksum_sum(cutter->frame + cutter->checksum, 2) +
					(0xffffffff - inner_length_sum(cutter->length - cutter->transport));
	} else {
		return -1;
	}
	cutter->transport_sum += checksum_sum(transport, 4); /* ports */
	if (tcp) /* without sequence, flags, checksum */
		cutter->transport_sum += checksum_sum(transport + TCP_ACKNOWLEDGEMENT, 4) +
					 checksum_sum(transport + TCP_WINDOW, 2) +
					 checksum_sum(transport + TCP_URGENT, options - TCP_URGENT);
	return 0;
}

static int start_super(struct cutter *cutter, const struct virtio_net_hdr *vnet, size_t frame_max)
{
	const uint8_t *frame = cutter->frame;
	size_t length = cutter->length, header, payload, room;
	int seeded = !!(vnet->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM), tcp = 1, of_ipv4;
	uint16_t type = inner_type(frame, length, &cutter->network);

	of_ipv4 = type == INNER_TYPE_IPV4;
	if (!of_ipv4 && type != INNER_TYPE_IPV6)
		return -1;
	switch (vnet->gso_type) {
	case VIRTIO_NET_HDR_GSO_TCPV4:
	case VIRTIO_NET_HDR_GSO_TCPV4 | VIRTIO_NET_HDR_GSO_ECN:
		if (!of_ipv4)
			return -1;
		break;
	case VIRTIO_NET_HDR_GSO_TCPV6:
	case VIRTIO_NET_HDR_GSO_TCPV6 | VIRTIO_NET_HDR_GSO_ECN:
		if (of_ipv4)
			return -1;
		break;
	case VIRTIO_NET_HDR_GSO_UDP_L4:
		tcp = 0;
		break;
	default: /* fragments (UFO), tunnels: not offered to the kernel */
		return -1;
	}
	cutter->ip_version = of_ipv4 ? 4 : 6;
	cutter->transport = (of_ipv4 ? transport_of_ipv4 : transport_of_ipv6)(frame, length, cutter->network,
									      tcp ? INNER_TCP : INNER_UDP);
	if (!cutter->transport || length < cutter->transport + (tcp ? TCP_HEADER : UDP_HEADER))
		return -1;
	header = tcp ? (size_t)(frame[cutter->transport + TCP_OFFSET] >> 4) * 4 : UDP_HEADER;
	cutter->headers = cutter->transport + header;
	cutter->checksum = cutter->transport + (tcp ? TCP_CHECKSUM : UDP_CHECKSUM);
	if ((tcp && header < TCP_HEADER) || cutter->headers > length || cutter->headers > SEGMENT_HEADERS_MAX)
		return -1;
	if (seeded && (vnet->csum_start != cutter->transport ||
		       (size_t)vnet->csum_start + vnet->csum_offset != cutter->checksum))
		return -1;

	/* The IP header's length may be 0 (BIG TCP): what counts is what is there. */
	payload = length - cutter->headers;
	cutter->payload_size = vnet->gso_size;
	room = INNER_LENGTH_MAX - (cutter->headers - cutter->network) + (of_ipv4 ? 0 : IPV6_HEADER);
	if (tcp) {
		if (frame_max <= cutter->headers)
			return -1;
		if (room > frame_max - cutter->headers)
			room = frame_max - cutter->headers;
		if (cutter->payload_size > room)
			cutter->payload_size = room;
		cutter->kind = KIND_TCP;
	} else {
		cutter->kind = KIND_UDP;
		if (of_ipv4 && !seeded && !frame[cutter->checksum] && !frame[cutter->checksum + 1])
			cutter->kind = KIND_UDP_UNSUMMED;
	}
	if (!cutter->payload_size)
		return -1;
	if (payload > cutter->payload_size) {
		cutter->frames = (payload + cutter->payload_size - 1) / cutter->payload_size;
	} else {
		cutter->frames = 1;
		cutter->payload_size = payload;
	}
	if (cutter->payload_size > room)
		return -1;
	cutter->frame_bytes = cutter->headers + cutter->payload_size;
	cutter->at = cutter->headers;
	return start_sums(cutter, seeded);
}

int cutter_start(struct cutter *cutter, const struct virtio_net_hdr *vnet, const uint8_t *frame, size_t length,
		 size_t frame_max)
{
	memset(cutter, 0, sizeof(*cutter));
	if (length < INNER_ETHERNET)
		return -1;
	cutter->frame = frame;
	cutter->length = cutter->frame_bytes = length;
	cutter->frames = 1;
	cutter->kind = KIND_AS_IS;
	if (vnet->gso_type != VIRTIO_NET_HDR_GSO_NONE)
		return start_super(cutter, vnet, frame_max);
	if (vnet->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM)
		return start_checksum(cutter, vnet);
	return 0;
}

/* The one frame that is no super-frame. */
static size_t whole_frame(const struct cutter *cutter, uint8_t *out)
{
	size_t start = cutter->transport;
	uint16_t sum;

	if (cutter->kind == KIND_AS_IS) {
		memcpy(out, cutter->frame, cutter->length);
		return cutter->length;
	}
	memcpy(out, cutter->frame, start);
	sum = (uint16_t)~checksum_fold(checksum_copy(out + start, cutter->frame + start, cutter->length - start));
	if (!sum && cutter->checksum - start == UDP_CHECKSUM)
		sum = 0xffff; /* 0 means: none */
	inner_put_sum(out + cutter->checksum, sum);
	return cutter->length;
}

static void put_network(const struct cutter *cutter, uint8_t *ip, size_t bytes)
{
	uint8_t fields[4];

	if (cutter->ip_version == 6) {
		inner_put16(ip + IPV6_LENGTH, (uint16_t)(bytes - IPV6_HEADER));
		return;
	}
	inner_put16(fields, (uint16_t)bytes);
	inner_put16(fields + 2, (uint16_t)(inner_get16(ip + IPV4_ID) + cutter->index));
	memcpy(ip + IPV4_LENGTH, fields, 4); /* and id */
	inner_put_sum(ip + IPV4_CHECKSUM, (uint16_t)~checksum_fold(cutter->network_sum + checksum_sum(fields, 4)));
}

/* Sequence and flags of a segment; returns their sum. FIN and PSH are for the last, CWR for the first. */
static uint64_t put_tcp(const struct cutter *cutter, uint8_t *tcp, int last)
{
	uint32_t sequence = inner_get32(tcp + TCP_SEQUENCE) + (uint32_t)(cutter->at - cutter->headers);
	uint8_t flags = tcp[TCP_OFFSET + 1];

	if (!last)
		flags &= (uint8_t)~(TCP_FIN | TCP_PSH);
	if (cutter->index)
		flags &= (uint8_t)~TCP_CWR;
	tcp[TCP_OFFSET + 1] = flags;
	inner_put32(tcp + TCP_SEQUENCE, sequence);
	return (uint64_t)htobe32(sequence) + htobe16((uint16_t)(tcp[TCP_OFFSET] << 8 | flags));
}

size_t cutter_next(struct cutter *cutter, uint8_t *out)
{
	uint8_t *transport = out + cutter->transport;
	size_t bytes, payload;
	uint64_t sum;
	uint16_t result;

	if (cutter->index >= cutter->frames)
		return 0;
	if (cutter->kind == KIND_AS_IS || cutter->kind == KIND_CHECKSUM) {
		cutter->index++;
		return whole_frame(cutter, out);
	}
	payload = cutter->length - cutter->at;
	if (payload > cutter->payload_size)
		payload = cutter->payload_size;
	bytes = cutter->headers + payload;
	memcpy(out, cutter->frame, cutter->headers);
	sum = cutter->transport_sum + checksum_copy(out + cutter->headers, cutter->frame + cutter->at, payload);
	put_network(cutter, out + cutter->network, bytes - cutter->network);
	if (cutter->kind == KIND_TCP) {
		sum += put_tcp(cutter, transport, cutter->index + 1 == cutter->frames);
	} else {
		inner_put16(transport + UDP_LENGTH, (uint16_t)(bytes - cutter->transport));
		sum += htobe16((uint16_t)(bytes - cutter->transport));
	}
	result = (uint16_t)~checksum_fold(sum + inner_length_sum(bytes - cutter->transport));
	if (cutter->kind == KIND_UDP && !result)
		result = 0xffff; /* 0 means: none */
	if (cutter->kind != KIND_UDP_UNSUMMED)
		inner_put_sum(out + cutter->checksum, result);
	cutter->at += payload;
	cutter->index++;
	return bytes;
}
