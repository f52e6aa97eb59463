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

/* Sum over length bytes of the packet from start on, added to seed. bpf_csum_diff takes at most 512 bytes, and whole
 * words only. -1 when the packet ends before. */
static __always_inline __s64 sum_packet(void *start, __u32 length, void *end, __u32 seed)
{
	__u8 *at = start;
	__u64 sum = seed;

	for (int i = 0; i < SYNAPSE_MAX_FRAME / 512 + 1; i++) {
		opaque(at);
		if (length < 512)
			break;
		if ((void *)(at + 512) > end)
			return -1;
		sum = bpf_csum_diff(0, 0, (void *)at, 512, sum);
		at += 512;
		length -= 512;
	}
	for (int i = 0; i < 512 / 32; i++) {
		opaque(at);
		if (length < 32)
			break;
		if ((void *)(at + 32) > end)
			return -1;
		sum = bpf_csum_diff(0, 0, (void *)at, 32, sum);
		at += 32;
		length -= 32;
	}
	for (int i = 0; i < 16; i++) {
		opaque(at);
		if (length < 2)
			break;
		if ((void *)(at + 2) > end)
			return -1;
		sum += *(__u16 *)at;
		at += 2;
		length -= 2;
	}
	if (length) {
		opaque(at);
		if ((void *)(at + 1) > end)
			return -1;
		sum += *at; /* little-endian: the first byte of a word is the low one */
	}
	return sum;
}

#endif
