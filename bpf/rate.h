/* SPDX-License-Identifier: Apache-2.0
 * What is busy: work counted per window. See steer.h. */
#ifndef SYNAPSE_RATE_H
#define SYNAPSE_RATE_H

#define WINDOW 1000000ull /* ns */
#define HOLD 10000000ull  /* ns; a full queue of map cpus is emptied in less */
#define FRAME_COST 512    /* bytes whose opening takes as long as all else that a frame needs */
/* Work in a window. A core does about 400,000; requests and answers that follow each other as fast as they can, 25,000:
 * they would only wait longer on another CPU. */
#define BUSY_SESSION 32768
#define BUSY_FLOW 49152

static __always_inline int is_busy(struct rate *rate, __u64 now, __u64 length, __u64 limit)
{
	if (!rate)
		return 0;
	if (now - rate->since > WINDOW) {
		rate->since = now;
		rate->work = 0;
	}
	rate->work += length + FRAME_COST;
	if (rate->work >= limit)
		rate->until = now + HOLD;
	return now < rate->until;
}

#endif
