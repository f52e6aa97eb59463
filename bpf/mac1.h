/* SPDX-License-Identifier: Apache-2.0
 * synapse_mac1: tail-called by synapse_rx for handshake messages of the right size. mac1 is BLAKE2s-128 (RFC 7693),
 * keyed with a hash of our public key, over whole blocks, so junk costs userspace nothing. */
#ifndef SYNAPSE_MAC1_H
#define SYNAPSE_MAC1_H

#define BLAKE2S_BLOCK 64
#define INITIATION_BLOCKS 7
#define RESPONSE_BLOCKS 4
#define MAC1_SIZE 16

#define ROTATE_RIGHT(x, n) ((x) >> (n) | (x) << (32 - (n)))

#define MIX(a, b, c, d, x, y)                                                                                          \
	v[a] += v[b] + m[x];                                                                                           \
	v[d] = ROTATE_RIGHT(v[d] ^ v[a], 16);                                                                          \
	v[c] += v[d];                                                                                                  \
	v[b] = ROTATE_RIGHT(v[b] ^ v[c], 12);                                                                          \
	v[a] += v[b] + m[y];                                                                                           \
	v[d] = ROTATE_RIGHT(v[d] ^ v[a], 8);                                                                           \
	v[c] += v[d];                                                                                                  \
	v[b] = ROTATE_RIGHT(v[b] ^ v[c], 7);

#define ROUND(s0, s1, s2, s3, s4, s5, s6, s7, s8, s9, s10, s11, s12, s13, s14, s15)                                    \
	MIX(0, 4, 8, 12, s0, s1)                                                                                       \
	MIX(1, 5, 9, 13, s2, s3)                                                                                       \
	MIX(2, 6, 10, 14, s4, s5)                                                                                      \
	MIX(3, 7, 11, 15, s6, s7)                                                                                      \
	MIX(0, 5, 10, 15, s8, s9)                                                                                      \
	MIX(1, 6, 11, 12, s10, s11)                                                                                    \
	MIX(2, 7, 8, 13, s12, s13)                                                                                     \
	MIX(3, 4, 9, 14, s14, s15)

#define IV0 0x6a09e667
#define IV1 0xbb67ae85
#define IV2 0x3c6ef372
#define IV3 0xa54ff53a
#define IV4 0x510e527f
#define IV5 0x9b05688c
#define IV6 0x1f83d9ab
#define IV7 0x5be0cd19

/* RFC 7693 3.2. ``hashed``: bytes so far, with this block; ``last``: all ones for the final block. */
static __always_inline void blake2s_block(__u32 *h, const __u32 *m, __u32 hashed, __u32 last)
{
	__u32 v[16] = {h[0], h[1], h[2], h[3], h[4], h[5], h[6], h[7],
		       IV0,  IV1,  IV2,  IV3,  IV4 ^ hashed, IV5, IV6 ^ last, IV7};

	ROUND(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15)
	ROUND(14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3)
	ROUND(11, 8, 12, 0, 5, 2, 15, 13, 10, 14, 3, 6, 7, 1, 9, 4)
	ROUND(7, 9, 3, 1, 13, 12, 11, 14, 2, 6, 5, 10, 4, 0, 15, 8)
	ROUND(9, 0, 5, 7, 2, 4, 10, 15, 14, 1, 11, 12, 6, 8, 3, 13)
	ROUND(2, 12, 6, 10, 0, 11, 8, 3, 4, 13, 7, 5, 15, 14, 1, 9)
	ROUND(12, 5, 1, 15, 14, 13, 4, 10, 0, 7, 6, 3, 9, 2, 8, 11)
	ROUND(13, 11, 7, 14, 12, 1, 3, 9, 5, 0, 15, 4, 8, 6, 2, 10)
	ROUND(6, 15, 14, 9, 11, 3, 0, 8, 12, 2, 13, 7, 1, 4, 10, 5)
	ROUND(10, 2, 8, 4, 7, 6, 1, 5, 15, 11, 9, 14, 3, 12, 13, 0)
#pragma unroll
	for (int i = 0; i < 8; i++)
		h[i] ^= v[i] ^ v[i + 8];
}

static __always_inline int check_mac1(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct config *cfg = get_config();
	struct scratch *room = get_scratch();
	__u32 h[8] = {IV0 ^ 0x01010000 ^ SYNAPSE_KEY_SIZE << 8 ^ MAC1_SIZE, IV1, IV2, IV3, IV4, IV5, IV6, IV7};
	__u32 m[16] = {};
	__u32 blocks, difference = 0;
	__u32 *at;

	if (!cfg || !room || !parse_outer(data, end, cfg, &room->outer))
		return drop(DROP_BAD_MAC1);
	at = data + ETHERNET + (room->outer.ip_header & IP_HEADER_MASK) + UDP;
	if ((void *)(at + 1) > end)
		return drop(DROP_BAD_MAC1);
	blocks = *(__u8 *)at == 0x01 ? INITIATION_BLOCKS : RESPONSE_BLOCKS;
	__builtin_memcpy(m, cfg->mac1_key, SYNAPSE_KEY_SIZE);
	for (__u32 i = 0; i < INITIATION_BLOCKS + 1; i++) { /* the first block is the key */
		blake2s_block(h, m, (i + 1) * BLAKE2S_BLOCK, i == blocks ? 0xffffffff : 0);
		if (i == blocks)
			break;
		opaque(at);
		if ((void *)(at + 16) > end)
			return drop(DROP_BAD_MAC1);
		__builtin_memcpy(m, at, BLAKE2S_BLOCK);
		at += 16;
	}
	opaque(at);
	if ((void *)(at + 4) > end)
		return drop(DROP_BAD_MAC1);
#pragma unroll
	for (int i = 0; i < 4; i++)
		difference |= h[i] ^ at[i];
	if (difference)
		return drop(DROP_BAD_MAC1);
	return pass_to_socket(ctx, cfg, &room->outer, WAY_RX_HANDSHAKE);
}

#endif
