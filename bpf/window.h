/* SPDX-License-Identifier: Apache-2.0
 * The replay window (RFC 6479), as omni_core/session/replay.py has it. */
#ifndef SYNAPSE_WINDOW_H
#define SYNAPSE_WINDOW_H

#define BLOCK_SHIFT 6
#define RING_MASK (SYNAPSE_RING - 1)
#define REPLAY_WINDOW ((SYNAPSE_RING - 1) << BLOCK_SHIFT)
#define SEQUENCE_BITS 56
#define SEQUENCE_MASK ((1ull << SEQUENCE_BITS) - 1)
#define REJECT_AFTER_MESSAGES ((1ull << SEQUENCE_BITS) - (1 << 13) - 1)

/* Of a stream (0 or 1) of a session. */
static __always_inline struct stream *find_stream(__u32 slot, __u64 stream)
{
	__u32 index = slot * SYNAPSE_STREAMS + (stream & (SYNAPSE_STREAMS - 1));

	return streams.lookup(&index);
}

static __always_inline __u64 *window_block(struct stream *window, __u64 block)
{
	__u64 index = block & RING_MASK;

	opaque(index);
	return &window->ring[index & RING_MASK];
}

/* Whether the sequence may be accepted. Changes nothing. */
static __always_inline int window_check(struct stream *window, __u64 sequence)
{
	__u64 next = window->next;

	if (sequence >= next)
		return 1;
	if (next - 1 - sequence > REPLAY_WINDOW)
		return 0;
	return !(*window_block(window, sequence >> BLOCK_SHIFT) >> (sequence & 63) & 1);
}

/* Check and mark as seen. Under the session's lock, so that of two CPUs with one sequence only one wins. */
static __always_inline int window_accept(struct stream *window, __u64 sequence)
{
	__u64 block = sequence >> BLOCK_SHIFT, next = window->next;

	if (!window_check(window, sequence))
		return 0;
	if (sequence >= next) {
		__u64 stale = next ? ((next - 1) >> BLOCK_SHIFT) + 1 : 0; /* first block that still holds old bits */

		if (block >= SYNAPSE_RING && stale < block - RING_MASK)
			stale = block - RING_MASK;
		for (int i = 0; i < SYNAPSE_RING; i++) {
			if (stale > block)
				break;
			*window_block(window, stale) = 0;
			stale++;
		}
		window->next = sequence + 1;
	}
	*window_block(window, block) |= 1ull << (sequence & 63);
	return 1;
}

#endif
