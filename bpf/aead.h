/* SPDX-License-Identifier: Apache-2.0
 * ChaCha20-Poly1305 (RFC 8439) over a data packet, in one pass.
 *
 *   seal  | header 24 | room 16 | plaintext n    |   ->   | header 24 | ciphertext n | tag 16 |
 *   open  | header 24 | ciphertext n    | tag 16 |   ->   | header 24 | plaintext n  | tag 16 |
 *
 * The header is the associated data; the 96-bit nonce is 0x00000000 || nonce (section 2.3, little-endian). The secret
 * key is 32 bytes of a map value: nothing is precomputed. Uses about SYNAPSE_AEAD_STACK bytes of stack.
 */
#ifndef SYNAPSE_AEAD_H
#define SYNAPSE_AEAD_H

#ifndef SYNAPSE_MAX_FRAME
#define SYNAPSE_MAX_FRAME (1518 + 4) /* jumbo builds: 9216 + 14 + 4 */
#endif

#define AEAD_HEADER 24
#define AEAD_TAG 16
#define AEAD_BLOCK 64

/* Hides a value's origin: the compiler may not derive it again from what the verifier would have to relate to it. */
#define AEAD_OPAQUE(x) asm volatile("" : "+r"(x))

#include "aead_chacha.h"
#include "aead_poly.h"

/* A pointer that the compiler takes as it is: plaintext and ciphertext are then reached from one checked pointer. */
static __always_inline __u8 *aead_at(__u8 *start, __u64 offset)
{
	start += offset;
	AEAD_OPAQUE(start);
	return start;
}

/* Up to 15 last bytes: encrypted or decrypted, and the ciphertext padded with zeros for Poly1305 (section 2.8). A
 * chunk of 8, 4, 2 and 1 bytes each, if the length has that bit. Returns -1 when the packet is shorter. */
static __always_inline int aead_last(struct aead_poly *poly, const __u64 *stream, __u8 *start, __u64 rest,
				     void *data_end, const int open)
{
	const int gap = open ? 0 : AEAD_TAG;
	__u64 low = 0, high = 0, part = 0, shift = 0, key = stream[0], in, out;
	__u8 *p = start;

	if (rest & 8) {
		if ((void *)(p + gap + 8) > data_end)
			return -1;
		in = *(__u64 *)(p + gap);
		out = in ^ key;
		*(__u64 *)p = out;
		low = open ? in : out;
		key = stream[1];
	}
	p = aead_at(start, rest & 8);
	if (rest & 4) {
		if ((void *)(p + gap + 4) > data_end)
			return -1;
		in = *(__u32 *)(p + gap);
		out = (__u32)(in ^ key);
		*(__u32 *)p = out;
		part = open ? in : out;
		key >>= 32;
		shift = 32;
	}
	p = aead_at(start, rest & 12);
	if (rest & 2) {
		if ((void *)(p + gap + 2) > data_end)
			return -1;
		in = *(__u16 *)(p + gap);
		out = (__u16)(in ^ key);
		*(__u16 *)p = out;
		part |= (open ? in : out) << (shift & 63);
		key >>= 16;
		shift += 16;
	}
	p = aead_at(start, rest & 14);
	if (rest & 1) {
		if ((void *)(p + gap + 1) > data_end)
			return -1;
		in = p[gap];
		out = (__u8)(in ^ key);
		*p = out;
		part |= (open ? in : out) << (shift & 63);
	}
	if (rest & 8)
		high = part;
	else
		low = part;
	aead_poly_add(poly, low, high);
	return 0;
}

static __always_inline int aead_run(const __u8 *key, __u64 nonce, void *header, __u32 frame, void *data_end,
				    const int open, __u64 *tag)
{
	struct aead_poly poly;
	__u64 stream[8];
	__u64 length = frame, blocks, block, units, unit, at;
	const int gap = open ? 0 : AEAD_TAG;
	__u8 *p = header + AEAD_HEADER;

	AEAD_OPAQUE(length);
	if (length > SYNAPSE_MAX_FRAME || (void *)p > data_end)
		return -1;
	aead_chacha_block(key, 0, nonce, stream);
	aead_poly_start(&poly, stream);
	aead_poly_add(&poly, *(__u64 *)header, *(__u64 *)(header + 8));
	aead_poly_add(&poly, *(__u64 *)(header + 16), 0);

	/* One more than whole blocks fit: the last may be a part. Its units of 16 bytes are counted, not its bytes, so
	 * that each exit leaves the verifier with the same knowledge. */
	blocks = length / AEAD_BLOCK;
	AEAD_OPAQUE(blocks);
#pragma clang loop unroll(disable)
	for (block = 0; block <= SYNAPSE_MAX_FRAME / AEAD_BLOCK; block++) {
		units = AEAD_BLOCK / 16;
		if (block >= blocks)
			units = (length & (AEAD_BLOCK - 1)) / 16;
		aead_chacha_block(key, block + 1, nonce, stream);
#pragma clang loop unroll(disable)
		for (unit = 0; unit < AEAD_BLOCK / 16; unit++) {
			__u64 in[2], out[2];

			if (unit >= units)
				break;
			if ((void *)(p + gap + 16) > data_end)
				return -1;
			in[0] = *(__u64 *)(p + gap);
			in[1] = *(__u64 *)(p + gap + 8);
			out[0] = in[0] ^ stream[0];
			out[1] = in[1] ^ stream[1];
			*(__u64 *)p = out[0];
			*(__u64 *)(p + 8) = out[1];
			if (open)
				aead_poly_add(&poly, in[0], in[1]);
			else
				aead_poly_add(&poly, out[0], out[1]);
			for (int i = 0; i < 6; i++)
				stream[i] = stream[i + 2];
			p += 16;
		}
		if (block >= blocks)
			break;
	}
	at = length & ~15ULL;
	AEAD_OPAQUE(at);
	if (at > SYNAPSE_MAX_FRAME)
		return -1;
	p = aead_at(header + AEAD_HEADER, at);
	if (length & 15 && aead_last(&poly, stream, p, length & 15, data_end, open))
		return -1;
	aead_poly_add(&poly, AEAD_HEADER, length);
	aead_poly_finish(&poly, tag);
	return 0;
}

/* Where the tag is, or NULL when the packet ends before it does. */
static __always_inline __u64 *aead_tag(void *header, __u32 frame, void *data_end)
{
	__u64 length = frame;
	__u8 *tag;

	AEAD_OPAQUE(length);
	if (length > SYNAPSE_MAX_FRAME)
		return 0;
	tag = header + AEAD_HEADER + length;
	return (void *)(tag + AEAD_TAG) > data_end ? 0 : (__u64 *)tag;
}

/* Returns 0, or -1 when the packet is too short or the frame longer than SYNAPSE_MAX_FRAME; it may be spoilt then. */
static __always_inline int aead_seal(const __u8 *key, __u64 nonce, void *header, __u32 length, void *data_end)
{
	__u64 *at = aead_tag(header, length, data_end), tag[2];

	if (!at || aead_run(key, nonce, header, length, data_end, 0, tag))
		return -1;
	at = aead_tag(header, length, data_end);
	if (!at)
		return -1;
	at[0] = tag[0];
	at[1] = tag[1];
	return 0;
}

/* Returns 0, or -1 when the tag is wrong or as above: whatever is in the packet then must not be used. */
static __always_inline int aead_open(const __u8 *key, __u64 nonce, void *header, __u32 length, void *data_end)
{
	__u64 *at = aead_tag(header, length, data_end), tag[2], wrong;

	if (!at || aead_run(key, nonce, header, length, data_end, 1, tag))
		return -1;
	at = aead_tag(header, length, data_end);
	if (!at)
		return -1;
	wrong = (at[0] ^ tag[0]) | (at[1] ^ tag[1]); /* constant time: one decision, over all bits */
	AEAD_OPAQUE(wrong);
	return wrong ? -1 : 0;
}

#endif
