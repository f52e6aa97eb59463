/* SPDX-License-Identifier: Apache-2.0
 * synapse_deliver: tail-called by synapse_rx for a packet that the AEAD has accepted. */
#ifndef SYNAPSE_DELIVER_H
#define SYNAPSE_DELIVER_H

/* The newest packet so far came from elsewhere than the peer's path: said once for each place. */
static __always_inline void notice_source(struct session *session, struct scratch *room)
{
	const struct outer *outer = &room->outer;
	__u32 id = session->peer;
	struct peer *peer = peers.lookup(&id);

	if (!peer)
		return;
	if (same_address(&peer->remote, &outer->source) && peer->remote_port == outer->source_port) {
		if (peer->moved_port)
			peer->moved_port = 0;
		return;
	}
	if (same_address(&peer->moved, &outer->source) && peer->moved_port == outer->source_port)
		return;
	peer->moved = outer->source;
	peer->moved_port = outer->source_port;
	say(room, EVENT_MOVED, id, session->receive_id);
}

static __always_inline int control_to_ganglion(struct xdp_md *ctx, const struct config *cfg, struct session *session,
					       const struct outer *outer, __u64 offset)
{
	struct slow_prefix *prefix = push_prefix(ctx, offset, SLOW_CONTROL, session->peer);

	if (!prefix)
		return drop(DROP_NO_ROOM);
	prefix->receive_id = session->receive_id;
	prefix->address = outer->source;
	prefix->port = outer->source_port;
	count(WAY_RX_CONTROL);
	return bpf_redirect(cfg->tap_ifindex, 0);
}

#define MOVE_MASK 0x3fff /* of offsets in a packet: more than the longest has */

/* In generic mode the tail of a packet is not to be adjusted: the kernel (bpf_prog_run_generic_xdp) sets skb->tail from
 * skb->data, which stands behind the Ethernet header then, so it ends up 14 bytes behind the end. TCP, which appends
 * to the tail, would hand corrupted data to the application; neighbour discovery drops what it takes for options.
 * Instead the frame is moved to the end of the packet, over the tag. From its end, as both places overlap; up to 7
 * bytes in front of it move along. Returns -1 when the packet is not as long as it should be. */
static __always_inline int move_to_end(void *data, void *end, __u64 offset, __u64 length, __u64 surplus)
{
	__u64 at = offset + length, moved = 0;

#pragma clang loop unroll(disable)
	for (__u32 i = 0; i < SYNAPSE_MAX_FRAME / 8 + 1; i++) {
		__u64 from, to;
		void *source, *target;

		if (moved >= length)
			break;
		moved += 8;
		from = (at - moved) & MOVE_MASK;
		to = (at - moved + surplus) & MOVE_MASK;
		opaque(from);
		opaque(to);
		if (from > MOVE_MASK || to > MOVE_MASK)
			return -1;
		source = data + from;
		target = data + to;
		if (source + 8 > end || target + 8 > end)
			return -1;
		*(__u64 *)target = *(__u64 *)source;
	}
	return 0;
}

/* ``may_be_generic``: synapse_rx_generic may have called. */
static __always_inline int deliver(struct xdp_md *ctx, const int may_be_generic)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct config *cfg = get_config();
	struct scratch *room = get_scratch();
	struct session *session;
	struct stream *window;
	__u64 length, sequence, offset, now, surplus;
	__u32 slot, first = 0;
	int accepted, newest;
	__u8 *frame;

	if (!cfg || !room)
		return XDP_DROP;
	slot = room->slot;
	session = sessions.lookup(&slot);
	window = find_stream(slot, room->stream);
	if (!session || !window)
		return drop(DROP_UNKNOWN_SESSION);
	sequence = room->sequence;
	length = room->length & LENGTH_MASK;
	now = room->now;

	bpf_spin_lock(&session->lock);
	newest = sequence >= window->next;
	accepted = window_accept(window, sequence);
	if (accepted) {
		session->rx_frames++;
		session->rx_bytes += length;
		session->last_rx = now;
		first = !session->confirmed;
		session->confirmed = 1;
	}
	bpf_spin_unlock(&session->lock);
	if (!accepted)
		return drop(DROP_REPLAYED);
	if (first)
		say(room, EVENT_CONFIRMED, session->peer, session->receive_id);
	if (newest)
		notice_source(session, room);

	offset = (room->offset & OFFSET_MASK) + SYNAPSE_HEADER;
	frame = data + offset;
	if ((void *)(frame + MIN_FRAME) > end)
		return drop(DROP_TOO_SHORT);
	surplus = end - data;
	opaque(surplus);
	surplus -= offset + length; /* tag, and padding of the outer frame */
	if (is_control_mac(frame)) {
		if (*(__u16 *)(frame + 12) != bpf_htons(CONTROL_ETHERTYPE))
			return drop(DROP_BAD_INNER_FRAME);
		if (bpf_xdp_adjust_tail(ctx, -(int)surplus))
			return drop(DROP_NO_ROOM);
		return control_to_ganglion(ctx, cfg, session, &room->outer, offset);
	}
	session->last_rx_data = now;
	if (!is_group(frame))
		session->last_unicast = now;
	if (!fdb_learn(room, frame + 6, vlan_of(frame, length, end), session->peer, cfg->fdb_max_per_peer, now))
		return drop(DROP_SOURCE_MAC_REFUSED);
	if (may_be_generic && room->generic) {
		if (move_to_end(data, end, offset, length, surplus))
			return drop(DROP_NO_ROOM);
		offset += surplus;
	} else if (bpf_xdp_adjust_tail(ctx, -(int)surplus)) {
		return drop(DROP_NO_ROOM);
	}
	if (bpf_xdp_adjust_head(ctx, offset))
		return drop(DROP_NO_ROOM);
	count(WAY_RX_DELIVERED);
	return bpf_redirect(cfg->syn_ifindex, 0);
}

#endif
