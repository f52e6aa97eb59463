/* SPDX-License-Identifier: Apache-2.0
 *
 * Reads inner frames: where the IP header is, and the fields that cutting and merging need. Offsets, not structs, as
 * headers lie at any alignment. Nothing here reads beyond what its caller has checked, unless it takes a length.
 */
#ifndef NATIVE_INNER_H
#define NATIVE_INNER_H

#include <endian.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "checksum.h"

#ifndef VIRTIO_NET_HDR_GSO_UDP_L4
#define VIRTIO_NET_HDR_GSO_UDP_L4 5 /* linux/virtio_net.h since 6.2 */
#endif

#define INNER_ETHERNET 14
#define INNER_TAG 4
#define INNER_TAGS_MAX 2
#define INNER_TYPE_IPV4 0x0800
#define INNER_TYPE_IPV6 0x86dd
#define INNER_TYPE_TAG 0x8100         /* 802.1Q */
#define INNER_TYPE_SERVICE_TAG 0x88a8 /* 802.1ad */

#define INNER_TCP 6
#define INNER_UDP 17
#define INNER_ICMPV6 58
#define INNER_LENGTH_MAX 65535 /* of an IP packet, and of an IPv6 payload */

/* IPv4, RFC 791. From the header's start, as all offsets */
#define IPV4_HEADER 20
#define IPV4_TOS 1
#define IPV4_LENGTH 2
#define IPV4_ID 4
#define IPV4_FRAGMENT 6
#define IPV4_TTL 8
#define IPV4_PROTOCOL 9
#define IPV4_CHECKSUM 10
#define IPV4_ADDRESSES 12
#define IPV4_DONT_FRAGMENT 0x4000
#define IPV4_FRAGMENT_MASK 0x3fff /* more fragments, and the offset */

/* IPv6, RFC 8200 */
#define IPV6_HEADER 40
#define IPV6_LENGTH 4
#define IPV6_NEXT 6
#define IPV6_HOP_LIMIT 7
#define IPV6_ADDRESSES 8
#define IPV6_NEXT_HOP_BY_HOP 0
#define IPV6_NEXT_ROUTING 43
#define IPV6_NEXT_DESTINATION 60

/* TCP, RFC 9293 */
#define TCP_HEADER 20
#define TCP_SEQUENCE 4
#define TCP_ACKNOWLEDGEMENT 8
#define TCP_OFFSET 12 /* 16 bits: of data, reserved, flags */
#define TCP_WINDOW 14
#define TCP_CHECKSUM 16
#define TCP_URGENT 18
#define TCP_FIN 0x01
#define TCP_PSH 0x08
#define TCP_ACK 0x10
#define TCP_CWR 0x80

/* UDP, RFC 768 */
#define UDP_HEADER 8
#define UDP_LENGTH 4
#define UDP_CHECKSUM 6

/* 16 and 32 bits in network order */
CHECKSUM_INLINE uint16_t inner_get16(const uint8_t *at)
{
	uint16_t value;

	memcpy(&value, at, 2);
	return be16toh(value);
}

CHECKSUM_INLINE uint32_t inner_get32(const uint8_t *at)
{
	uint32_t value;

	memcpy(&value, at, 4);
	return be32toh(value);
}

CHECKSUM_INLINE void inner_put16(uint8_t *at, uint16_t value)
{
	value = htobe16(value);
	memcpy(at, &value, 2);
}

CHECKSUM_INLINE void inner_put32(uint8_t *at, uint32_t value)
{
	value = htobe32(value);
	memcpy(at, &value, 4);
}

/* 16 bits that are as they lie in memory: a checksum */
CHECKSUM_INLINE void inner_put_sum(uint8_t *at, uint16_t sum)
{
	memcpy(at, &sum, 2);
}

/* EtherType behind the tags, 0 when the frame is too short. ``network``: offset of what it names. A third tag is a
 * type like any other. */
CHECKSUM_INLINE uint16_t inner_type(const uint8_t *frame, size_t length, size_t *network)
{
	size_t at = INNER_ETHERNET;
	uint16_t type;

	if (length < INNER_ETHERNET)
		return 0;
	type = inner_get16(frame + at - 2);
	for (int tags = 0; tags < INNER_TAGS_MAX && (type == INNER_TYPE_TAG || type == INNER_TYPE_SERVICE_TAG); tags++) {
		at += INNER_TAG;
		if (length < at)
			return 0;
		type = inner_get16(frame + at - 2);
	}
	*network = at;
	return type;
}

/* Sum of a pseudo-header without its length: of the addresses at ``addresses``, and the protocol. */
CHECKSUM_INLINE uint64_t inner_pseudo_sum(const uint8_t *addresses, int ip_version, uint8_t protocol)
{
	uint64_t sum = htobe16(protocol);
	uint32_t word;

	for (int at = 0; at < (ip_version == 4 ? 8 : 32); at += 4) {
		memcpy(&word, addresses + at, 4);
		sum += word;
	}
	return sum;
}

/* What a length of ``bytes`` adds to a pseudo-header's sum (32 bits, as in IPv6; the same for IPv4 up to 65535). */
CHECKSUM_INLINE uint64_t inner_length_sum(size_t bytes)
{
	return htobe32((uint32_t)bytes);
}

#endif
