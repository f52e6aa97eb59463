/* SPDX-License-Identifier: Apache-2.0
 * The replay window (RFC 6479), as omni_core/session/replay.py has it. */
#ifndef SYNAPSE_WINDOW_H
#define SYNAPSE_WINDOW_H

#define BLOCK_SHIFT 6
#define RING_SHIFT 7
#define RING_MASK (SYNAPSE_RING - 1)
#define REPLAY_WINDOW ((SYNAPSE_RING - 1) << BLOCK_SHIFT)
#define SEQUENCE_BITS 56
#define SEQUENCE_MASK ((1ull << SEQUENCE_BITS) - 1)
#define REJECT_AFTER_MESSAGES ((1ull << SEQUENCE_BITS) - (1 << 13) - 1)

/* A block of the ring of a stream (0 or 1). One index with one mask: the verifier sees that it stays inside. */
static __always_inline __u64 *window_block(struct session *session, __u64 stream, __u64 block)
{
	return &session->ring[(stream << RING_SHIFT | (block & RING_MASK)) & (SYNAPSE_STREAMS * SYNAPSE_RING - 1)];
}

/* Whether the sequence may be accepted. Changes nothing. */
static __always_inline int window_check(struct session *session, __u64 stream, __u64 sequence)
{
	__u64 next = session->next[stream & (SYNAPSE_STREAMS - 1)];

	if (sequence >= next)
		return 1;
	if (next - 1 - sequence > REPLAY_WINDOW)
		return 0;
	return !(*window_block(session, stream, sequence >> BLOCK_SHIFT) >> (sequence & 63) & 1);
}

/* Check and mark as seen. Under session.lock, so that of two CPUs with one sequence only one wins. */
static __always_inline int window_accept(struct session *session, __u64 stream, __u64 sequence)
{
	__u64 block = sequence >> BLOCK_SHIFT, next = session->next[stream & (SYNAPSE_STREAMS - 1)];

	if (!window_check(session, stream, sequence))
		return 0;
	if (sequence >= next) {
		__u64 stale = next ? ((next - 1) >> BLOCK_SHIFT) + 1 : 0; /* first block that still holds old bits */

		if (block >= SYNAPSE_RING && stale < block - RING_MASK)
			stale = block - RING_MASK;
		for (int i = 0; i < SYNAPSE_RING; i++) {
			if (stale > block)
				break;
			*window_block(session, stream, stale) = 0;
			stale++;
		}
		session->next[stream & (SYNAPSE_STREAMS - 1)] = sequence + 1;
	}
	*window_block(session, stream, block) |= 1ull << (sequence & 63);
	return 1;
}

#endif
