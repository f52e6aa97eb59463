/* SPDX-License-Identifier: Apache-2.0
 *
 * The replay window (RFC 6479), as omni_core/session/replay.py and bpf/window.h have it. A session has one owner
 * (receive.c), the worker that alone writes its windows: no lock.
 */
#ifndef NATIVE_WINDOW_H
#define NATIVE_WINDOW_H

#include "lane.h"

#define WINDOW_BLOCK 6
#define WINDOW_BITS ((uint64_t)(LANE_RING - 1) << WINDOW_BLOCK)

static inline uint64_t *window_block(struct lane_stream *window, uint64_t sequence)
{
	return &window->ring[(sequence >> WINDOW_BLOCK) & (LANE_RING - 1)];
}

/* Whether the sequence may be accepted. Changes nothing. */
static inline int window_check(struct lane_stream *window, uint64_t sequence)
{
	if (sequence >= window->next)
		return 1;
	if (window->next - 1 - sequence > WINDOW_BITS)
		return 0;
	return !(*window_block(window, sequence) >> (sequence & 63) & 1);
}

/* After window_check() and the AEAD. */
static inline void window_accept(struct lane_stream *window, uint64_t sequence)
{
	if (sequence >= window->next) {
		uint64_t block = sequence >> WINDOW_BLOCK;
		/* First block that still holds old bits. */
		uint64_t stale = window->next ? ((window->next - 1) >> WINDOW_BLOCK) + 1 : 0;

		if (block >= LANE_RING && stale < block - (LANE_RING - 1))
			stale = block - (LANE_RING - 1);
		for (; stale <= block; stale++)
			window->ring[stale & (LANE_RING - 1)] = 0;
		window->next = sequence + 1;
	}
	*window_block(window, sequence) |= UINT64_C(1) << (sequence & 63);
}

#endif
