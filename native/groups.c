/* SPDX-License-Identifier: Apache-2.0 */
#include "groups.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "engine.h"
#include "inner.h"

#define IGMP 2
#define MLD_QUERY 130 /* RFC 2710; 131 report, 132 done */
#define MLD_DONE 132
#define MLD_REPORT_2 143      /* RFC 3810 */
#define RTPS_PORT_BASE 7400   /* DDSI-RTPS 2.3, 9.6.1.1 */
#define RTPS_DOMAIN_GAIN 250
#define IPV4_OFFSET_MASK 0x1fff

/* --- what a frame is ---------------------------------------------------------------------------------------------- */

static void read_udp(struct group_frame *group, const uint8_t *udp, size_t length)
{
	if (length < UDP_HEADER)
		return;
	group->port = inner_get16(udp + 2);
	group->discovery = group->port >= RTPS_PORT_BASE && (group->port - RTPS_PORT_BASE) % RTPS_DOMAIN_GAIN == 0 &&
			   length >= UDP_HEADER + 4 && !memcmp(udp + UDP_HEADER, "RTPS", 4);
}

static void read_ipv4(struct group_frame *group, const uint8_t *ip, size_t length)
{
	size_t header;

	if (length < IPV4_HEADER || ip[0] >> 4 != 4)
		return;
	header = (ip[0] & 15) * 4;
	if (header < IPV4_HEADER || length < header)
		return;
	group->listening = ip[IPV4_PROTOCOL] == IGMP;
	if (ip[IPV4_PROTOCOL] == INNER_UDP && !(inner_get16(ip + IPV4_FRAGMENT) & IPV4_OFFSET_MASK))
		read_udp(group, ip + header, length - header);
}

static void read_ipv6(struct group_frame *group, const uint8_t *ip, size_t length)
{
	size_t header = IPV6_HEADER;
	uint8_t next;

	if (length < IPV6_HEADER || ip[0] >> 4 != 6)
		return;
	next = ip[IPV6_NEXT];
	if (next == IPV6_NEXT_HOP_BY_HOP) {
		if (length < IPV6_HEADER + 8)
			return;
		next = ip[IPV6_HEADER];
		header += 8 * (size_t)ip[IPV6_HEADER + 1] + 8;
	}
	if (length <= header)
		return;
	if (next == INNER_UDP)
		read_udp(group, ip + header, length - header);
	else if (next == INNER_ICMPV6)
		group->listening = (ip[header] >= MLD_QUERY && ip[header] <= MLD_DONE) || ip[header] == MLD_REPORT_2;
}

void group_read(struct group_frame *group, const uint8_t *frame, size_t length)
{
	size_t network = 0;

	*group = (struct group_frame){.type = inner_type(frame, length, &network)};
	if (group->type == INNER_TYPE_IPV4)
		read_ipv4(group, frame + network, length - network);
	else if (group->type == INNER_TYPE_IPV6)
		read_ipv6(group, frame + network, length - network);
}

/* Link-local and solicited-node groups are not (RFC 4541, 2.1.2 and 3). */
static int is_pruned(const struct group_frame *group, const uint8_t *mac)
{
	if (group->listening)
		return 0;
	if (group->type == INNER_TYPE_IPV4)
		return mac[0] == 0x01 && mac[1] == 0x00 && mac[2] == 0x5e && mac[3] < 0x80 && (mac[3] | mac[4]);
	if (group->type == INNER_TYPE_IPV6)
		return mac[0] == 0x33 && mac[1] == 0x33 && mac[2] != 0xff && (mac[2] | mac[3] | mac[4]);
	return 0;
}

/* --- for the workers ---------------------------------------------------------------------------------------------- */

int group_is_watched(struct worker *worker, const uint8_t *frame, size_t length)
{
	struct group_frame group;

	if (!worker->engine->groups_watch || worker->now >= worker->engine->groups_until)
		return 0;
	group_read(&group, frame, length);
	return group.listening || group.discovery;
}

static uint64_t key_of(const uint8_t *mac, uint16_t port)
{
	uint64_t key = 0;

	for (int i = 0; i < 6; i++)
		key = key << 8 | mac[i];
	return key << 16 | port;
}

static uint32_t place_of_key(const struct flood *flood, uint64_t key)
{
	return (uint32_t)(key * UINT64_C(0x9e3779b97f4a7c15) >> 32) & flood->mask;
}

/* The slot that has the key, or is free for it: the table is never full. */
static struct group_slot *slot_for(const struct flood *flood, uint64_t key)
{
	uint32_t at = place_of_key(flood, key);

	while (flood->table[at].key && flood->table[at].key != key)
		at = (at + 1) & flood->mask;
	return &flood->table[at];
}

static uint64_t *numbered(const struct flood *flood, uint32_t set)
{
	return flood->sets + (size_t)set * flood->words;
}

const uint64_t *group_set(struct worker *worker, const struct flood *flood, const uint8_t *frame, size_t length)
{
	struct group_frame group;
	const struct group_slot *slot;

	if (!flood->mask || worker->now >= worker->engine->groups_until)
		return NULL;
	group_read(&group, frame, length);
	if (!is_pruned(&group, frame))
		return NULL;
	slot = slot_for(flood, key_of(frame, group.port));
	if (!slot->key && group.port)
		slot = slot_for(flood, key_of(frame, 0));
	return numbered(flood, slot->key ? slot->set : 0);
}

/* --- for the control thread --------------------------------------------------------------------------------------- */

/* The entry at ``at``, with its peers. 0: there is none, or it is cut off. */
static size_t read_entry(const struct policy *policy, size_t at, struct group_entry *entry)
{
	size_t left = policy->length - at;

	if (left < sizeof(*entry))
		return 0;
	memcpy(entry, policy->entries + at, sizeof(*entry));
	if (entry->peers > MAX_PEERS || left - sizeof(*entry) < entry->peers * sizeof(uint32_t))
		return 0;
	return sizeof(*entry) + entry->peers * sizeof(uint32_t);
}

static int is_elsewhere(const struct group_entry *entry)
{
	static const uint8_t nothing[6];

	return !memcmp(entry->mac, nothing, sizeof(nothing)) && !entry->port;
}

static int is_right(const struct policy *policy)
{
	struct group_entry entry;
	size_t at = 0, length;

	for (; at < policy->length; at += length) {
		length = read_entry(policy, at, &entry);
		if (!length || !(is_group(entry.mac) || is_elsewhere(&entry)))
			return 0;
	}
	return 1;
}

static uint32_t count_entries(const struct policy *policy)
{
	struct group_entry entry;
	uint32_t many = 0;

	for (size_t at = 0; at < policy->length; at += read_entry(policy, at, &entry))
		many++;
	return many;
}

/* Room for everything in one piece. NULL: there is none. */
static struct flood *make_flood(uint32_t peers, uint32_t entries, int pruned)
{
	uint32_t size = 0, words = peers / 64 + 1;
	size_t bytes = sizeof(struct flood) + peers * sizeof(struct peer *);
	struct flood *flood;

	if (pruned) {
		for (size = 2; size < 2 * entries + 2; size *= 2)
			;
		bytes += size * sizeof(struct group_slot) + (size_t)(entries + 1) * words * sizeof(uint64_t);
	}
	flood = calloc(1, bytes);
	if (!flood)
		return NULL;
	flood->words = words;
	flood->mask = size ? size - 1 : 0;
	flood->table = (struct group_slot *)(flood + 1);
	flood->sets = (uint64_t *)(flood->table + size);
	flood->peers = (struct peer **)(flood->sets + (size ? (size_t)(entries + 1) * words : 0));
	return flood;
}

static void fill_sets(struct engine *engine, struct flood *flood)
{
	const struct policy *policy = &engine->policy;
	struct group_entry entry;
	size_t at = 0, length;

	for (uint32_t i = 0; i < flood->count; i++)
		flood->peers[i]->flooded = i;
	for (uint32_t number = 1; at < policy->length; at += length, number++) {
		uint32_t set = 0;

		length = read_entry(policy, at, &entry);
		if (!is_elsewhere(&entry)) {
			struct group_slot *slot = slot_for(flood, key_of(entry.mac, entry.port));

			slot->key = key_of(entry.mac, entry.port);
			slot->set = set = number;
		}
		for (uint32_t i = 0; i < entry.peers; i++) {
			struct peer *peer;
			uint32_t id;

			memcpy(&id, policy->entries + at + sizeof(entry) + i * sizeof(id), sizeof(id));
			peer = peer_find(engine, id);
			if (peer && peer->flooded < flood->count && flood->peers[peer->flooded] == peer)
				numbered(flood, set)[peer->flooded / 64] |= UINT64_C(1) << (peer->flooded % 64);
		}
	}
}

static int publish(struct engine *engine, struct peer *const *peers, uint32_t count)
{
	struct flood *flood = make_flood(count, count_entries(&engine->policy), engine->policy.entries != NULL), *old;

	if (!flood)
		return ENOSPC;
	memcpy(flood->peers, peers, count * sizeof(*peers));
	flood->count = count;
	if (flood->mask)
		fill_sets(engine, flood);
	old = atomic_exchange(&engine->flood, flood);
	engine_synchronize(engine);
	free(old);
	return 0;
}

int flood_set(struct engine *engine, const uint32_t *ids, uint32_t peer_count)
{
	struct peer *peers[MAX_PEERS];
	uint32_t count = 0;

	if (peer_count > MAX_PEERS)
		return EINVAL;
	for (uint32_t i = 0; i < peer_count; i++) {
		struct peer *peer = peer_get(engine, ids[i]);

		if (peer)
			peers[count++] = peer;
	}
	return publish(engine, peers, count);
}

static void forget(struct policy *policy)
{
	free(policy->entries);
	*policy = (struct policy){0};
}

static int append(struct policy *policy, const uint8_t *entries, size_t length)
{
	uint8_t *longer;

	if (policy->length + length > GROUPS_BYTES)
		return ENOSPC;
	longer = realloc(policy->entries, policy->length + length + 1); /* never of 0 bytes */
	if (!longer)
		return ENOSPC;
	memcpy(longer + policy->length, entries, length);
	policy->entries = longer;
	policy->length += length;
	return 0;
}

/* In place of what held. */
static int replace(struct engine *engine)
{
	const struct flood *flood = engine->flood;
	struct policy old = engine->policy;
	int error;

	engine->policy = engine->coming;
	engine->coming = (struct policy){0};
	error = publish(engine, flood ? flood->peers : NULL, flood ? flood->count : 0);
	if (error) {
		forget(&engine->policy);
		engine->policy = old;
		return error;
	}
	forget(&old);
	return 0;
}

int groups_set(struct engine *engine, const uint8_t *body, size_t length)
{
	struct set_groups request;
	int error = 0;

	if (engine->mode != MODE_ALONE || length < sizeof(request))
		return EINVAL;
	memcpy(&request, body, sizeof(request));
	body += sizeof(request);
	length -= sizeof(request);
	if (request.flags & GROUPS_SAME || !request.until) {
		forget(&engine->coming);
		if (length || request.flags & GROUPS_MORE)
			return EINVAL;
	} else {
		struct policy part = {(uint8_t *)(uintptr_t)body, length};

		error = is_right(&part) ? append(&engine->coming, body, length) : EINVAL;
		if (error)
			forget(&engine->coming);
		if (error || request.flags & GROUPS_MORE)
			return error;
	}
	if (!request.until) /* first: nothing is pruned by half of it */
		engine->groups_until = 0;
	if (!(request.flags & GROUPS_SAME))
		error = replace(engine);
	if (error)
		return error;
	engine->groups_watch = (request.flags & GROUPS_WATCH) != 0;
	engine->groups_until = request.until;
	return 0;
}

void groups_forget(struct engine *engine)
{
	engine->groups_until = 0;
	forget(&engine->coming);
}
