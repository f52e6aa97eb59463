/* SPDX-License-Identifier: Apache-2.0
 * Poly1305 (RFC 8439 section 2.5) on 64-bit products.
 *
 * The sum is kept in four limbs of weight 2^0, 2^32, 2^64 and 2^96, wider than 32 bits, and r in its four 32-bit words,
 * of which clamping has cleared the top 4 bits, and the lowest 2 of all but the first. So 2^128 * r[i] = 2^130 * r[i]/4
 * is 5 * r[i]/4 (mod 2^130 - 5) without a remainder, for i > 0: t[i] below. In units of 2^32 a limb is less than
 *   h0 3.1, h1 2, h2 2, h3 6   with a message block added (h3: 4 + 1 for the word + 1 for the 2^128 of the block)
 * and, in units of 2^60, where r is less than 1 and t less than 1.25, the widest column of the product is
 *   h0 r0 + h1 t3 + h2 t2 + h3 t1 < 3.1 + 2.5 + 2.5 + 7.5 = 15.6 < 16
 * so that no column overflows 64 bits, its carry from the column before (less than 2^32) included:
 *   x0 = h0 r0 + h1 t3 + h2 t2 + h3 t1                  h0 = low 32 bits of x0 + 5 (x3 >> 34)
 *   x1 = h0 r1 + h1 r0 + h2 t3 + h3 t2 + (x0 >> 32)     h1 = low 32 bits of x1
 *   x2 = h0 r2 + h1 r1 + h2 r0 + h3 t3 + (x1 >> 32)     h2 = low 32 bits of x2
 *   x3 = h0 r3 + h1 r2 + h2 r1 + h3 r0 + (x2 >> 32)     h3 = low 34 bits of x3
 * That is aead_poly_multiply(), generated.
 */
#ifndef SYNAPSE_AEAD_POLY_H
#define SYNAPSE_AEAD_POLY_H

#define AEAD_LOW32(x) ((__u64)(__u32)(x))

/* ``stream``: the first 32 bytes of block 0 (section 2.6). */
static __always_inline void aead_poly_start(struct aead_poly *poly, const __u64 *stream)
{
	const __u64 low = stream[0] & 0x0ffffffc0fffffffULL, high = stream[1] & 0x0ffffffc0ffffffcULL;

	poly->r[0] = low;
	poly->r[1] = low >> 32;
	poly->r[2] = high;
	poly->r[3] = high >> 32;
	for (int i = 1; i < 4; i++)
		poly->t[i] = poly->r[i] + (poly->r[i] >> 2);
	poly->s[0] = stream[2];
	poly->s[1] = stream[3];
	for (int i = 0; i < 4; i++)
		poly->h[i] = 0;
}

/* h = (h + block + 2^128) * r, one 16-byte block. */
static __always_inline void aead_poly_add(struct aead_work *work, __u64 low, __u64 high)
{
	__u64 *h = work->poly.h;

	h[0] += AEAD_LOW32(low);
	h[1] += low >> 32;
	h[2] += AEAD_LOW32(high);
	h[3] += (high >> 32) + (1ULL << 32);
	aead_poly_multiply(work);
}

/* The tag: (h mod 2^130 - 5) + s mod 2^128 (section 2.5). No branch depends on a secret. */
static __always_inline void aead_poly_finish(const struct aead_poly *poly, __u64 *tag)
{
	__u64 h0 = poly->h[0], h1 = poly->h[1], h2 = poly->h[2], h3 = poly->h[3], g0, g1, g2, g3, low, high, all;

	for (int i = 0; i < 2; i++) {
		h1 += h0 >> 32;
		h2 += h1 >> 32;
		h3 += h2 >> 32;
		h0 = AEAD_LOW32(h0) + (h3 >> 34) * 5;
		h1 = AEAD_LOW32(h1);
		h2 = AEAD_LOW32(h2);
		h3 &= (1ULL << 34) - 1;
	}
	/* h + 5 reaches 2^130 when h is not less than the prime. */
	g0 = h0 + 5;
	g1 = h1 + (g0 >> 32);
	g2 = h2 + (g1 >> 32);
	g3 = h3 + (g2 >> 32);
	all = -(g3 >> 34);
	low = (h0 + (h1 << 32)) & ~all;
	low |= (AEAD_LOW32(g0) | g1 << 32) & all;
	high = (h2 + (h3 << 32)) & ~all;
	high |= (AEAD_LOW32(g2) | g3 << 32) & all;
	tag[0] = low + poly->s[0];
	tag[1] = high + poly->s[1] + (tag[0] < low);
}

#endif
