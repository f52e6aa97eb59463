/* SPDX-License-Identifier: Apache-2.0
 * synapse_tx: XDP on omni0-syn, where the frames of the local port arrive, and on omni0-tap, where the Ganglion writes.
 *
 *   sealed for the peer       -> pass, marked, to synapse_out
 *   group                     -> the same, to be cloned (groups.h)
 *   unknown, no session       -> the Ganglion, over the TAP
 *   longer than the path MTU, or no device known -> sealed, and sent by the Ganglion's socket
 * On the TAP a prefix says what to do: seal for a peer, open what reached the socket, or deliver to the local port.
 */
#ifndef SYNAPSE_TX_H
#define SYNAPSE_TX_H

static __always_inline int transmit(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct config *cfg = get_config();
	struct scratch *room = get_scratch();
	__u64 now = bpf_ktime_get_ns(), length;
	__u32 id = 0, strip = 0, local = 0;
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
		if (prefix->kind != SLOW_SEAL && prefix->kind != SLOW_LOCAL)
			return drop(DROP_NOT_MARKED);
		local = prefix->kind == SLOW_LOCAL;
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
	if (local) {
		if (bpf_xdp_adjust_head(ctx, sizeof(struct slow_prefix)))
			return drop(DROP_NO_ROOM);
		count(WAY_RX_LOCAL);
		return bpf_redirect(cfg->syn_ifindex, 0); /* out of it is into omni0, as deliver() does */
	}
	if (!strip) {
		__u16 vlan = vlan_of(frame, length, end);
		struct fdb_entry *entry;

		if (!fdb_learn(room, frame + 6, vlan, SYNAPSE_OWNER_LOCAL, cfg->fdb_max_local, now))
			return drop(is_group(frame + 6) ? DROP_SOURCE_MAC_REFUSED : DROP_SPLIT_HORIZON);
		if (is_group(frame)) {
			if (is_control_mac(frame))
				return drop(DROP_RESERVED_DESTINATION);
			return transmit_group(ctx, cfg, frame, end, now);
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
