/* SPDX-License-Identifier: Apache-2.0
 * What is busy: frames counted per window. See steer.h. */
#ifndef SYNAPSE_RATE_H
#define SYNAPSE_RATE_H

#define WINDOW 1000000ull /* ns */
#define HOLD 10000000ull  /* ns; a full queue of map cpus is emptied in less */
#define BUSY_SESSION 24   /* frames in a window: about 30 Mbyte/s, an eighth of what a core opens */
#define BUSY_FLOW 16

static __always_inline int is_busy(struct rate *rate, __u64 now, __u32 frames)
{
	if (!rate)
		return 0;
	if (now - rate->since > WINDOW) {
		rate->since = now;
		rate->frames = 0;
	}
	if (++rate->frames >= frames)
		rate->until = now + HOLD;
	return now < rate->until;
}

#endif
