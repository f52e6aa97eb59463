/* SPDX-License-Identifier: Apache-2.0
 * synapse_tx: XDP on omni0-syn, where the frames of the local port arrive, and on omni0-tap, where the Ganglion writes.
 *
 *   sealed for the peer       -> pass, marked, to synapse_out
 *   group, unknown, no session-> the Ganglion, over the TAP
 *   longer than the path MTU, or no device known -> sealed, and sent by the Ganglion's socket
 * On the TAP a prefix says what to do: seal for a peer, or open what reached the socket.
 */
#ifndef SYNAPSE_TX_H
#define SYNAPSE_TX_H

#define FLOODED_PEER 0 /* in the prefix until synapse_out writes each peer */

static __always_inline int to_ganglion(struct xdp_md *ctx, const struct config *cfg, __u8 kind, __u32 peer, __u32 way)
{
	if (!push_prefix(ctx, 0, kind, peer))
		return drop(DROP_NO_ROOM);
	count(way);
	return bpf_redirect(cfg->tap_ifindex, 0);
}

/* To synapse_out, which clones it for each peer of the flood set. */
static __always_inline int to_flood(struct xdp_md *ctx, const struct config *cfg)
{
	struct slow_prefix *prefix = push_prefix(ctx, 0, SLOW_SEAL, FLOODED_PEER);

	if (!prefix)
		return drop(DROP_NO_ROOM);
	__builtin_memcpy(prefix->destination, cfg->mark, 6);
	count(WAY_TX_FLOODED);
	return XDP_PASS;
}

/* An ARP request or a neighbour solicitation says whom the host is about to talk to: the Ganglion wants to know. */
static __always_inline int is_question(__u8 *frame, void *end)
{
	__u16 type = *(__u16 *)(frame + 12);

#pragma unroll
	for (int tags = 0; tags < 2; tags++) {
		if (!is_tpid(type) || (void *)(frame + TAGGED) > end)
			break;
		frame += TAGGED - ETHERNET;
		type = *(__u16 *)(frame + 12);
	}
	if (type == bpf_htons(ETH_P_ARP))
		return 1;
	if (type != bpf_htons(ETH_P_IPV6) || (void *)(frame + 55) > end)
		return 0;
	return frame[20] == IPPROTO_ICMPV6 && frame[54] == 135;
}

static __always_inline int transmit(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct config *cfg = get_config();
	struct scratch *room = get_scratch();
	__u64 now = bpf_ktime_get_ns(), length;
	__u32 id = 0, strip = 0;
	__u8 *frame = data;

	if (!cfg || !room)
		return XDP_DROP;
	if (ctx->ingress_ifindex == cfg->tap_ifindex) {
		struct slow_prefix *prefix = data;

		if ((void *)(prefix + 1) > end)
			return drop(DROP_FRAME_TOO_SHORT);
		if (prefix->ethertype != bpf_htons(SYNAPSE_SLOW_ETHERTYPE))
			return drop(DROP_NOT_MARKED);
		if (prefix->kind == SLOW_OPEN) {
			if (bpf_xdp_adjust_head(ctx, sizeof(*prefix)))
				return drop(DROP_NO_ROOM);
			programs.call(ctx, PROGRAM_RX_GENERIC);
			return drop(DROP_NO_ROOM); /* not loaded */
		}
		if (prefix->kind != SLOW_SEAL)
			return drop(DROP_NOT_MARKED);
		id = prefix->peer;
		strip = sizeof(*prefix);
		frame = data + sizeof(*prefix);
	}
	length = end - (void *)frame;
	if ((void *)(frame + MIN_FRAME) > end)
		return drop(DROP_FRAME_TOO_SHORT);
	if (length > SYNAPSE_MAX_FRAME)
		return drop(DROP_FRAME_TOO_LONG);
	if (!cfg->forwarding)
		return drop(DROP_PAUSED);
	if (!strip) {
		__u16 vlan = vlan_of(frame, length, end);
		struct fdb_entry *entry;

		if (!fdb_learn(room, frame + 6, vlan, SYNAPSE_OWNER_LOCAL, cfg->fdb_max_local, now))
			return drop(is_group(frame + 6) ? DROP_SOURCE_MAC_REFUSED : DROP_SPLIT_HORIZON);
		if (is_group(frame)) {
			if (is_control_mac(frame))
				return drop(DROP_RESERVED_DESTINATION);
			if (cfg->flood_count == SYNAPSE_FLOOD_SLOW || is_question(frame, end))
				return to_ganglion(ctx, cfg, SLOW_GROUP, 0, WAY_TX_GROUP);
			return to_flood(ctx, cfg);
		}
		entry = fdb_find(frame, vlan);
		if (!entry)
			return to_ganglion(ctx, cfg, SLOW_UNKNOWN, 0, WAY_TX_UNKNOWN);
		id = entry->owner;
		if (id == SYNAPSE_OWNER_LOCAL)
			return drop(WAY_TX_LOCAL); /* the bridge there has delivered it */
		notice_small_frame(room, length, now);
	}
	room->peer = id;
	room->offset = strip;
	room->now = now;
	programs.call(ctx, PROGRAM_SEAL);
	return drop(DROP_NO_ROOM); /* not loaded */
}

#endif
