/* SPDX-License-Identifier: Apache-2.0
 * The Internet checksum (RFC 1071). */
#ifndef SYNAPSE_CHECKSUM_H
#define SYNAPSE_CHECKSUM_H

static __always_inline __u16 fold(__u64 sum)
{
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return ~sum;
}

static __always_inline __u16 ipv4_checksum(const struct iphdr *ip)
{
	const __u16 *word = (const void *)ip;
	__u64 sum = 0;

#pragma unroll
	for (int i = 0; i < 10; i++)
		sum += word[i];
	return fold(sum);
}

#define CHUNK_MASK 0x3fff /* the verifier believes no check of a pointer that could be 64 KB away */

#define CHUNK(size)                                                                                                    \
	at = start + (offset & CHUNK_MASK);                                                                           \
	opaque(at);                                                                                                    \
	if (length < (size))                                                                                           \
		break;                                                                                                 \
	if ((void *)(at + (size)) > end)                                                                               \
		return -1;                                                                                             \
	offset += (size);                                                                                              \
	length -= (size);

/* Sum over length bytes of the packet from start on, added to seed; -1 when the packet ends before. bpf_csum_diff takes
 * at most 512 bytes, and whole words only. ``zero`` is 0, but the verifier does not know it: so where a loop ended looks
 * the same to it for every number of rounds, and it walks what follows once. */
static __always_inline __s64 sum_packet(void *start, __u64 length, void *end, __u32 seed, __u64 zero)
{
	__u64 sum = seed, offset = zero;
	__u8 *at;

	for (int i = 0; i < SYNAPSE_MAX_FRAME / 512 + 1; i++) {
		CHUNK(512)
		sum = bpf_csum_diff(0, 0, (void *)at, 512, sum);
	}
	for (int i = 0; i < 512 / 32; i++) {
		CHUNK(32)
		sum = bpf_csum_diff(0, 0, (void *)at, 32, sum);
	}
	for (int i = 0; i < 16; i++) {
		CHUNK(2)
		sum += *(__u16 *)at;
	}
	at = start + (offset & CHUNK_MASK);
	opaque(at);
	if (length) {
		if ((void *)(at + 1) > end)
			return -1;
		sum += *at; /* little-endian: the first byte of a word is the low one */
	}
	return sum;
}

#endif
