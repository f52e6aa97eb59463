/* SPDX-License-Identifier: Apache-2.0
 * Group frames of the local port: which peers get one. The rule, and the oracle, is omni_core/dataplane/groups.py.
 *
 *   more peers than slots, ARP or neighbour question -> the Ganglion
 *   while the policy holds (config.groups_until):
 *     watched (IGMP, MLD, RTPS discovery)            -> the Ganglion
 *     IP multicast beyond the link                   -> the peers of (MAC, port), else of (MAC, 0), else elsewhere
 *   all else                                         -> the flood set
 */
#ifndef SYNAPSE_GROUPS_H
#define SYNAPSE_GROUPS_H

#define FLOODED_PEER 0 /* in the prefix until synapse_out writes each peer */

#define NEIGHBOUR_SOLICITATION 135 /* RFC 4861 */
#define MLD_QUERY 130		    /* RFC 2710; 131 report, 132 done */
#define MLD_DONE 132
#define MLD_REPORT_2 143	/* RFC 3810 */
#define RTPS_PORT_BASE 7400	/* DDSI-RTPS 2.3, 9.6.1.1 */
#define RTPS_DOMAIN_GAIN 250
#define RTPS_MAGIC bpf_htonl(0x52545053) /* "RTPS" */

#define IPV4_OFFSET 0x1fff /* of a fragment */
#define IPV6_HEADER 40
#define HOP_BY_HOP 8 /* bytes that are read of it */

/* What a group frame is, as far as it matters here. */
struct group_frame {
	__u16 type;   /* be; behind the tags */
	__u16 port;   /* be; 0: none */
	__u8 question; /* neighbour solicitation */
	__u8 listening; /* IGMP or MLD */
	__u8 discovery; /* of RTPS */
};

static __always_inline int to_ganglion(struct xdp_md *ctx, const struct config *cfg, __u8 kind, __u32 peer, __u32 way)
{
	if (!push_prefix(ctx, 0, kind, peer))
		return drop(DROP_NO_ROOM);
	count(way);
	return bpf_redirect(cfg->tap_ifindex, 0);
}

/* To synapse_out, which clones it for each peer of the set. */
static __always_inline int to_peers(struct xdp_md *ctx, const struct config *cfg, const struct peer_set *peers)
{
	struct peer_set set = *peers; /* now, not half of it later */
	struct slow_prefix *prefix;

	if (!(set.low | set.high))
		return drop(WAY_TX_NOBODY);
	prefix = push_prefix(ctx, 0, SLOW_SEAL, FLOODED_PEER);
	if (!prefix)
		return drop(DROP_NO_ROOM);
	__builtin_memcpy(prefix->destination, cfg->mark, 6);
	__builtin_memcpy(&prefix->address, &set, sizeof(set));
	count(WAY_TX_FLOODED);
	return XDP_PASS;
}

static __always_inline void read_udp(struct group_frame *group, __u8 *udp, void *end)
{
	__u16 port;

	if ((void *)(udp + UDP) > end)
		return;
	group->port = *(__u16 *)(udp + 2);
	port = bpf_ntohs(group->port);
	if (port >= RTPS_PORT_BASE && (port - RTPS_PORT_BASE) % RTPS_DOMAIN_GAIN == 0 &&
	    (void *)(udp + UDP + 4) <= end)
		group->discovery = *(__u32 *)(udp + UDP) == RTPS_MAGIC;
}

static __always_inline void read_ipv4(struct group_frame *group, __u8 *ip, void *end)
{
	__u64 length;

	if ((void *)(ip + 20) > end || ip[0] >> 4 != 4)
		return;
	length = (ip[0] & 15) * 4;
	if (length < 20 || (void *)(ip + length) > end)
		return;
	group->listening = ip[9] == IPPROTO_IGMP;
	if (ip[9] == IPPROTO_UDP && !(*(__u16 *)(ip + 6) & bpf_htons(IPV4_OFFSET)))
		read_udp(group, ip + length, end);
}

static __always_inline void read_ipv6(struct group_frame *group, __u8 *ip, void *end)
{
	__u64 length = IPV6_HEADER;
	__u8 next;

	if ((void *)(ip + IPV6_HEADER) > end)
		return;
	next = ip[6];
	if (next == IPPROTO_ICMPV6 && (void *)(ip + IPV6_HEADER + 1) <= end)
		group->question = ip[IPV6_HEADER] == NEIGHBOUR_SOLICITATION; /* whatever the version says */
	if (ip[0] >> 4 != 6)
		return;
	if (next == 0) {
		if ((void *)(ip + IPV6_HEADER + HOP_BY_HOP) > end)
			return;
		next = ip[IPV6_HEADER];
		length += 8 * ip[IPV6_HEADER + 1] + 8;
	}
	ip += length;
	if (next == IPPROTO_UDP)
		read_udp(group, ip, end);
	else if (next == IPPROTO_ICMPV6 && (void *)(ip + 1) <= end)
		group->listening = (ip[0] >= MLD_QUERY && ip[0] <= MLD_DONE) || ip[0] == MLD_REPORT_2;
}

static __always_inline void read_group_frame(struct group_frame *group, __u8 *frame, void *end)
{
	__u16 type = *(__u16 *)(frame + 12);

#pragma unroll
	for (int tags = 0; tags < 2; tags++) {
		if (!is_tpid(type) || (void *)(frame + TAGGED) > end)
			break;
		frame += TAGGED - ETHERNET;
		type = *(__u16 *)(frame + 12);
	}
	group->type = type;
	if (type == bpf_htons(ETH_P_IP))
		read_ipv4(group, frame + ETHERNET, end);
	else if (type == bpf_htons(ETH_P_IPV6))
		read_ipv6(group, frame + ETHERNET, end);
}

/* Link-local and solicited-node groups are not (RFC 4541, 2.1.2 and 3). */
static __always_inline int is_pruned(const struct group_frame *group, const __u8 *mac)
{
	if (group->listening)
		return 0;
	if (group->type == bpf_htons(ETH_P_IP))
		return mac[0] == 0x01 && mac[1] == 0x00 && mac[2] == 0x5e && mac[3] < 0x80 && (mac[3] | mac[4]);
	if (group->type == bpf_htons(ETH_P_IPV6))
		return mac[0] == 0x33 && mac[1] == 0x33 && mac[2] != 0xff && (mac[2] | mac[3] | mac[4]);
	return 0;
}

static __always_inline int transmit_group(struct xdp_md *ctx, const struct config *cfg, __u8 *frame, void *end,
					  __u64 now)
{
	struct group_frame group = {};
	struct group_key key = {};
	struct peer_set *peers;

	if (cfg->flood_slow)
		return to_ganglion(ctx, cfg, SLOW_GROUP, 0, WAY_TX_GROUP);
	read_group_frame(&group, frame, end);
	/* Whom the host is about to talk to: the Ganglion wants to know. */
	if (group.type == bpf_htons(ETH_P_ARP) || group.question)
		return to_ganglion(ctx, cfg, SLOW_GROUP, 0, WAY_TX_GROUP);
	if (now >= cfg->groups_until)
		return to_peers(ctx, cfg, &cfg->everyone);
	if (cfg->groups_watch && (group.listening || group.discovery))
		return to_ganglion(ctx, cfg, SLOW_GROUP, 0, WAY_TX_WATCHED);
	if (!is_pruned(&group, frame))
		return to_peers(ctx, cfg, &cfg->everyone);
	__builtin_memcpy(key.mac, frame, 6);
	key.port = group.port;
	peers = groups.lookup(&key);
	if (!peers && key.port) {
		key.port = 0;
		peers = groups.lookup(&key);
	}
	if (!peers)
		peers = (struct peer_set *)&cfg->elsewhere;
	return to_peers(ctx, cfg, peers);
}

#endif
