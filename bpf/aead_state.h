/* SPDX-License-Identifier: Apache-2.0
 * What the AEAD keeps on the stack while it works on one packet: 232 bytes. */
#ifndef SYNAPSE_AEAD_STATE_H
#define SYNAPSE_AEAD_STATE_H

struct aead_poly {
	__u64 h[4];
	__u32 r[4];
	__u32 t[4]; /* 5/4 of r; the first is not used */
	__u64 s[2];
};

struct aead_work {
	__u64 stream[8];  /* key stream of one block; until that is complete, words of the state that have no register */
	__u32 start[16];  /* the state after what is the same in every block of the packet; [12] is the block's number */
	struct aead_poly poly;
	const __u8 *key;
	__u64 nonce;
	__u8 *place;      /* in the packet, where the next output goes */
};

#endif
