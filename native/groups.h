/* SPDX-License-Identifier: Apache-2.0
 *
 * Group frames of the local port: the flood set, and the policy that leaves less of it. The rule, and the oracle, is
 * omni_core/dataplane/groups.py. Workers read one struct flood, which is never changed: the control thread puts another
 * one in its place.
 */
#ifndef NATIVE_GROUPS_H
#define NATIVE_GROUPS_H

#include <stddef.h>
#include <stdint.h>

#include "protocol.h"

struct engine;
struct peer;
struct worker;

struct group_slot {
	uint64_t key;  /* MAC << 16 | port; 0: free */
	uint32_t set;  /* its number */
	uint32_t unused;
};

struct flood {
	uint32_t count; /* of peers */
	uint32_t words; /* of a set: bit i is peers[i] */
	uint32_t mask;  /* of table, whose size is a power of two; 0: no policy */
	struct peer **peers;
	uint64_t *sets; /* the first: elsewhere */
	struct group_slot *table;
};

/* Entries, as MESSAGE_SET_GROUPS has them. */
struct policy {
	uint8_t *entries;
	size_t length;
};

/* What a group frame is, as far as it matters here. */
struct group_frame {
	uint16_t type; /* behind the tags */
	uint16_t port; /* UDP destination; 0: none */
	int listening; /* IGMP or MLD */
	int discovery; /* of RTPS */
};

void group_read(struct group_frame *group, const uint8_t *frame, size_t length);

/* Whether the Ganglion wants to see it, alone. */
int group_is_watched(struct worker *worker, const uint8_t *frame, size_t length);

/* A set of the flood's peers that get the frame; NULL: all of them. */
const uint64_t *group_set(struct worker *worker, const struct flood *flood, const uint8_t *frame, size_t length);

/* For the control thread. errno, or 0 */
int flood_set(struct engine *engine, const uint32_t *peers, uint32_t peer_count);
int groups_set(struct engine *engine, const uint8_t *body, size_t length);
void groups_forget(struct engine *engine); /* nobody is there who would extend it */

#endif
