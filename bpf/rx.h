/* SPDX-License-Identifier: Apache-2.0
 * synapse_rx: XDP on each underlay interface.
 *
 *   not UDP to our port                -> pass, untouched        \ also when the address is not ours and the session
 *   0x01, 0x02: handshake              -> synapse_mac1           / is unknown: this host may route for another robot
 *   0x03 cookie reply, 0x04 signaling  -> pass, to the Ganglion's socket
 *   other bytes below 0x10             -> drop
 *   data: session, window, AEAD, window again, learn the source
 *       in-session control             -> the Ganglion, over the TAP
 *       any other frame                -> out of omni0-syn, that is, into omni0
 * The first check that fails is the drop reason, in the order of omni_core/dataplane/userspace.py. Nothing but a counter
 * changes before the AEAD has accepted the packet, and nothing is ever answered.
 */
#ifndef SYNAPSE_RX_H
#define SYNAPSE_RX_H

#define MIN_FRAME 14
#define INITIATION_SIZE 480
#define RESPONSE_SIZE 288
#define COOKIE_REPLY_SIZE 64
#define SIGNALING_MIN (SYNAPSE_HEADER + SYNAPSE_TAG)
#define STREAM_SHIFT 62

struct data_header {
	__u64 session_id, sequence, nonce; /* little-endian */
};

static __always_inline int receive_control(struct xdp_md *ctx, __u8 type, __u64 length)
{
	switch (type) {
	case 0x01:
	case 0x02:
		if (length != (type == 0x01 ? INITIATION_SIZE : RESPONSE_SIZE))
			return drop(length < RESPONSE_SIZE ? DROP_TOO_SHORT : DROP_BAD_MAC1);
		programs.call(ctx, PROGRAM_MAC1);
		return drop(DROP_BAD_MAC1); /* not loaded */
	case 0x03:
		if (length != COOKIE_REPLY_SIZE)
			return drop(DROP_TOO_SHORT);
		count(WAY_RX_HANDSHAKE);
		return XDP_PASS;
	case 0x04:
		if (length < SIGNALING_MIN)
			return drop(DROP_TOO_SHORT);
		count(WAY_RX_SIGNALING);
		return XDP_PASS;
	}
	return drop(DROP_UNKNOWN_TYPE);
}

/* The newest packet so far came from elsewhere than the peer's path: said once for each place. */
static __always_inline void notice_source(struct session *session, const struct outer *outer)
{
	struct event event = {};
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
	event.kind = EVENT_MOVED;
	event.peer = id;
	event.receive_id = session->receive_id;
	event.address = outer->source;
	event.port = outer->source_port;
	events.ringbuf_output(&event, sizeof(event), 0);
}

static __always_inline void say_confirmed(struct session *session)
{
	struct event event = {};

	event.kind = EVENT_CONFIRMED;
	event.peer = session->peer;
	event.receive_id = session->receive_id;
	events.ringbuf_output(&event, sizeof(event), 0);
}

static __always_inline int control_to_ganglion(struct xdp_md *ctx, const struct config *cfg, struct session *session,
					       const struct outer *outer, __u64 offset)
{
	struct slow_prefix *prefix;

	if (bpf_xdp_adjust_head(ctx, (int)offset - (int)sizeof(*prefix)))
		return drop(DROP_NO_ROOM);
	prefix = (void *)(long)ctx->data;
	if ((void *)(prefix + 1) > (void *)(long)ctx->data_end)
		return drop(DROP_NO_ROOM);
	write_prefix(prefix, SLOW_CONTROL, session->peer, session->receive_id);
	prefix->address = outer->source;
	prefix->port = outer->source_port;
	count(WAY_RX_CONTROL);
	return bpf_redirect(cfg->tap_ifindex, 0);
}

int synapse_rx(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct config *cfg = get_config();
	struct outer outer = {};
	struct data_header *header;
	struct session *session;
	__u64 id, sequence, nonce, now;
	__u32 *slot, ours, first = 0;
	__u64 offset, length, surplus, stream;
	int accepted, newest;
	__u8 *frame;
	__u8 type;

	if (!cfg || !parse_outer(data, end, cfg, &outer)) {
		count(WAY_RX_FOREIGN);
		return XDP_PASS;
	}
	ours = local_addresses.lookup(&outer.destination) ? 1 : 0;
	opaque(ours);
	offset = ETHERNET + outer.ip_header + UDP;
	if (data + offset + 1 > end || outer.payload_length == 0)
		return ours ? drop(DROP_TOO_SHORT) : XDP_PASS;
	type = *(__u8 *)(data + offset);
	if (type < 0x10) {
		if (!ours) {
			count(WAY_RX_FOREIGN);
			return XDP_PASS;
		}
		if (data + offset + outer.payload_length > end)
			return drop(DROP_TOO_SHORT);
		return receive_control(ctx, type, outer.payload_length);
	}

	header = data + offset;
	if ((void *)(header + 1) + MIN_FRAME + SYNAPSE_TAG > end ||
	    outer.payload_length < SYNAPSE_HEADER + MIN_FRAME + SYNAPSE_TAG)
		return ours ? drop(DROP_TOO_SHORT) : XDP_PASS;
	id = header->session_id;
	sequence = header->sequence;
	nonce = header->nonce;
	slot = session_slots.lookup(&id);
	if (!slot && !ours) {
		count(WAY_RX_FOREIGN);
		return XDP_PASS;
	}
	length = outer.payload_length - SYNAPSE_HEADER - SYNAPSE_TAG;
	if (length > SYNAPSE_MAX_FRAME)
		return drop(DROP_TOO_LONG);
	stream = nonce >> STREAM_SHIFT;
	if ((nonce & SEQUENCE_MASK) != sequence || stream >= SYNAPSE_STREAMS)
		return drop(DROP_BAD_NONCE);
	if (!slot)
		return drop(DROP_UNKNOWN_SESSION);
	session = sessions.lookup(slot);
	if (!session)
		return drop(DROP_UNKNOWN_SESSION);
	if (!cfg->forwarding)
		return drop(DROP_PAUSED);
	now = bpf_ktime_get_ns();
	if (now >= session->expires || sequence >= REJECT_AFTER_MESSAGES)
		return drop(DROP_SESSION_EXPIRED);
	if (!window_check(session, stream, sequence))
		return drop(DROP_REPLAYED);
	if (aead_open(session->receive_key, nonce, header, length, end))
		return drop(DROP_BAD_TAG);

	bpf_spin_lock(&session->lock);
	newest = sequence >= session->next[stream & (SYNAPSE_STREAMS - 1)];
	accepted = window_accept(session, stream, sequence);
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
		say_confirmed(session);
	if (newest)
		notice_source(session, &outer);

	frame = data + offset + SYNAPSE_HEADER;
	if ((void *)(frame + MIN_FRAME) > end)
		return drop(DROP_TOO_SHORT);
	offset += SYNAPSE_HEADER;
	surplus = (end - data) - offset - length; /* tag, and padding of the outer frame */
	if (is_control_mac(frame)) {
		if (*(__u16 *)(frame + 12) != bpf_htons(0x88b5))
			return drop(DROP_BAD_INNER_FRAME);
		if (bpf_xdp_adjust_tail(ctx, -(int)surplus))
			return drop(DROP_NO_ROOM);
		return control_to_ganglion(ctx, cfg, session, &outer, offset);
	}
	session->last_rx_data = now;
	if (!is_group(frame))
		session->last_unicast = now;
	if (!fdb_learn(frame + 6, vlan_of(frame, end), session->peer, cfg->fdb_max_per_peer, now))
		return drop(DROP_SOURCE_MAC_REFUSED);
	if (bpf_xdp_adjust_tail(ctx, -(int)surplus) || bpf_xdp_adjust_head(ctx, offset))
		return drop(DROP_NO_ROOM);
	count(WAY_RX_DELIVERED);
	return bpf_redirect(cfg->syn_ifindex, 0);
}

#endif
