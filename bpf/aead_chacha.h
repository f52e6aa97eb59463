/* SPDX-License-Identifier: Apache-2.0
 * The ChaCha20 block function (RFC 8439 section 2.3) on 64-bit variables: sums stay dirty above bit 31. */
#ifndef SYNAPSE_AEAD_CHACHA_H
#define SYNAPSE_AEAD_CHACHA_H

#define CHACHA_ROTATE(x, n) ((((x) & 0xffffffff) * 0x100000001ULL) >> (32 - (n)))

#define CHACHA_QUARTER(a, b, c, d)                                                                                     \
	do {                                                                                                           \
		a += b; d = CHACHA_ROTATE(d ^ a, 16);                                                                  \
		c += d; b = CHACHA_ROTATE(b ^ c, 12);                                                                  \
		a += b; d = CHACHA_ROTATE(d ^ a, 8);                                                                   \
		c += d; b = CHACHA_ROTATE(b ^ c, 7);                                                                   \
	} while (0)

/* ``stream``: 64 bytes of key stream. ``key``: 32 bytes, aligned to 4. */
static __always_inline void aead_chacha_block(const __u8 *key, __u64 counter, __u64 nonce, __u64 *stream)
{
	const __u32 *k = (const __u32 *)key;
	__u64 a0 = 0x61707865, a1 = 0x3320646e, a2 = 0x79622d32, a3 = 0x6b206574;
	__u64 b0 = k[0], b1 = k[1], b2 = k[2], b3 = k[3], c0 = k[4], c1 = k[5], c2 = k[6], c3 = k[7];
	__u64 d0 = counter, d1 = 0, d2 = nonce & 0xffffffff, d3 = nonce >> 32;

#pragma clang loop unroll(disable)
	for (int i = 0; i < 10; i++) {
		CHACHA_QUARTER(a0, b0, c0, d0);
		CHACHA_QUARTER(a1, b1, c1, d1);
		CHACHA_QUARTER(a2, b2, c2, d2);
		CHACHA_QUARTER(a3, b3, c3, d3);
		CHACHA_QUARTER(a0, b1, c2, d3);
		CHACHA_QUARTER(a1, b2, c3, d0);
		CHACHA_QUARTER(a2, b3, c0, d1);
		CHACHA_QUARTER(a3, b0, c1, d2);
	}
	stream[0] = ((a0 + 0x61707865) & 0xffffffff) | (a1 + 0x3320646e) << 32;
	stream[1] = ((a2 + 0x79622d32) & 0xffffffff) | (a3 + 0x6b206574) << 32;
	stream[2] = ((b0 + k[0]) & 0xffffffff) | (b1 + k[1]) << 32;
	stream[3] = ((b2 + k[2]) & 0xffffffff) | (b3 + k[3]) << 32;
	stream[4] = ((c0 + k[4]) & 0xffffffff) | (c1 + k[5]) << 32;
	stream[5] = ((c2 + k[6]) & 0xffffffff) | (c3 + k[7]) << 32;
	stream[6] = ((d0 + counter) & 0xffffffff) | d1 << 32;
	stream[7] = ((d2 + nonce) & 0xffffffff) | (d3 + (nonce >> 32)) << 32;
}

#endif
