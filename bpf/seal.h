/* SPDX-License-Identifier: Apache-2.0
 * synapse_seal: tail-called by synapse_tx with the peer in scratch. */
#ifndef SYNAPSE_SEAL_H
#define SYNAPSE_SEAL_H

#define OUTER_ROOM(ip_header) (ETHERNET + (ip_header) + UDP + SYNAPSE_HEADER + SYNAPSE_TAG)

static __always_inline int seal(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct config *cfg = get_config();
	struct scratch *room = get_scratch();
	struct data_header *header;
	struct session *session;
	struct session_keys *keys;
	struct peer *peer;
	__u64 now, sequence, length, ip_header, strip;
	__u32 id, slot, group, control;
	__u8 *frame;

	if (!cfg || !room)
		return XDP_DROP;
	id = room->peer;
	now = room->now;
	strip = room->offset & OFFSET_MASK; /* 0, or the prefix of a packet from the TAP */
	frame = data + strip;
	if ((void *)(frame + MIN_FRAME) > end)
		return drop(DROP_FRAME_TOO_SHORT);
	length = end - (void *)frame;
	group = is_group(frame);
	control = is_control_mac(frame) && *(__u16 *)(frame + 12) == bpf_htons(CONTROL_ETHERTYPE);
	peer = peers.lookup(&id);
	if (!peer)
		return drop(DROP_NO_SESSION);
	slot = peer->slot;
	session = sessions.lookup(&slot);
	keys = session_keys.lookup(&slot);
	if (!session || !keys || now >= session->expires || session->tx_sequence >= REJECT_AFTER_MESSAGES) {
		if (strip) {
			if (!session)
				return drop(DROP_NO_SESSION);
			return drop(now >= session->expires ? DROP_SESSION_EXPIRED : DROP_SEQUENCE_EXHAUSTED);
		}
		return to_ganglion(ctx, cfg, SLOW_NO_SESSION, id, WAY_TX_NO_SESSION);
	}
	if (!peer->remote_port)
		return drop(DROP_NO_PATH);
	sequence = __sync_fetch_and_add(&session->tx_sequence, 1);
	if (sequence >= REJECT_AFTER_MESSAGES)
		return drop(DROP_SEQUENCE_EXHAUSTED);
	__sync_fetch_and_add(&session->tx_bytes, length);
	session->last_tx = now;
	if (!control) {
		session->last_tx_data = now;
		if (!group)
			session->last_unicast = now;
	}

	ip_header = (peer->ip_header + cfg->zero) & IP_HEADER_MASK;
	if (bpf_xdp_adjust_head(ctx, (int)strip - (int)OUTER_ROOM(ip_header)))
		return drop(DROP_NO_ROOM);
	data = (void *)(long)ctx->data;
	end = (void *)(long)ctx->data_end;
	header = data + ETHERNET + ip_header + UDP;
	if ((void *)(header + 1) > end)
		return drop(DROP_NO_ROOM);
	header->session_id = session->send_id;
	header->sequence = sequence;
	header->nonce = sequence; /* stream 0, path 0 */
	if (aead_seal(keys->send, sequence, header, length, end))
		return drop(DROP_NO_ROOM);
	room->length = UDP + SYNAPSE_HEADER + length + SYNAPSE_TAG;
	programs.call(ctx, PROGRAM_WRAP);
	return drop(DROP_NO_ROOM); /* not loaded */
}

#endif
