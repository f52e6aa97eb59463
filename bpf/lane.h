/* SPDX-License-Identifier: Apache-2.0
 * Whether the native engine is there. It says so itself, in memory that it maps: so the kernel takes over within
 * SYNAPSE_LANE_LEASE when it was killed, and no Ganglion is needed for that. */
#ifndef SYNAPSE_LANE_H
#define SYNAPSE_LANE_H

static __always_inline int engine_lives(const struct config *cfg, __u64 now)
{
	__u32 zero = 0;
	struct lane_state *state;
	__u64 alive;

	if (!cfg->bulk_ifindex)
		return 0;
	state = lane.lookup(&zero);
	if (!state)
		return 0;
	alive = state->alive; /* once */
	return alive && (__s64)(now - alive) < SYNAPSE_LANE_LEASE; /* another CPU's clock may be a little ahead */
}

#endif
