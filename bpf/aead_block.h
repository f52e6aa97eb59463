/* SPDX-License-Identifier: Apache-2.0
 * Written by tools/gen_aead.py, which says why and how. Do not edit. */
#ifndef SYNAPSE_AEAD_BLOCK_H
#define SYNAPSE_AEAD_BLOCK_H

#include "aead_asm.h"

/* ``start`` of a packet, from ``key`` and ``nonce``. 88 instructions. */
static __always_inline void aead_chacha_start(struct aead_work *work)
{
	__u64 g0, g1, g2, g3, g4, g5, g6, g7, g8, g9;

	asm volatile(
		/* columns 1 to 3 of round 1, and the sums that follow from them */
		SET64(9, 0x100000001) LOAD64(8, key) SET(1, 0x3320646e) FETCH32(2, 8, 4) FETCH32(3, 8, 20) SET(4, 0)
		ADD32(1, 2) XOR32(4, 1) MUL(4, 9) SHR(4, 16) ADD32(3, 4) XOR32(2, 3) MUL(2, 9) SHR(2, 20) ADD32(1, 2)
		XOR32(4, 1) MUL(4, 9) SHR(4, 24) ADD32(3, 4) XOR32(2, 3) MUL(2, 9) SHR(2, 25) STORE32(s1, 1) STORE32(s5, 2)
		STORE32(s9, 3) STORE32(s13, 4) SET(1, 0x79622d32) FETCH32(2, 8, 8) FETCH32(3, 8, 24) LOAD32(4, n0) ADD32(1, 2)
		XOR32(4, 1) MUL(4, 9) SHR(4, 16) ADD32(3, 4) XOR32(2, 3) MUL(2, 9) SHR(2, 20) ADD32(1, 2) XOR32(4, 1)
		MUL(4, 9) SHR(4, 24) ADD32(3, 4) XOR32(2, 3) MUL(2, 9) SHR(2, 25) STORE32(s2, 1) STORE32(s6, 2)
		STORE32(s10, 3) STORE32(s14, 4) SET(1, 0x6b206574) FETCH32(2, 8, 12) FETCH32(3, 8, 28) LOAD32(4, n1)
		ADD32(1, 2) XOR32(4, 1) MUL(4, 9) SHR(4, 16) ADD32(3, 4) XOR32(2, 3) MUL(2, 9) SHR(2, 20) ADD32(1, 2)
		XOR32(4, 1) MUL(4, 9) SHR(4, 24) ADD32(3, 4) XOR32(2, 3) MUL(2, 9) SHR(2, 25) STORE32(s3, 1) STORE32(s7, 2)
		STORE32(s11, 3) STORE32(s15, 4) LOAD32(1, s1) LOAD32(2, s6) ADD32(1, 2) STORE32(s1, 1) LOAD32(1, s2)
		LOAD32(2, s7) ADD32(1, 2) STORE32(s2, 1) FETCH32(0, 8, 0) STORE32(s4, 0) ADD32_IMM(0, 0x61707865)
		STORE32(s0, 0) FETCH32(0, 8, 16) STORE32(s8, 0)
		: "=&r"(g0), "=&r"(g1), "=&r"(g2), "=&r"(g3), "=&r"(g4), "=&r"(g5), "=&r"(g6), "=&r"(g7), "=&r"(g8), "=&r"(g9),
		  [s1] "+m"(work->start[1]), [s5] "+m"(work->start[5]), [s9] "+m"(work->start[9]),
		  [s13] "+m"(work->start[13]), [s2] "+m"(work->start[2]), [s6] "+m"(work->start[6]),
		  [s10] "+m"(work->start[10]), [s14] "+m"(work->start[14]), [s3] "+m"(work->start[3]),
		  [s7] "+m"(work->start[7]), [s11] "+m"(work->start[11]), [s15] "+m"(work->start[15]),
		  [s4] "+m"(work->start[4]), [s0] "+m"(work->start[0]), [s8] "+m"(work->start[8])
		: [key] "m"(work->key), [n0] "m"(((__u32 *)&work->nonce)[0]), [n1] "m"(((__u32 *)&work->nonce)[1])
		: "memory");
}

/* ``stream``: the key stream of block start[12]. 1566 instructions. */
static __always_inline void aead_chacha_block(struct aead_work *work)
{
	__u64 g0, g1, g2, g3, g4, g5, g6, g7, g8, g9;

	asm volatile(
		/* for the rotations */
		SET64(9, 0x100000001)
		/* round 1: (0, 4, 8, 12) */
		LOAD32(0, s12) LOAD32(1, s0) XOR32(0, 1) MUL(0, 9) SHR(0, 16) LOAD32(2, s8) ADD32(2, 0) LOAD32(3, s4)
		XOR32(3, 2) MUL(3, 9) SHR(3, 20) ADD32(1, 3) XOR32(0, 1) MUL(0, 9) SHR(0, 24) ADD32(2, 0) XOR32(3, 2)
		MUL(3, 9) SHR(3, 25)
		/* round 2: (0, 5, 10, 15) */
		LOAD32(4, s5) ADD32(1, 4) LOAD32(5, s15) XOR32(5, 1) MUL(5, 9) SHR(5, 16) LOAD32(6, s10) ADD32(6, 5)
		XOR32(4, 6) MUL(4, 9) SHR(4, 20) ADD32(1, 4) XOR32(5, 1) MUL(5, 9) SHR(5, 24) ADD32(6, 5) XOR32(4, 6)
		MUL(4, 9) SHR(4, 25)
		/* round 2: (1, 6, 11, 12) */
		LOAD32(7, s1) XOR32(0, 7) MUL(0, 9) SHR(0, 16) LOAD32(8, s11) ADD32(8, 0) STORE32(x15, 5) LOAD32(5, s6)
		XOR32(5, 8) MUL(5, 9) SHR(5, 20) ADD32(7, 5) XOR32(0, 7) MUL(0, 9) SHR(0, 24) ADD32(8, 0) XOR32(5, 8)
		MUL(5, 9) SHR(5, 25)
		/* round 2: (2, 7, 8, 13) */
		STORE32(x11, 8) LOAD32(8, s13) STORE32(x10, 6) LOAD32(6, s2) XOR32(8, 6) MUL(8, 9) SHR(8, 16) ADD32(2, 8)
		STORE32(x6, 5) LOAD32(5, s7) XOR32(5, 2) MUL(5, 9) SHR(5, 20) ADD32(6, 5) XOR32(8, 6) MUL(8, 9) SHR(8, 24)
		ADD32(2, 8) XOR32(5, 2) MUL(5, 9) SHR(5, 25)
		/* round 2: (3, 4, 9, 14) */
		STORE32(x7, 5) LOAD32(5, s3) ADD32(5, 3) STORE32(x2, 6) LOAD32(6, s14) XOR32(6, 5) MUL(6, 9) SHR(6, 16)
		STORE32(x13, 8) LOAD32(8, s9) ADD32(8, 6) XOR32(3, 8) MUL(3, 9) SHR(3, 20) ADD32(5, 3) XOR32(6, 5) MUL(6, 9)
		SHR(6, 24) ADD32(8, 6) XOR32(3, 8) MUL(3, 9) SHR(3, 25)
		/* round 3: (0, 4, 8, 12) */
		ADD32(1, 3) XOR32(0, 1) MUL(0, 9) SHR(0, 16) ADD32(2, 0) XOR32(3, 2) MUL(3, 9) SHR(3, 20) ADD32(1, 3)
		XOR32(0, 1) MUL(0, 9) SHR(0, 24) ADD32(2, 0) XOR32(3, 2) MUL(3, 9) SHR(3, 25)
		/* round 3: (1, 5, 9, 13) */
		ADD32(7, 4) STORE32(x4, 3) LOAD32(3, x13) XOR32(3, 7) MUL(3, 9) SHR(3, 16) ADD32(8, 3) XOR32(4, 8) MUL(4, 9)
		SHR(4, 20) ADD32(7, 4) XOR32(3, 7) MUL(3, 9) SHR(3, 24) ADD32(8, 3) XOR32(4, 8) MUL(4, 9) SHR(4, 25)
		/* round 3: (2, 6, 10, 14) */
		STORE32(x9, 8) LOAD32(8, x2) STORE32(x8, 2) LOAD32(2, x6) ADD32(8, 2) XOR32(6, 8) MUL(6, 9) SHR(6, 16)
		STORE32(x13, 3) LOAD32(3, x10) ADD32(3, 6) XOR32(2, 3) MUL(2, 9) SHR(2, 20) ADD32(8, 2) XOR32(6, 8) MUL(6, 9)
		SHR(6, 24) ADD32(3, 6) XOR32(2, 3) MUL(2, 9) SHR(2, 25)
		/* round 3: (3, 7, 11, 15) */
		STORE32(x14, 6) LOAD32(6, x7) ADD32(5, 6) STORE32(x2, 8) LOAD32(8, x15) XOR32(8, 5) MUL(8, 9) SHR(8, 16)
		STORE32(x12, 0) LOAD32(0, x11) ADD32(0, 8) XOR32(6, 0) MUL(6, 9) SHR(6, 20) ADD32(5, 6) XOR32(8, 5) MUL(8, 9)
		SHR(8, 24) ADD32(0, 8) XOR32(6, 0) MUL(6, 9) SHR(6, 25)
		/* round 4: (0, 5, 10, 15) */
		ADD32(1, 4) XOR32(8, 1) MUL(8, 9) SHR(8, 16) ADD32(3, 8) XOR32(4, 3) MUL(4, 9) SHR(4, 20) ADD32(1, 4)
		XOR32(8, 1) MUL(8, 9) SHR(8, 24) ADD32(3, 8) XOR32(4, 3) MUL(4, 9) SHR(4, 25)
		/* round 4: (1, 6, 11, 12) */
		ADD32(7, 2) STORE32(x15, 8) LOAD32(8, x12) XOR32(8, 7) MUL(8, 9) SHR(8, 16) ADD32(0, 8) XOR32(2, 0) MUL(2, 9)
		SHR(2, 20) ADD32(7, 2) XOR32(8, 7) MUL(8, 9) SHR(8, 24) ADD32(0, 8) XOR32(2, 0) MUL(2, 9) SHR(2, 25)
		/* round 4: (2, 7, 8, 13) */
		STORE32(x11, 0) LOAD32(0, x2) ADD32(0, 6) STORE32(x10, 3) LOAD32(3, x13) XOR32(3, 0) MUL(3, 9) SHR(3, 16)
		STORE32(x6, 2) LOAD32(2, x8) ADD32(2, 3) XOR32(6, 2) MUL(6, 9) SHR(6, 20) ADD32(0, 6) XOR32(3, 0) MUL(3, 9)
		SHR(3, 24) ADD32(2, 3) XOR32(6, 2) MUL(6, 9) SHR(6, 25)
		/* round 4: (3, 4, 9, 14) */
		STORE32(x7, 6) LOAD32(6, x4) ADD32(5, 6) STORE32(x2, 0) LOAD32(0, x14) XOR32(0, 5) MUL(0, 9) SHR(0, 16)
		STORE32(x13, 3) LOAD32(3, x9) ADD32(3, 0) XOR32(6, 3) MUL(6, 9) SHR(6, 20) ADD32(5, 6) XOR32(0, 5) MUL(0, 9)
		SHR(0, 24) ADD32(3, 0) XOR32(6, 3) MUL(6, 9) SHR(6, 25)
		/* round 5: (0, 4, 8, 12) */
		ADD32(1, 6) XOR32(8, 1) MUL(8, 9) SHR(8, 16) ADD32(2, 8) XOR32(6, 2) MUL(6, 9) SHR(6, 20) ADD32(1, 6)
		XOR32(8, 1) MUL(8, 9) SHR(8, 24) ADD32(2, 8) XOR32(6, 2) MUL(6, 9) SHR(6, 25)
		/* round 5: (1, 5, 9, 13) */
		ADD32(7, 4) STORE32(x4, 6) LOAD32(6, x13) XOR32(6, 7) MUL(6, 9) SHR(6, 16) ADD32(3, 6) XOR32(4, 3) MUL(4, 9)
		SHR(4, 20) ADD32(7, 4) XOR32(6, 7) MUL(6, 9) SHR(6, 24) ADD32(3, 6) XOR32(4, 3) MUL(4, 9) SHR(4, 25)
		/* round 5: (2, 6, 10, 14) */
		STORE32(x9, 3) LOAD32(3, x2) STORE32(x8, 2) LOAD32(2, x6) ADD32(3, 2) XOR32(0, 3) MUL(0, 9) SHR(0, 16)
		STORE32(x13, 6) LOAD32(6, x10) ADD32(6, 0) XOR32(2, 6) MUL(2, 9) SHR(2, 20) ADD32(3, 2) XOR32(0, 3) MUL(0, 9)
		SHR(0, 24) ADD32(6, 0) XOR32(2, 6) MUL(2, 9) SHR(2, 25)
		/* round 5: (3, 7, 11, 15) */
		STORE32(x14, 0) LOAD32(0, x7) ADD32(5, 0) STORE32(x2, 3) LOAD32(3, x15) XOR32(3, 5) MUL(3, 9) SHR(3, 16)
		STORE32(x12, 8) LOAD32(8, x11) ADD32(8, 3) XOR32(0, 8) MUL(0, 9) SHR(0, 20) ADD32(5, 0) XOR32(3, 5) MUL(3, 9)
		SHR(3, 24) ADD32(8, 3) XOR32(0, 8) MUL(0, 9) SHR(0, 25)
		/* round 6: (0, 5, 10, 15) */
		ADD32(1, 4) XOR32(3, 1) MUL(3, 9) SHR(3, 16) ADD32(6, 3) XOR32(4, 6) MUL(4, 9) SHR(4, 20) ADD32(1, 4)
		XOR32(3, 1) MUL(3, 9) SHR(3, 24) ADD32(6, 3) XOR32(4, 6) MUL(4, 9) SHR(4, 25)
		/* round 6: (1, 6, 11, 12) */
		ADD32(7, 2) STORE32(x15, 3) LOAD32(3, x12) XOR32(3, 7) MUL(3, 9) SHR(3, 16) ADD32(8, 3) XOR32(2, 8) MUL(2, 9)
		SHR(2, 20) ADD32(7, 2) XOR32(3, 7) MUL(3, 9) SHR(3, 24) ADD32(8, 3) XOR32(2, 8) MUL(2, 9) SHR(2, 25)
		/* round 6: (2, 7, 8, 13) */
		STORE32(x11, 8) LOAD32(8, x2) ADD32(8, 0) STORE32(x10, 6) LOAD32(6, x13) XOR32(6, 8) MUL(6, 9) SHR(6, 16)
		STORE32(x6, 2) LOAD32(2, x8) ADD32(2, 6) XOR32(0, 2) MUL(0, 9) SHR(0, 20) ADD32(8, 0) XOR32(6, 8) MUL(6, 9)
		SHR(6, 24) ADD32(2, 6) XOR32(0, 2) MUL(0, 9) SHR(0, 25)
		/* round 6: (3, 4, 9, 14) */
		STORE32(x7, 0) LOAD32(0, x4) ADD32(5, 0) STORE32(x2, 8) LOAD32(8, x14) XOR32(8, 5) MUL(8, 9) SHR(8, 16)
		STORE32(x13, 6) LOAD32(6, x9) ADD32(6, 8) XOR32(0, 6) MUL(0, 9) SHR(0, 20) ADD32(5, 0) XOR32(8, 5) MUL(8, 9)
		SHR(8, 24) ADD32(6, 8) XOR32(0, 6) MUL(0, 9) SHR(0, 25)
		/* round 7: (0, 4, 8, 12) */
		ADD32(1, 0) XOR32(3, 1) MUL(3, 9) SHR(3, 16) ADD32(2, 3) XOR32(0, 2) MUL(0, 9) SHR(0, 20) ADD32(1, 0)
		XOR32(3, 1) MUL(3, 9) SHR(3, 24) ADD32(2, 3) XOR32(0, 2) MUL(0, 9) SHR(0, 25)
		/* round 7: (1, 5, 9, 13) */
		ADD32(7, 4) STORE32(x4, 0) LOAD32(0, x13) XOR32(0, 7) MUL(0, 9) SHR(0, 16) ADD32(6, 0) XOR32(4, 6) MUL(4, 9)
		SHR(4, 20) ADD32(7, 4) XOR32(0, 7) MUL(0, 9) SHR(0, 24) ADD32(6, 0) XOR32(4, 6) MUL(4, 9) SHR(4, 25)
		/* round 7: (2, 6, 10, 14) */
		STORE32(x9, 6) LOAD32(6, x2) STORE32(x8, 2) LOAD32(2, x6) ADD32(6, 2) XOR32(8, 6) MUL(8, 9) SHR(8, 16)
		STORE32(x13, 0) LOAD32(0, x10) ADD32(0, 8) XOR32(2, 0) MUL(2, 9) SHR(2, 20) ADD32(6, 2) XOR32(8, 6) MUL(8, 9)
		SHR(8, 24) ADD32(0, 8) XOR32(2, 0) MUL(2, 9) SHR(2, 25)
		/* round 7: (3, 7, 11, 15) */
		STORE32(x14, 8) LOAD32(8, x7) ADD32(5, 8) STORE32(x2, 6) LOAD32(6, x15) XOR32(6, 5) MUL(6, 9) SHR(6, 16)
		STORE32(x12, 3) LOAD32(3, x11) ADD32(3, 6) XOR32(8, 3) MUL(8, 9) SHR(8, 20) ADD32(5, 8) XOR32(6, 5) MUL(6, 9)
		SHR(6, 24) ADD32(3, 6) XOR32(8, 3) MUL(8, 9) SHR(8, 25)
		/* round 8: (0, 5, 10, 15) */
		ADD32(1, 4) XOR32(6, 1) MUL(6, 9) SHR(6, 16) ADD32(0, 6) XOR32(4, 0) MUL(4, 9) SHR(4, 20) ADD32(1, 4)
		XOR32(6, 1) MUL(6, 9) SHR(6, 24) ADD32(0, 6) XOR32(4, 0) MUL(4, 9) SHR(4, 25)
		/* round 8: (1, 6, 11, 12) */
		ADD32(7, 2) STORE32(x15, 6) LOAD32(6, x12) XOR32(6, 7) MUL(6, 9) SHR(6, 16) ADD32(3, 6) XOR32(2, 3) MUL(2, 9)
		SHR(2, 20) ADD32(7, 2) XOR32(6, 7) MUL(6, 9) SHR(6, 24) ADD32(3, 6) XOR32(2, 3) MUL(2, 9) SHR(2, 25)
		/* round 8: (2, 7, 8, 13) */
		STORE32(x11, 3) LOAD32(3, x2) ADD32(3, 8) STORE32(x10, 0) LOAD32(0, x13) XOR32(0, 3) MUL(0, 9) SHR(0, 16)
		STORE32(x6, 2) LOAD32(2, x8) ADD32(2, 0) XOR32(8, 2) MUL(8, 9) SHR(8, 20) ADD32(3, 8) XOR32(0, 3) MUL(0, 9)
		SHR(0, 24) ADD32(2, 0) XOR32(8, 2) MUL(8, 9) SHR(8, 25)
		/* round 8: (3, 4, 9, 14) */
		STORE32(x7, 8) LOAD32(8, x4) ADD32(5, 8) STORE32(x2, 3) LOAD32(3, x14) XOR32(3, 5) MUL(3, 9) SHR(3, 16)
		STORE32(x13, 0) LOAD32(0, x9) ADD32(0, 3) XOR32(8, 0) MUL(8, 9) SHR(8, 20) ADD32(5, 8) XOR32(3, 5) MUL(3, 9)
		SHR(3, 24) ADD32(0, 3) XOR32(8, 0) MUL(8, 9) SHR(8, 25)
		/* round 9: (0, 4, 8, 12) */
		ADD32(1, 8) XOR32(6, 1) MUL(6, 9) SHR(6, 16) ADD32(2, 6) XOR32(8, 2) MUL(8, 9) SHR(8, 20) ADD32(1, 8)
		XOR32(6, 1) MUL(6, 9) SHR(6, 24) ADD32(2, 6) XOR32(8, 2) MUL(8, 9) SHR(8, 25)
		/* round 9: (1, 5, 9, 13) */
		ADD32(7, 4) STORE32(x4, 8) LOAD32(8, x13) XOR32(8, 7) MUL(8, 9) SHR(8, 16) ADD32(0, 8) XOR32(4, 0) MUL(4, 9)
		SHR(4, 20) ADD32(7, 4) XOR32(8, 7) MUL(8, 9) SHR(8, 24) ADD32(0, 8) XOR32(4, 0) MUL(4, 9) SHR(4, 25)
		/* round 9: (2, 6, 10, 14) */
		STORE32(x9, 0) LOAD32(0, x2) STORE32(x8, 2) LOAD32(2, x6) ADD32(0, 2) XOR32(3, 0) MUL(3, 9) SHR(3, 16)
		STORE32(x13, 8) LOAD32(8, x10) ADD32(8, 3) XOR32(2, 8) MUL(2, 9) SHR(2, 20) ADD32(0, 2) XOR32(3, 0) MUL(3, 9)
		SHR(3, 24) ADD32(8, 3) XOR32(2, 8) MUL(2, 9) SHR(2, 25)
		/* round 9: (3, 7, 11, 15) */
		STORE32(x14, 3) LOAD32(3, x7) ADD32(5, 3) STORE32(x2, 0) LOAD32(0, x15) XOR32(0, 5) MUL(0, 9) SHR(0, 16)
		STORE32(x12, 6) LOAD32(6, x11) ADD32(6, 0) XOR32(3, 6) MUL(3, 9) SHR(3, 20) ADD32(5, 3) XOR32(0, 5) MUL(0, 9)
		SHR(0, 24) ADD32(6, 0) XOR32(3, 6) MUL(3, 9) SHR(3, 25)
		/* round 10: (0, 5, 10, 15) */
		ADD32(1, 4) XOR32(0, 1) MUL(0, 9) SHR(0, 16) ADD32(8, 0) XOR32(4, 8) MUL(4, 9) SHR(4, 20) ADD32(1, 4)
		XOR32(0, 1) MUL(0, 9) SHR(0, 24) ADD32(8, 0) XOR32(4, 8) MUL(4, 9) SHR(4, 25)
		/* round 10: (1, 6, 11, 12) */
		ADD32(7, 2) STORE32(x15, 0) LOAD32(0, x12) XOR32(0, 7) MUL(0, 9) SHR(0, 16) ADD32(6, 0) XOR32(2, 6) MUL(2, 9)
		SHR(2, 20) ADD32(7, 2) XOR32(0, 7) MUL(0, 9) SHR(0, 24) ADD32(6, 0) XOR32(2, 6) MUL(2, 9) SHR(2, 25)
		/* round 10: (2, 7, 8, 13) */
		STORE32(x11, 6) LOAD32(6, x2) ADD32(6, 3) STORE32(x10, 8) LOAD32(8, x13) XOR32(8, 6) MUL(8, 9) SHR(8, 16)
		STORE32(x6, 2) LOAD32(2, x8) ADD32(2, 8) XOR32(3, 2) MUL(3, 9) SHR(3, 20) ADD32(6, 3) XOR32(8, 6) MUL(8, 9)
		SHR(8, 24) ADD32(2, 8) XOR32(3, 2) MUL(3, 9) SHR(3, 25)
		/* round 10: (3, 4, 9, 14) */
		STORE32(x7, 3) LOAD32(3, x4) ADD32(5, 3) STORE32(x2, 6) LOAD32(6, x14) XOR32(6, 5) MUL(6, 9) SHR(6, 16)
		STORE32(x13, 8) LOAD32(8, x9) ADD32(8, 6) XOR32(3, 8) MUL(3, 9) SHR(3, 20) ADD32(5, 3) XOR32(6, 5) MUL(6, 9)
		SHR(6, 24) ADD32(8, 6) XOR32(3, 8) MUL(3, 9) SHR(3, 25)
		/* round 11: (0, 4, 8, 12) */
		ADD32(1, 3) XOR32(0, 1) MUL(0, 9) SHR(0, 16) ADD32(2, 0) XOR32(3, 2) MUL(3, 9) SHR(3, 20) ADD32(1, 3)
		XOR32(0, 1) MUL(0, 9) SHR(0, 24) ADD32(2, 0) XOR32(3, 2) MUL(3, 9) SHR(3, 25)
		/* round 11: (1, 5, 9, 13) */
		ADD32(7, 4) STORE32(x4, 3) LOAD32(3, x13) XOR32(3, 7) MUL(3, 9) SHR(3, 16) ADD32(8, 3) XOR32(4, 8) MUL(4, 9)
		SHR(4, 20) ADD32(7, 4) XOR32(3, 7) MUL(3, 9) SHR(3, 24) ADD32(8, 3) XOR32(4, 8) MUL(4, 9) SHR(4, 25)
		/* round 11: (2, 6, 10, 14) */
		STORE32(x9, 8) LOAD32(8, x2) STORE32(x8, 2) LOAD32(2, x6) ADD32(8, 2) XOR32(6, 8) MUL(6, 9) SHR(6, 16)
		STORE32(x13, 3) LOAD32(3, x10) ADD32(3, 6) XOR32(2, 3) MUL(2, 9) SHR(2, 20) ADD32(8, 2) XOR32(6, 8) MUL(6, 9)
		SHR(6, 24) ADD32(3, 6) XOR32(2, 3) MUL(2, 9) SHR(2, 25)
		/* round 11: (3, 7, 11, 15) */
		STORE32(x14, 6) LOAD32(6, x7) ADD32(5, 6) STORE32(x2, 8) LOAD32(8, x15) XOR32(8, 5) MUL(8, 9) SHR(8, 16)
		STORE32(x12, 0) LOAD32(0, x11) ADD32(0, 8) XOR32(6, 0) MUL(6, 9) SHR(6, 20) ADD32(5, 6) XOR32(8, 5) MUL(8, 9)
		SHR(8, 24) ADD32(0, 8) XOR32(6, 0) MUL(6, 9) SHR(6, 25)
		/* round 12: (0, 5, 10, 15) */
		ADD32(1, 4) XOR32(8, 1) MUL(8, 9) SHR(8, 16) ADD32(3, 8) XOR32(4, 3) MUL(4, 9) SHR(4, 20) ADD32(1, 4)
		XOR32(8, 1) MUL(8, 9) SHR(8, 24) ADD32(3, 8) XOR32(4, 3) MUL(4, 9) SHR(4, 25)
		/* round 12: (1, 6, 11, 12) */
		ADD32(7, 2) STORE32(x15, 8) LOAD32(8, x12) XOR32(8, 7) MUL(8, 9) SHR(8, 16) ADD32(0, 8) XOR32(2, 0) MUL(2, 9)
		SHR(2, 20) ADD32(7, 2) XOR32(8, 7) MUL(8, 9) SHR(8, 24) ADD32(0, 8) XOR32(2, 0) MUL(2, 9) SHR(2, 25)
		/* round 12: (2, 7, 8, 13) */
		STORE32(x11, 0) LOAD32(0, x2) ADD32(0, 6) STORE32(x10, 3) LOAD32(3, x13) XOR32(3, 0) MUL(3, 9) SHR(3, 16)
		STORE32(x6, 2) LOAD32(2, x8) ADD32(2, 3) XOR32(6, 2) MUL(6, 9) SHR(6, 20) ADD32(0, 6) XOR32(3, 0) MUL(3, 9)
		SHR(3, 24) ADD32(2, 3) XOR32(6, 2) MUL(6, 9) SHR(6, 25)
		/* round 12: (3, 4, 9, 14) */
		STORE32(x7, 6) LOAD32(6, x4) ADD32(5, 6) STORE32(x2, 0) LOAD32(0, x14) XOR32(0, 5) MUL(0, 9) SHR(0, 16)
		STORE32(x13, 3) LOAD32(3, x9) ADD32(3, 0) XOR32(6, 3) MUL(6, 9) SHR(6, 20) ADD32(5, 6) XOR32(0, 5) MUL(0, 9)
		SHR(0, 24) ADD32(3, 0) XOR32(6, 3) MUL(6, 9) SHR(6, 25)
		/* round 13: (0, 4, 8, 12) */
		ADD32(1, 6) XOR32(8, 1) MUL(8, 9) SHR(8, 16) ADD32(2, 8) XOR32(6, 2) MUL(6, 9) SHR(6, 20) ADD32(1, 6)
		XOR32(8, 1) MUL(8, 9) SHR(8, 24) ADD32(2, 8) XOR32(6, 2) MUL(6, 9) SHR(6, 25)
		/* round 13: (1, 5, 9, 13) */
		ADD32(7, 4) STORE32(x4, 6) LOAD32(6, x13) XOR32(6, 7) MUL(6, 9) SHR(6, 16) ADD32(3, 6) XOR32(4, 3) MUL(4, 9)
		SHR(4, 20) ADD32(7, 4) XOR32(6, 7) MUL(6, 9) SHR(6, 24) ADD32(3, 6) XOR32(4, 3) MUL(4, 9) SHR(4, 25)
		/* round 13: (2, 6, 10, 14) */
		STORE32(x9, 3) LOAD32(3, x2) STORE32(x8, 2) LOAD32(2, x6) ADD32(3, 2) XOR32(0, 3) MUL(0, 9) SHR(0, 16)
		STORE32(x13, 6) LOAD32(6, x10) ADD32(6, 0) XOR32(2, 6) MUL(2, 9) SHR(2, 20) ADD32(3, 2) XOR32(0, 3) MUL(0, 9)
		SHR(0, 24) ADD32(6, 0) XOR32(2, 6) MUL(2, 9) SHR(2, 25)
		/* round 13: (3, 7, 11, 15) */
		STORE32(x14, 0) LOAD32(0, x7) ADD32(5, 0) STORE32(x2, 3) LOAD32(3, x15) XOR32(3, 5) MUL(3, 9) SHR(3, 16)
		STORE32(x12, 8) LOAD32(8, x11) ADD32(8, 3) XOR32(0, 8) MUL(0, 9) SHR(0, 20) ADD32(5, 0) XOR32(3, 5) MUL(3, 9)
		SHR(3, 24) ADD32(8, 3) XOR32(0, 8) MUL(0, 9) SHR(0, 25)
		/* round 14: (0, 5, 10, 15) */
		ADD32(1, 4) XOR32(3, 1) MUL(3, 9) SHR(3, 16) ADD32(6, 3) XOR32(4, 6) MUL(4, 9) SHR(4, 20) ADD32(1, 4)
		XOR32(3, 1) MUL(3, 9) SHR(3, 24) ADD32(6, 3) XOR32(4, 6) MUL(4, 9) SHR(4, 25)
		/* round 14: (1, 6, 11, 12) */
		ADD32(7, 2) STORE32(x15, 3) LOAD32(3, x12) XOR32(3, 7) MUL(3, 9) SHR(3, 16) ADD32(8, 3) XOR32(2, 8) MUL(2, 9)
		SHR(2, 20) ADD32(7, 2) XOR32(3, 7) MUL(3, 9) SHR(3, 24) ADD32(8, 3) XOR32(2, 8) MUL(2, 9) SHR(2, 25)
		/* round 14: (2, 7, 8, 13) */
		STORE32(x11, 8) LOAD32(8, x2) ADD32(8, 0) STORE32(x10, 6) LOAD32(6, x13) XOR32(6, 8) MUL(6, 9) SHR(6, 16)
		STORE32(x6, 2) LOAD32(2, x8) ADD32(2, 6) XOR32(0, 2) MUL(0, 9) SHR(0, 20) ADD32(8, 0) XOR32(6, 8) MUL(6, 9)
		SHR(6, 24) ADD32(2, 6) XOR32(0, 2) MUL(0, 9) SHR(0, 25)
		/* round 14: (3, 4, 9, 14) */
		STORE32(x7, 0) LOAD32(0, x4) ADD32(5, 0) STORE32(x2, 8) LOAD32(8, x14) XOR32(8, 5) MUL(8, 9) SHR(8, 16)
		STORE32(x13, 6) LOAD32(6, x9) ADD32(6, 8) XOR32(0, 6) MUL(0, 9) SHR(0, 20) ADD32(5, 0) XOR32(8, 5) MUL(8, 9)
		SHR(8, 24) ADD32(6, 8) XOR32(0, 6) MUL(0, 9) SHR(0, 25)
		/* round 15: (0, 4, 8, 12) */
		ADD32(1, 0) XOR32(3, 1) MUL(3, 9) SHR(3, 16) ADD32(2, 3) XOR32(0, 2) MUL(0, 9) SHR(0, 20) ADD32(1, 0)
		XOR32(3, 1) MUL(3, 9) SHR(3, 24) ADD32(2, 3) XOR32(0, 2) MUL(0, 9) SHR(0, 25)
		/* round 15: (1, 5, 9, 13) */
		ADD32(7, 4) STORE32(x4, 0) LOAD32(0, x13) XOR32(0, 7) MUL(0, 9) SHR(0, 16) ADD32(6, 0) XOR32(4, 6) MUL(4, 9)
		SHR(4, 20) ADD32(7, 4) XOR32(0, 7) MUL(0, 9) SHR(0, 24) ADD32(6, 0) XOR32(4, 6) MUL(4, 9) SHR(4, 25)
		/* round 15: (2, 6, 10, 14) */
		STORE32(x9, 6) LOAD32(6, x2) STORE32(x8, 2) LOAD32(2, x6) ADD32(6, 2) XOR32(8, 6) MUL(8, 9) SHR(8, 16)
		STORE32(x13, 0) LOAD32(0, x10) ADD32(0, 8) XOR32(2, 0) MUL(2, 9) SHR(2, 20) ADD32(6, 2) XOR32(8, 6) MUL(8, 9)
		SHR(8, 24) ADD32(0, 8) XOR32(2, 0) MUL(2, 9) SHR(2, 25)
		/* round 15: (3, 7, 11, 15) */
		STORE32(x14, 8) LOAD32(8, x7) ADD32(5, 8) STORE32(x2, 6) LOAD32(6, x15) XOR32(6, 5) MUL(6, 9) SHR(6, 16)
		STORE32(x12, 3) LOAD32(3, x11) ADD32(3, 6) XOR32(8, 3) MUL(8, 9) SHR(8, 20) ADD32(5, 8) XOR32(6, 5) MUL(6, 9)
		SHR(6, 24) ADD32(3, 6) XOR32(8, 3) MUL(8, 9) SHR(8, 25)
		/* round 16: (0, 5, 10, 15) */
		ADD32(1, 4) XOR32(6, 1) MUL(6, 9) SHR(6, 16) ADD32(0, 6) XOR32(4, 0) MUL(4, 9) SHR(4, 20) ADD32(1, 4)
		XOR32(6, 1) MUL(6, 9) SHR(6, 24) ADD32(0, 6) XOR32(4, 0) MUL(4, 9) SHR(4, 25)
		/* round 16: (1, 6, 11, 12) */
		ADD32(7, 2) STORE32(x15, 6) LOAD32(6, x12) XOR32(6, 7) MUL(6, 9) SHR(6, 16) ADD32(3, 6) XOR32(2, 3) MUL(2, 9)
		SHR(2, 20) ADD32(7, 2) XOR32(6, 7) MUL(6, 9) SHR(6, 24) ADD32(3, 6) XOR32(2, 3) MUL(2, 9) SHR(2, 25)
		/* round 16: (2, 7, 8, 13) */
		STORE32(x11, 3) LOAD32(3, x2) ADD32(3, 8) STORE32(x10, 0) LOAD32(0, x13) XOR32(0, 3) MUL(0, 9) SHR(0, 16)
		STORE32(x6, 2) LOAD32(2, x8) ADD32(2, 0) XOR32(8, 2) MUL(8, 9) SHR(8, 20) ADD32(3, 8) XOR32(0, 3) MUL(0, 9)
		SHR(0, 24) ADD32(2, 0) XOR32(8, 2) MUL(8, 9) SHR(8, 25)
		/* round 16: (3, 4, 9, 14) */
		STORE32(x7, 8) LOAD32(8, x4) ADD32(5, 8) STORE32(x2, 3) LOAD32(3, x14) XOR32(3, 5) MUL(3, 9) SHR(3, 16)
		STORE32(x13, 0) LOAD32(0, x9) ADD32(0, 3) XOR32(8, 0) MUL(8, 9) SHR(8, 20) ADD32(5, 8) XOR32(3, 5) MUL(3, 9)
		SHR(3, 24) ADD32(0, 3) XOR32(8, 0) MUL(8, 9) SHR(8, 25)
		/* round 17: (0, 4, 8, 12) */
		ADD32(1, 8) XOR32(6, 1) MUL(6, 9) SHR(6, 16) ADD32(2, 6) XOR32(8, 2) MUL(8, 9) SHR(8, 20) ADD32(1, 8)
		XOR32(6, 1) MUL(6, 9) SHR(6, 24) ADD32(2, 6) XOR32(8, 2) MUL(8, 9) SHR(8, 25)
		/* round 17: (1, 5, 9, 13) */
		ADD32(7, 4) STORE32(x4, 8) LOAD32(8, x13) XOR32(8, 7) MUL(8, 9) SHR(8, 16) ADD32(0, 8) XOR32(4, 0) MUL(4, 9)
		SHR(4, 20) ADD32(7, 4) XOR32(8, 7) MUL(8, 9) SHR(8, 24) ADD32(0, 8) XOR32(4, 0) MUL(4, 9) SHR(4, 25)
		/* round 17: (2, 6, 10, 14) */
		STORE32(x9, 0) LOAD32(0, x2) STORE32(x8, 2) LOAD32(2, x6) ADD32(0, 2) XOR32(3, 0) MUL(3, 9) SHR(3, 16)
		STORE32(x13, 8) LOAD32(8, x10) ADD32(8, 3) XOR32(2, 8) MUL(2, 9) SHR(2, 20) ADD32(0, 2) XOR32(3, 0) MUL(3, 9)
		SHR(3, 24) ADD32(8, 3) XOR32(2, 8) MUL(2, 9) SHR(2, 25)
		/* round 17: (3, 7, 11, 15) */
		STORE32(x14, 3) LOAD32(3, x7) ADD32(5, 3) STORE32(x2, 0) LOAD32(0, x15) XOR32(0, 5) MUL(0, 9) SHR(0, 16)
		STORE32(x12, 6) LOAD32(6, x11) ADD32(6, 0) XOR32(3, 6) MUL(3, 9) SHR(3, 20) ADD32(5, 3) XOR32(0, 5) MUL(0, 9)
		SHR(0, 24) ADD32(6, 0) XOR32(3, 6) MUL(3, 9) SHR(3, 25)
		/* round 18: (0, 5, 10, 15) */
		ADD32(1, 4) XOR32(0, 1) MUL(0, 9) SHR(0, 16) ADD32(8, 0) XOR32(4, 8) MUL(4, 9) SHR(4, 20) ADD32(1, 4)
		XOR32(0, 1) MUL(0, 9) SHR(0, 24) ADD32(8, 0) XOR32(4, 8) MUL(4, 9) SHR(4, 25)
		/* round 18: (1, 6, 11, 12) */
		ADD32(7, 2) STORE32(x15, 0) LOAD32(0, x12) XOR32(0, 7) MUL(0, 9) SHR(0, 16) ADD32(6, 0) XOR32(2, 6) MUL(2, 9)
		SHR(2, 20) ADD32(7, 2) XOR32(0, 7) MUL(0, 9) SHR(0, 24) ADD32(6, 0) XOR32(2, 6) MUL(2, 9) SHR(2, 25)
		/* round 18: (2, 7, 8, 13) */
		STORE32(x11, 6) LOAD32(6, x2) ADD32(6, 3) STORE32(x10, 8) LOAD32(8, x13) XOR32(8, 6) MUL(8, 9) SHR(8, 16)
		STORE32(x6, 2) LOAD32(2, x8) ADD32(2, 8) XOR32(3, 2) MUL(3, 9) SHR(3, 20) ADD32(6, 3) XOR32(8, 6) MUL(8, 9)
		SHR(8, 24) ADD32(2, 8) XOR32(3, 2) MUL(3, 9) SHR(3, 25)
		/* round 18: (3, 4, 9, 14) */
		STORE32(x7, 3) LOAD32(3, x4) ADD32(5, 3) STORE32(x2, 6) LOAD32(6, x14) XOR32(6, 5) MUL(6, 9) SHR(6, 16)
		STORE32(x13, 8) LOAD32(8, x9) ADD32(8, 6) XOR32(3, 8) MUL(3, 9) SHR(3, 20) ADD32(5, 3) XOR32(6, 5) MUL(6, 9)
		SHR(6, 24) ADD32(8, 6) XOR32(3, 8) MUL(3, 9) SHR(3, 25)
		/* round 19: (0, 4, 8, 12) */
		ADD32(1, 3) XOR32(0, 1) MUL(0, 9) SHR(0, 16) ADD32(2, 0) XOR32(3, 2) MUL(3, 9) SHR(3, 20) ADD32(1, 3)
		XOR32(0, 1) MUL(0, 9) SHR(0, 24) ADD32(2, 0) XOR32(3, 2) MUL(3, 9) SHR(3, 25)
		/* round 19: (1, 5, 9, 13) */
		ADD32(7, 4) STORE32(x4, 3) LOAD32(3, x13) XOR32(3, 7) MUL(3, 9) SHR(3, 16) ADD32(8, 3) XOR32(4, 8) MUL(4, 9)
		SHR(4, 20) ADD32(7, 4) XOR32(3, 7) MUL(3, 9) SHR(3, 24) ADD32(8, 3) XOR32(4, 8) MUL(4, 9) SHR(4, 25)
		/* round 19: (2, 6, 10, 14) */
		STORE32(x9, 8) LOAD32(8, x2) STORE32(x8, 2) LOAD32(2, x6) ADD32(8, 2) XOR32(6, 8) MUL(6, 9) SHR(6, 16)
		STORE32(x13, 3) LOAD32(3, x10) ADD32(3, 6) XOR32(2, 3) MUL(2, 9) SHR(2, 20) ADD32(8, 2) XOR32(6, 8) MUL(6, 9)
		SHR(6, 24) ADD32(3, 6) XOR32(2, 3) MUL(2, 9) SHR(2, 25)
		/* round 19: (3, 7, 11, 15) */
		STORE32(x14, 6) LOAD32(6, x7) ADD32(5, 6) STORE32(x2, 8) LOAD32(8, x15) XOR32(8, 5) MUL(8, 9) SHR(8, 16)
		STORE32(x12, 0) LOAD32(0, x11) ADD32(0, 8) XOR32(6, 0) MUL(6, 9) SHR(6, 20) ADD32(5, 6) XOR32(8, 5) MUL(8, 9)
		SHR(8, 24) ADD32(0, 8) XOR32(6, 0) MUL(6, 9) SHR(6, 25)
		/* round 20: (0, 5, 10, 15) */
		ADD32(1, 4) XOR32(8, 1) MUL(8, 9) SHR(8, 16) ADD32(3, 8) XOR32(4, 3) MUL(4, 9) SHR(4, 20) ADD32(1, 4)
		XOR32(8, 1) MUL(8, 9) SHR(8, 24) ADD32(3, 8) XOR32(4, 3) MUL(4, 9) SHR(4, 25)
		/* round 20: (1, 6, 11, 12) */
		ADD32(7, 2) STORE32(x0, 1) LOAD32(1, x12) XOR32(1, 7) MUL(1, 9) SHR(1, 16) ADD32(0, 1) XOR32(2, 0) MUL(2, 9)
		SHR(2, 20) ADD32(7, 2) XOR32(1, 7) MUL(1, 9) SHR(1, 24) ADD32(0, 1) XOR32(2, 0) MUL(2, 9) SHR(2, 25)
		/* round 20: (2, 7, 8, 13) */
		STORE32(x5, 4) LOAD32(4, x2) ADD32(4, 6) STORE32(x1, 7) LOAD32(7, x13) XOR32(7, 4) MUL(7, 9) SHR(7, 16)
		STORE32(x6, 2) LOAD32(2, x8) ADD32(2, 7) XOR32(6, 2) MUL(6, 9) SHR(6, 20) ADD32(4, 6) XOR32(7, 4) MUL(7, 9)
		SHR(7, 24) ADD32(2, 7) XOR32(6, 2) MUL(6, 9) SHR(6, 25)
		/* round 20: (3, 4, 9, 14) */
		STORE32(x10, 3) LOAD32(3, x4) ADD32(5, 3) STORE32(x7, 6) LOAD32(6, x14) XOR32(6, 5) MUL(6, 9) SHR(6, 16)
		STORE32(x15, 8) LOAD32(8, x9) ADD32(8, 6) XOR32(3, 8) MUL(3, 9) SHR(3, 20) ADD32(5, 3) XOR32(6, 5) MUL(6, 9)
		SHR(6, 24) ADD32(8, 6) XOR32(3, 8) MUL(3, 9) SHR(3, 25)
		/* the sums with the first state, two words at a time */
		STORE32(x11, 0) LOAD64(0, key) ADD32_IMM(4, 0x79622d32) ADD32_IMM(5, 0x6b206574) SHL(5, 32) OR(4, 5)
		STORE64(y1, 4) FETCH32(9, 0, 16) ADD32(2, 9) FETCH32(9, 0, 20) ADD32(8, 9) SHL(8, 32) OR(2, 8) STORE64(y4, 2)
		LOAD32(9, s12) ADD32(1, 9) MOV32(7, 7) SHL(7, 32) OR(1, 7) STORE64(y6, 1) LOAD32(4, x5) FETCH32(9, 0, 0)
		ADD32(3, 9) FETCH32(9, 0, 4) ADD32(4, 9) SHL(4, 32) OR(3, 4) STORE64(y2, 3) LOAD32(5, x15) LOAD32(9, n0)
		ADD32(6, 9) LOAD32(9, n1) ADD32(5, 9) SHL(5, 32) OR(6, 5) STORE64(y7, 6) LOAD32(2, x0) LOAD32(8, x1)
		ADD32_IMM(2, 0x61707865) ADD32_IMM(8, 0x3320646e) SHL(8, 32) OR(2, 8) STORE64(y0, 2) LOAD32(1, x6)
		LOAD32(7, x7) FETCH32(9, 0, 8) ADD32(1, 9) FETCH32(9, 0, 12) ADD32(7, 9) SHL(7, 32) OR(1, 7) STORE64(y3, 1)
		LOAD32(3, x10) LOAD32(4, x11) FETCH32(9, 0, 24) ADD32(3, 9) FETCH32(9, 0, 28) ADD32(4, 9) SHL(4, 32) OR(3, 4)
		STORE64(y5, 3)
		: "=&r"(g0), "=&r"(g1), "=&r"(g2), "=&r"(g3), "=&r"(g4), "=&r"(g5), "=&r"(g6), "=&r"(g7), "=&r"(g8), "=&r"(g9),
		  [x15] "+m"(((__u32 *)work->stream)[15]), [x11] "+m"(((__u32 *)work->stream)[11]),
		  [x10] "+m"(((__u32 *)work->stream)[10]), [x6] "+m"(((__u32 *)work->stream)[6]),
		  [x7] "+m"(((__u32 *)work->stream)[7]), [x2] "+m"(((__u32 *)work->stream)[2]),
		  [x13] "+m"(((__u32 *)work->stream)[13]), [x4] "+m"(((__u32 *)work->stream)[4]),
		  [x9] "+m"(((__u32 *)work->stream)[9]), [x8] "+m"(((__u32 *)work->stream)[8]),
		  [x14] "+m"(((__u32 *)work->stream)[14]), [x12] "+m"(((__u32 *)work->stream)[12]),
		  [x0] "+m"(((__u32 *)work->stream)[0]), [x5] "+m"(((__u32 *)work->stream)[5]),
		  [x1] "+m"(((__u32 *)work->stream)[1]), [y1] "+m"(work->stream[1]), [y4] "+m"(work->stream[4]),
		  [y6] "+m"(work->stream[6]), [y2] "+m"(work->stream[2]), [y7] "+m"(work->stream[7]),
		  [y0] "+m"(work->stream[0]), [y3] "+m"(work->stream[3]), [y5] "+m"(work->stream[5])
		: [s12] "m"(work->start[12]), [s0] "m"(work->start[0]), [s8] "m"(work->start[8]),
		  [s4] "m"(work->start[4]), [s5] "m"(work->start[5]), [s15] "m"(work->start[15]),
		  [s10] "m"(work->start[10]), [s1] "m"(work->start[1]), [s11] "m"(work->start[11]),
		  [s6] "m"(work->start[6]), [s13] "m"(work->start[13]), [s2] "m"(work->start[2]),
		  [s7] "m"(work->start[7]), [s3] "m"(work->start[3]), [s14] "m"(work->start[14]),
		  [s9] "m"(work->start[9]), [key] "m"(work->key), [n0] "m"(((__u32 *)&work->nonce)[0]),
		  [n1] "m"(((__u32 *)&work->nonce)[1])
		: "memory");
}

/* h times r into h. 70 instructions. */
static __always_inline void aead_poly_multiply(struct aead_work *work)
{
	__u64 g0, g1, g2, g3, g4, g5, g6, g7, g8, g9;

	asm volatile(
		/* the sum so far */
		LOAD64(0, h0) LOAD64(1, h1) LOAD64(2, h2) LOAD64(3, h3) LOAD32(4, t3) MUL(4, 1) LOAD32(5, r0) MUL(5, 1)
		LOAD32(6, r1) MUL(6, 1) LOAD32(7, r2) MUL(7, 1) LOAD32(8, t2) MUL(8, 2) ADD(4, 8) LOAD32(8, t3) MUL(8, 2)
		ADD(5, 8) LOAD32(8, r0) MUL(8, 2) ADD(6, 8) LOAD32(8, r1) MUL(8, 2) ADD(7, 8) LOAD32(8, t1) MUL(8, 3)
		ADD(4, 8) LOAD32(8, t2) MUL(8, 3) ADD(5, 8) LOAD32(8, t3) MUL(8, 3) ADD(6, 8) LOAD32(8, r0) MUL(8, 3)
		ADD(7, 8) LOAD32(8, r0) MUL(8, 0) ADD(4, 8) LOAD32(8, r1) MUL(8, 0) ADD(5, 8) LOAD32(8, r2) MUL(8, 0)
		ADD(6, 8) LOAD32(8, r3) MUL(8, 0) ADD(7, 8) MOV(8, 4) SHR(8, 32) ADD(5, 8) MOV(8, 5) SHR(8, 32) ADD(6, 8)
		MOV(8, 6) SHR(8, 32) ADD(7, 8) MOV32(0, 4) MOV32(1, 5) MOV32(2, 6) SET64(3, 0x3ffffffff) AND(3, 7) SHR(7, 34)
		ADD(0, 7) SHL(7, 2) ADD(0, 7)
		/* the new sum */
		STORE64(h0, 0) STORE64(h1, 1) STORE64(h2, 2) STORE64(h3, 3)
		: "=&r"(g0), "=&r"(g1), "=&r"(g2), "=&r"(g3), "=&r"(g4), "=&r"(g5), "=&r"(g6), "=&r"(g7), "=&r"(g8), "=&r"(g9),
		  [h0] "+m"(work->poly.h[0]), [h1] "+m"(work->poly.h[1]), [h2] "+m"(work->poly.h[2]),
		  [h3] "+m"(work->poly.h[3])
		: [t3] "m"(work->poly.t[3]), [r0] "m"(work->poly.r[0]), [r1] "m"(work->poly.r[1]),
		  [r2] "m"(work->poly.r[2]), [t2] "m"(work->poly.t[2]), [t1] "m"(work->poly.t[1]),
		  [r3] "m"(work->poly.r[3])
		: "memory");
}

/* 64 bytes at ``place`` + 16 encrypted to ``place``, and from there into the Poly1305 sum. 329 instructions. */
static __always_inline void aead_absorb_seal(struct aead_work *work)
{
	__u64 g0, g1, g2, g3, g4, g5, g6, g7, g8, g9;

	asm volatile(
		/* the sum so far */
		LOAD64(0, h0) LOAD64(1, h1) LOAD64(2, h2) LOAD64(3, h3) LOAD64(9, place)
		/* bytes 0 to 15 */
		LOAD64(4, y0) FETCH64(5, 9, 16) XOR(5, 4) PUT64(9, 0, 5) LOAD64(4, y1) FETCH64(5, 9, 24) XOR(5, 4)
		PUT64(9, 8, 5) FETCH32(8, 9, 0) ADD(0, 8) FETCH32(8, 9, 4) ADD(1, 8) FETCH32(8, 9, 8) ADD(2, 8)
		FETCH32(8, 9, 12) SET64(4, 0x100000000) ADD(8, 4) ADD(3, 8) LOAD32(4, t3) MUL(4, 1) LOAD32(5, r0) MUL(5, 1)
		LOAD32(6, r1) MUL(6, 1) LOAD32(7, r2) MUL(7, 1) LOAD32(8, t2) MUL(8, 2) ADD(4, 8) LOAD32(8, t3) MUL(8, 2)
		ADD(5, 8) LOAD32(8, r0) MUL(8, 2) ADD(6, 8) LOAD32(8, r1) MUL(8, 2) ADD(7, 8) LOAD32(8, t1) MUL(8, 3)
		ADD(4, 8) LOAD32(8, t2) MUL(8, 3) ADD(5, 8) LOAD32(8, t3) MUL(8, 3) ADD(6, 8) LOAD32(8, r0) MUL(8, 3)
		ADD(7, 8) LOAD32(8, r0) MUL(8, 0) ADD(4, 8) LOAD32(8, r1) MUL(8, 0) ADD(5, 8) LOAD32(8, r2) MUL(8, 0)
		ADD(6, 8) LOAD32(8, r3) MUL(8, 0) ADD(7, 8) MOV(8, 4) SHR(8, 32) ADD(5, 8) MOV(8, 5) SHR(8, 32) ADD(6, 8)
		MOV(8, 6) SHR(8, 32) ADD(7, 8) MOV32(0, 4) MOV32(1, 5) MOV32(2, 6) SET64(3, 0x3ffffffff) AND(3, 7) SHR(7, 34)
		/* bytes 16 to 31 */
		LOAD64(4, y2) FETCH64(5, 9, 32) XOR(5, 4) PUT64(9, 16, 5) LOAD64(4, y3) FETCH64(5, 9, 40) XOR(5, 4)
		PUT64(9, 24, 5) FETCH32(8, 9, 16) ADD(0, 8) FETCH32(8, 9, 20) ADD(1, 8) FETCH32(8, 9, 24) ADD(2, 8)
		FETCH32(8, 9, 28) SET64(4, 0x100000000) ADD(8, 4) ADD(3, 8) ADD(0, 7) SHL(7, 2) ADD(0, 7) LOAD32(4, t3)
		MUL(4, 1) LOAD32(5, r0) MUL(5, 1) LOAD32(6, r1) MUL(6, 1) LOAD32(7, r2) MUL(7, 1) LOAD32(8, t2) MUL(8, 2)
		ADD(4, 8) LOAD32(8, t3) MUL(8, 2) ADD(5, 8) LOAD32(8, r0) MUL(8, 2) ADD(6, 8) LOAD32(8, r1) MUL(8, 2)
		ADD(7, 8) LOAD32(8, t1) MUL(8, 3) ADD(4, 8) LOAD32(8, t2) MUL(8, 3) ADD(5, 8) LOAD32(8, t3) MUL(8, 3)
		ADD(6, 8) LOAD32(8, r0) MUL(8, 3) ADD(7, 8) LOAD32(8, r0) MUL(8, 0) ADD(4, 8) LOAD32(8, r1) MUL(8, 0)
		ADD(5, 8) LOAD32(8, r2) MUL(8, 0) ADD(6, 8) LOAD32(8, r3) MUL(8, 0) ADD(7, 8) MOV(8, 4) SHR(8, 32) ADD(5, 8)
		MOV(8, 5) SHR(8, 32) ADD(6, 8) MOV(8, 6) SHR(8, 32) ADD(7, 8) MOV32(0, 4) MOV32(1, 5) MOV32(2, 6)
		SET64(3, 0x3ffffffff) AND(3, 7) SHR(7, 34)
		/* bytes 32 to 47 */
		LOAD64(4, y4) FETCH64(5, 9, 48) XOR(5, 4) PUT64(9, 32, 5) LOAD64(4, y5) FETCH64(5, 9, 56) XOR(5, 4)
		PUT64(9, 40, 5) FETCH32(8, 9, 32) ADD(0, 8) FETCH32(8, 9, 36) ADD(1, 8) FETCH32(8, 9, 40) ADD(2, 8)
		FETCH32(8, 9, 44) SET64(4, 0x100000000) ADD(8, 4) ADD(3, 8) ADD(0, 7) SHL(7, 2) ADD(0, 7) LOAD32(4, t3)
		MUL(4, 1) LOAD32(5, r0) MUL(5, 1) LOAD32(6, r1) MUL(6, 1) LOAD32(7, r2) MUL(7, 1) LOAD32(8, t2) MUL(8, 2)
		ADD(4, 8) LOAD32(8, t3) MUL(8, 2) ADD(5, 8) LOAD32(8, r0) MUL(8, 2) ADD(6, 8) LOAD32(8, r1) MUL(8, 2)
		ADD(7, 8) LOAD32(8, t1) MUL(8, 3) ADD(4, 8) LOAD32(8, t2) MUL(8, 3) ADD(5, 8) LOAD32(8, t3) MUL(8, 3)
		ADD(6, 8) LOAD32(8, r0) MUL(8, 3) ADD(7, 8) LOAD32(8, r0) MUL(8, 0) ADD(4, 8) LOAD32(8, r1) MUL(8, 0)
		ADD(5, 8) LOAD32(8, r2) MUL(8, 0) ADD(6, 8) LOAD32(8, r3) MUL(8, 0) ADD(7, 8) MOV(8, 4) SHR(8, 32) ADD(5, 8)
		MOV(8, 5) SHR(8, 32) ADD(6, 8) MOV(8, 6) SHR(8, 32) ADD(7, 8) MOV32(0, 4) MOV32(1, 5) MOV32(2, 6)
		SET64(3, 0x3ffffffff) AND(3, 7) SHR(7, 34)
		/* bytes 48 to 63 */
		LOAD64(4, y6) FETCH64(5, 9, 64) XOR(5, 4) PUT64(9, 48, 5) LOAD64(4, y7) FETCH64(5, 9, 72) XOR(5, 4)
		PUT64(9, 56, 5) FETCH32(8, 9, 48) ADD(0, 8) FETCH32(8, 9, 52) ADD(1, 8) FETCH32(8, 9, 56) ADD(2, 8)
		FETCH32(8, 9, 60) SET64(4, 0x100000000) ADD(8, 4) ADD(3, 8) ADD(0, 7) SHL(7, 2) ADD(0, 7) LOAD32(4, t3)
		MUL(4, 1) LOAD32(5, r0) MUL(5, 1) LOAD32(6, r1) MUL(6, 1) LOAD32(7, r2) MUL(7, 1) LOAD32(8, t2) MUL(8, 2)
		ADD(4, 8) LOAD32(8, t3) MUL(8, 2) ADD(5, 8) LOAD32(8, r0) MUL(8, 2) ADD(6, 8) LOAD32(8, r1) MUL(8, 2)
		ADD(7, 8) LOAD32(8, t1) MUL(8, 3) ADD(4, 8) LOAD32(8, t2) MUL(8, 3) ADD(5, 8) LOAD32(8, t3) MUL(8, 3)
		ADD(6, 8) LOAD32(8, r0) MUL(8, 3) ADD(7, 8) LOAD32(8, r0) MUL(8, 0) ADD(4, 8) LOAD32(8, r1) MUL(8, 0)
		ADD(5, 8) LOAD32(8, r2) MUL(8, 0) ADD(6, 8) LOAD32(8, r3) MUL(8, 0) ADD(7, 8) MOV(8, 4) SHR(8, 32) ADD(5, 8)
		MOV(8, 5) SHR(8, 32) ADD(6, 8) MOV(8, 6) SHR(8, 32) ADD(7, 8) MOV32(0, 4) MOV32(1, 5) MOV32(2, 6)
		SET64(3, 0x3ffffffff) AND(3, 7) SHR(7, 34) ADD(0, 7) SHL(7, 2) ADD(0, 7)
		/* the new sum */
		STORE64(h0, 0) STORE64(h1, 1) STORE64(h2, 2) STORE64(h3, 3)
		: "=&r"(g0), "=&r"(g1), "=&r"(g2), "=&r"(g3), "=&r"(g4), "=&r"(g5), "=&r"(g6), "=&r"(g7), "=&r"(g8), "=&r"(g9),
		  [h0] "+m"(work->poly.h[0]), [h1] "+m"(work->poly.h[1]), [h2] "+m"(work->poly.h[2]),
		  [h3] "+m"(work->poly.h[3])
		: [place] "m"(work->place), [y0] "m"(work->stream[0]), [y1] "m"(work->stream[1]),
		  [t3] "m"(work->poly.t[3]), [r0] "m"(work->poly.r[0]), [r1] "m"(work->poly.r[1]),
		  [r2] "m"(work->poly.r[2]), [t2] "m"(work->poly.t[2]), [t1] "m"(work->poly.t[1]),
		  [r3] "m"(work->poly.r[3]), [y2] "m"(work->stream[2]), [y3] "m"(work->stream[3]),
		  [y4] "m"(work->stream[4]), [y5] "m"(work->stream[5]), [y6] "m"(work->stream[6]),
		  [y7] "m"(work->stream[7])
		: "memory");
}

/* 64 bytes at ``place`` into the Poly1305 sum, and decrypted where they are. 329 instructions. */
static __always_inline void aead_absorb_open(struct aead_work *work)
{
	__u64 g0, g1, g2, g3, g4, g5, g6, g7, g8, g9;

	asm volatile(
		/* the sum so far */
		LOAD64(0, h0) LOAD64(1, h1) LOAD64(2, h2) LOAD64(3, h3) LOAD64(9, place)
		/* bytes 0 to 15 */
		FETCH32(8, 9, 0) ADD(0, 8) FETCH32(8, 9, 4) ADD(1, 8) FETCH32(8, 9, 8) ADD(2, 8) FETCH32(8, 9, 12)
		SET64(4, 0x100000000) ADD(8, 4) ADD(3, 8) LOAD64(4, y0) FETCH64(5, 9, 0) XOR(5, 4) PUT64(9, 0, 5)
		LOAD64(4, y1) FETCH64(5, 9, 8) XOR(5, 4) PUT64(9, 8, 5) LOAD32(4, t3) MUL(4, 1) LOAD32(5, r0) MUL(5, 1)
		LOAD32(6, r1) MUL(6, 1) LOAD32(7, r2) MUL(7, 1) LOAD32(8, t2) MUL(8, 2) ADD(4, 8) LOAD32(8, t3) MUL(8, 2)
		ADD(5, 8) LOAD32(8, r0) MUL(8, 2) ADD(6, 8) LOAD32(8, r1) MUL(8, 2) ADD(7, 8) LOAD32(8, t1) MUL(8, 3)
		ADD(4, 8) LOAD32(8, t2) MUL(8, 3) ADD(5, 8) LOAD32(8, t3) MUL(8, 3) ADD(6, 8) LOAD32(8, r0) MUL(8, 3)
		ADD(7, 8) LOAD32(8, r0) MUL(8, 0) ADD(4, 8) LOAD32(8, r1) MUL(8, 0) ADD(5, 8) LOAD32(8, r2) MUL(8, 0)
		ADD(6, 8) LOAD32(8, r3) MUL(8, 0) ADD(7, 8) MOV(8, 4) SHR(8, 32) ADD(5, 8) MOV(8, 5) SHR(8, 32) ADD(6, 8)
		MOV(8, 6) SHR(8, 32) ADD(7, 8) MOV32(0, 4) MOV32(1, 5) MOV32(2, 6) SET64(3, 0x3ffffffff) AND(3, 7) SHR(7, 34)
		/* bytes 16 to 31 */
		FETCH32(8, 9, 16) ADD(0, 8) FETCH32(8, 9, 20) ADD(1, 8) FETCH32(8, 9, 24) ADD(2, 8) FETCH32(8, 9, 28)
		SET64(4, 0x100000000) ADD(8, 4) ADD(3, 8) LOAD64(4, y2) FETCH64(5, 9, 16) XOR(5, 4) PUT64(9, 16, 5)
		LOAD64(4, y3) FETCH64(5, 9, 24) XOR(5, 4) PUT64(9, 24, 5) ADD(0, 7) SHL(7, 2) ADD(0, 7) LOAD32(4, t3)
		MUL(4, 1) LOAD32(5, r0) MUL(5, 1) LOAD32(6, r1) MUL(6, 1) LOAD32(7, r2) MUL(7, 1) LOAD32(8, t2) MUL(8, 2)
		ADD(4, 8) LOAD32(8, t3) MUL(8, 2) ADD(5, 8) LOAD32(8, r0) MUL(8, 2) ADD(6, 8) LOAD32(8, r1) MUL(8, 2)
		ADD(7, 8) LOAD32(8, t1) MUL(8, 3) ADD(4, 8) LOAD32(8, t2) MUL(8, 3) ADD(5, 8) LOAD32(8, t3) MUL(8, 3)
		ADD(6, 8) LOAD32(8, r0) MUL(8, 3) ADD(7, 8) LOAD32(8, r0) MUL(8, 0) ADD(4, 8) LOAD32(8, r1) MUL(8, 0)
		ADD(5, 8) LOAD32(8, r2) MUL(8, 0) ADD(6, 8) LOAD32(8, r3) MUL(8, 0) ADD(7, 8) MOV(8, 4) SHR(8, 32) ADD(5, 8)
		MOV(8, 5) SHR(8, 32) ADD(6, 8) MOV(8, 6) SHR(8, 32) ADD(7, 8) MOV32(0, 4) MOV32(1, 5) MOV32(2, 6)
		SET64(3, 0x3ffffffff) AND(3, 7) SHR(7, 34)
		/* bytes 32 to 47 */
		FETCH32(8, 9, 32) ADD(0, 8) FETCH32(8, 9, 36) ADD(1, 8) FETCH32(8, 9, 40) ADD(2, 8) FETCH32(8, 9, 44)
		SET64(4, 0x100000000) ADD(8, 4) ADD(3, 8) LOAD64(4, y4) FETCH64(5, 9, 32) XOR(5, 4) PUT64(9, 32, 5)
		LOAD64(4, y5) FETCH64(5, 9, 40) XOR(5, 4) PUT64(9, 40, 5) ADD(0, 7) SHL(7, 2) ADD(0, 7) LOAD32(4, t3)
		MUL(4, 1) LOAD32(5, r0) MUL(5, 1) LOAD32(6, r1) MUL(6, 1) LOAD32(7, r2) MUL(7, 1) LOAD32(8, t2) MUL(8, 2)
		ADD(4, 8) LOAD32(8, t3) MUL(8, 2) ADD(5, 8) LOAD32(8, r0) MUL(8, 2) ADD(6, 8) LOAD32(8, r1) MUL(8, 2)
		ADD(7, 8) LOAD32(8, t1) MUL(8, 3) ADD(4, 8) LOAD32(8, t2) MUL(8, 3) ADD(5, 8) LOAD32(8, t3) MUL(8, 3)
		ADD(6, 8) LOAD32(8, r0) MUL(8, 3) ADD(7, 8) LOAD32(8, r0) MUL(8, 0) ADD(4, 8) LOAD32(8, r1) MUL(8, 0)
		ADD(5, 8) LOAD32(8, r2) MUL(8, 0) ADD(6, 8) LOAD32(8, r3) MUL(8, 0) ADD(7, 8) MOV(8, 4) SHR(8, 32) ADD(5, 8)
		MOV(8, 5) SHR(8, 32) ADD(6, 8) MOV(8, 6) SHR(8, 32) ADD(7, 8) MOV32(0, 4) MOV32(1, 5) MOV32(2, 6)
		SET64(3, 0x3ffffffff) AND(3, 7) SHR(7, 34)
		/* bytes 48 to 63 */
		FETCH32(8, 9, 48) ADD(0, 8) FETCH32(8, 9, 52) ADD(1, 8) FETCH32(8, 9, 56) ADD(2, 8) FETCH32(8, 9, 60)
		SET64(4, 0x100000000) ADD(8, 4) ADD(3, 8) LOAD64(4, y6) FETCH64(5, 9, 48) XOR(5, 4) PUT64(9, 48, 5)
		LOAD64(4, y7) FETCH64(5, 9, 56) XOR(5, 4) PUT64(9, 56, 5) ADD(0, 7) SHL(7, 2) ADD(0, 7) LOAD32(4, t3)
		MUL(4, 1) LOAD32(5, r0) MUL(5, 1) LOAD32(6, r1) MUL(6, 1) LOAD32(7, r2) MUL(7, 1) LOAD32(8, t2) MUL(8, 2)
		ADD(4, 8) LOAD32(8, t3) MUL(8, 2) ADD(5, 8) LOAD32(8, r0) MUL(8, 2) ADD(6, 8) LOAD32(8, r1) MUL(8, 2)
		ADD(7, 8) LOAD32(8, t1) MUL(8, 3) ADD(4, 8) LOAD32(8, t2) MUL(8, 3) ADD(5, 8) LOAD32(8, t3) MUL(8, 3)
		ADD(6, 8) LOAD32(8, r0) MUL(8, 3) ADD(7, 8) LOAD32(8, r0) MUL(8, 0) ADD(4, 8) LOAD32(8, r1) MUL(8, 0)
		ADD(5, 8) LOAD32(8, r2) MUL(8, 0) ADD(6, 8) LOAD32(8, r3) MUL(8, 0) ADD(7, 8) MOV(8, 4) SHR(8, 32) ADD(5, 8)
		MOV(8, 5) SHR(8, 32) ADD(6, 8) MOV(8, 6) SHR(8, 32) ADD(7, 8) MOV32(0, 4) MOV32(1, 5) MOV32(2, 6)
		SET64(3, 0x3ffffffff) AND(3, 7) SHR(7, 34) ADD(0, 7) SHL(7, 2) ADD(0, 7)
		/* the new sum */
		STORE64(h0, 0) STORE64(h1, 1) STORE64(h2, 2) STORE64(h3, 3)
		: "=&r"(g0), "=&r"(g1), "=&r"(g2), "=&r"(g3), "=&r"(g4), "=&r"(g5), "=&r"(g6), "=&r"(g7), "=&r"(g8), "=&r"(g9),
		  [h0] "+m"(work->poly.h[0]), [h1] "+m"(work->poly.h[1]), [h2] "+m"(work->poly.h[2]),
		  [h3] "+m"(work->poly.h[3])
		: [place] "m"(work->place), [y0] "m"(work->stream[0]), [y1] "m"(work->stream[1]),
		  [t3] "m"(work->poly.t[3]), [r0] "m"(work->poly.r[0]), [r1] "m"(work->poly.r[1]),
		  [r2] "m"(work->poly.r[2]), [t2] "m"(work->poly.t[2]), [t1] "m"(work->poly.t[1]),
		  [r3] "m"(work->poly.r[3]), [y2] "m"(work->stream[2]), [y3] "m"(work->stream[3]),
		  [y4] "m"(work->stream[4]), [y5] "m"(work->stream[5]), [y6] "m"(work->stream[6]),
		  [y7] "m"(work->stream[7])
		: "memory");
}

#undef ADD
#undef ADD32
#undef ADD32_IMM
#undef AND
#undef FETCH32
#undef FETCH64
#undef LOAD32
#undef LOAD64
#undef MOV
#undef MOV32
#undef MUL
#undef OR
#undef PUT64
#undef SET
#undef SET64
#undef SHL
#undef SHR
#undef STORE32
#undef STORE64
#undef XOR
#undef XOR32

#endif
