/* SPDX-License-Identifier: Apache-2.0
 * ChaCha20-Poly1305 (RFC 8439) over a data packet, in one pass.
 *
 *   seal  | header 24 | room 16 | plaintext n    |   ->   | header 24 | ciphertext n | tag 16 |
 *   open  | header 24 | ciphertext n    | tag 16 |   ->   | header 24 | plaintext n  | tag 16 |
 *
 * The header is the associated data; the 96-bit nonce is 0x00000000 || nonce (section 2.3, little-endian). The secret
 * key is 32 bytes of a map value, aligned to 4: nothing is precomputed per session.
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

#include "aead_state.h"
#include "aead_block.h"
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
static __always_inline int aead_last(struct aead_work *work, const __u64 *stream, __u8 *start, __u64 rest,
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
	aead_poly_add(work, low, high);
	return 0;
}

/* What follows the last whole block, 1 to 63 bytes: whole units of 16, then the rest. */
static __always_inline int aead_tail(struct aead_work *work, __u8 *start, __u64 length, void *data_end, const int open)
{
	const int gap = open ? 0 : AEAD_TAG;
	__u64 units = length / 16, unit, in[2], out[2];
	__u8 *p = start;

	AEAD_OPAQUE(units);
#pragma clang loop unroll(disable)
	for (unit = 0; unit < AEAD_BLOCK / 16 - 1; unit++) {
		if (unit >= units)
			break;
		if ((void *)(p + gap + 16) > data_end)
			return -1;
		for (int i = 0; i < 2; i++) {
			in[i] = *(__u64 *)(p + gap + 8 * i);
			out[i] = in[i] ^ work->stream[2 * unit + i];
			*(__u64 *)(p + 8 * i) = out[i];
		}
		if (open)
			aead_poly_add(work, in[0], in[1]);
		else
			aead_poly_add(work, out[0], out[1]);
		p += 16;
	}
	if (!(length & 15))
		return 0;
	return aead_last(work, work->stream + 2 * unit, aead_at(start, length & 48), length & 15, data_end, open);
}

/* The tag, in ``stream``. Returns -1 when the packet is shorter. */
static __always_inline int aead_run(struct aead_work *work, const __u8 *key, __u64 nonce, void *header, __u64 length,
				    void *data_end, const int open)
{
	const int gap = open ? 0 : AEAD_TAG;
	__u64 whole, blocks, block, rest;

	work->key = key;
	work->nonce = nonce;
	work->place = header + AEAD_HEADER;
	if ((void *)work->place > data_end)
		return -1;
	aead_chacha_start(work);

	/* Block 0 is the Poly1305 key, and the last may be a part: one loop, so one copy of the code in the caches. The
	 * verifier walks it once per block; it shall not see the length in the number of blocks, or no two exits from the
	 * loop look the same to it. */
	whole = length / AEAD_BLOCK;
	blocks = (length + AEAD_BLOCK - 1) / AEAD_BLOCK;
	AEAD_OPAQUE(whole);
	AEAD_OPAQUE(blocks);
#pragma clang loop unroll(disable)
	for (block = 0; block <= SYNAPSE_MAX_FRAME / AEAD_BLOCK + 1; block++) {
		AEAD_OPAQUE(block); /* or the compiler makes one limit of two, and the verifier walks the loop for each */
		if (block > blocks)
			break;
		work->start[12] = block;
		aead_chacha_block(work);
		if (block == 0) {
			aead_poly_start(&work->poly, work->stream);
			aead_poly_add(work, *(__u64 *)header, *(__u64 *)(header + 8));
			aead_poly_add(work, *(__u64 *)(header + 16), 0);
			continue;
		}
		if (block > whole)
			break;
		if ((void *)(work->place + gap + AEAD_BLOCK) > data_end)
			return -1;
		if (open)
			aead_absorb_open(work);
		else
			aead_absorb_seal(work);
		work->place += AEAD_BLOCK;
	}
	rest = length & (AEAD_BLOCK - 1);
	if (rest && aead_tail(work, aead_at(header + AEAD_HEADER, length - rest), rest, data_end, open))
		return -1;
	aead_poly_add(work, AEAD_HEADER, length);
	aead_poly_finish(&work->poly, work->stream);
	return 0;
}

/* Where the tag is, or NULL when the packet ends before it does. */
static __always_inline __u64 *aead_tag(void *header, __u64 length, void *data_end)
{
	__u8 *tag = aead_at(header + AEAD_HEADER, length);

	return (void *)(tag + AEAD_TAG) > data_end ? 0 : (__u64 *)tag;
}

/* Key and key stream do not stay on the stack. */
static __always_inline void aead_wipe(struct aead_work *work)
{
	__builtin_memset(work, 0, sizeof(*work));
	asm volatile("" : : "r"(work) : "memory");
}

/* Returns 0, or -1 when the packet is too short or the frame longer than SYNAPSE_MAX_FRAME; it may be spoilt then. */
static __always_inline int aead_seal(const __u8 *key, __u64 nonce, void *header, __u32 frame, void *data_end)
{
	struct aead_work work;
	__u64 length = frame, *at;
	int failed = -1;

	AEAD_OPAQUE(length);
	if (length > SYNAPSE_MAX_FRAME || !aead_tag(header, length, data_end))
		return -1;
	if (!aead_run(&work, key, nonce, header, length, data_end, 0)) {
		at = aead_tag(header, length, data_end);
		if (at) {
			at[0] = work.stream[0];
			at[1] = work.stream[1];
			failed = 0;
		}
	}
	aead_wipe(&work);
	return failed;
}

/* Returns 0, or -1 when the tag is wrong or as above: whatever is in the packet then must not be used. */
static __always_inline int aead_open(const __u8 *key, __u64 nonce, void *header, __u32 frame, void *data_end)
{
	struct aead_work work;
	__u64 length = frame, *at, wrong = 1;

	AEAD_OPAQUE(length);
	if (length > SYNAPSE_MAX_FRAME || !aead_tag(header, length, data_end))
		return -1;
	if (!aead_run(&work, key, nonce, header, length, data_end, 1)) {
		at = aead_tag(header, length, data_end);
		if (at) /* all bits decide at once: constant time */
			wrong = (at[0] ^ work.stream[0]) | (at[1] ^ work.stream[1]);
		AEAD_OPAQUE(wrong);
	}
	aead_wipe(&work);
	return wrong ? -1 : 0;
}

#endif
