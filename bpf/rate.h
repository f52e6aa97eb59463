/* SPDX-License-Identifier: Apache-2.0
 * What is busy: work counted per window. See steer.h. */
#ifndef SYNAPSE_RATE_H
#define SYNAPSE_RATE_H

#define WINDOW 1000000ull /* ns */
#define HOLD 1000000000ull /* ns; much longer than a full queue of map cpus is emptied in. Each change may reorder */
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

/* A sender of many small frames does itself, in its softirq, all that is done for them up to the other end of a wire. */
#define SMALL_FRAME 256
#define MANY_SMALL 40          /* in a window; one CPU does about 100 */
#define SAY_AGAIN 500000000ull /* ns */

static __always_inline void notice_small_frame(struct scratch *room, __u64 length, __u64 now)
{
	__u32 zero = 0;
	struct rate *rate;

	if (length >= SMALL_FRAME)
		return;
	rate = small_rate.lookup(&zero);
	if (rate && is_busy(rate, now, 0, MANY_SMALL * FRAME_COST) && now - rate->last > SAY_AGAIN) {
		rate->last = now;
		say(room, EVENT_SMALL_FRAMES, 0, 0);
	}
}

#endif
