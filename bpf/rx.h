/* SPDX-License-Identifier: Apache-2.0
 * synapse_rx: XDP on each underlay interface.
 *
 *   not UDP to our port                -> pass, untouched        \ also when the address is not ours and the session
 *   0x01, 0x02: handshake              -> synapse_mac1           / is unknown: this host may route for another robot
 *   0x03 cookie reply, 0x04 signaling  -> pass, to the Ganglion's socket
 *   other bytes below 0x10             -> drop
 *   data of stream 1 while the native engine lives -> pass, to its socket
 *   other data: session, window, AEAD, window again, learn the source
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
#define SIGNALING_MIN (SYNAPSE_HEADER + SYNAPSE_TAG + 1)
#define SIGNALING_MAX 1200
#define STREAM_SHIFT 62
#define OFFSET_MASK 127 /* of what stands before the data header */

/* Linux 5.12; bcc 0.26 does not declare it. */
static long (*check_mtu)(void *ctx, __u32 ifindex, __u32 *mtu, int difference, __u64 flags) =
	(void *)BPF_FUNC_check_mtu;

struct data_header {
	__u64 session_id, sequence, nonce; /* little-endian */
};

static __always_inline int receive_control(struct xdp_md *ctx, const struct config *cfg, const struct outer *outer,
					   __u8 type)
{
	__u64 length = outer->payload_length, least, most;

	switch (type) {
	case 0x01:
		least = most = INITIATION_SIZE;
		break;
	case 0x02:
		least = most = RESPONSE_SIZE;
		break;
	case 0x03:
		least = most = COOKIE_REPLY_SIZE;
		break;
	case 0x04:
		least = SIGNALING_MIN;
		most = SIGNALING_MAX;
		break;
	default:
		return drop(DROP_UNKNOWN_TYPE);
	}
	if (length < least)
		return drop(DROP_TOO_SHORT);
	if (length > most)
		return drop(DROP_TOO_LONG);
	if (type == 0x04)
		return pass_to_socket(ctx, cfg, outer, WAY_RX_SIGNALING);
	if (type == 0x03)
		return pass_to_socket(ctx, cfg, outer, WAY_RX_HANDSHAKE);
	programs.call(ctx, PROGRAM_MAC1);
	return drop(DROP_NO_ROOM); /* not loaded */
}

/* A sender on this machine may hand over several datagrams in one (UDP_SEGMENT over a veth). In driver mode the kernel
 * cuts them apart in time; in generic mode it does when the socket gets them. Such a packet is longer than the MTU: see
 * RUN_BYTES_MIN of omni_core/io/udp.py. */
static __always_inline int is_merged(struct xdp_md *ctx, __u64 length)
{
	__u32 mtu = 0;

	return length > SYNAPSE_MAX_FRAME || check_mtu(ctx, 0, &mtu, 0, 0) > 0;
}

/* ``on_cpu``: on the CPU that synapse_steer chose. ``generic``: in generic mode, which has no use for other CPUs: there
 * the stack spreads packets (RPS). */
static __always_inline int receive(struct xdp_md *ctx, const int on_cpu, const int generic)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct config *cfg = get_config();
	struct scratch *room = get_scratch();
	struct outer *outer;
	struct data_header *header;
	struct session *session;
	struct stream *window;
	__u64 id, sequence, nonce, now;
	__u32 *known, slot, ours;
	__u64 offset, length, stream;
	__u8 type;

	if (!cfg || !room)
		return XDP_PASS;
	outer = &room->outer;
	if (!parse_outer(data, end, cfg, outer))
		return pass(WAY_RX_FOREIGN);
	ours = local_addresses.lookup(&outer->destination) ? 1 : 0;
	opaque(ours);
	offset = ETHERNET + (outer->ip_header & IP_HEADER_MASK) + UDP;
	if (data + offset + 1 > end || outer->payload_length == 0)
		return ours ? drop(DROP_TOO_SHORT) : pass(WAY_RX_FOREIGN);
	type = *(__u8 *)(data + offset);
	if (type < 0x10) {
		if (!ours)
			return pass(WAY_RX_FOREIGN);
		if (data + offset + (outer->payload_length & LENGTH_MASK) > end)
			return drop(DROP_TOO_SHORT);
		return on_cpu ? drop(DROP_UNKNOWN_TYPE) : receive_control(ctx, cfg, outer, type);
	}

	header = data + offset;
	if ((void *)(header + 1) + MIN_FRAME + SYNAPSE_TAG > end ||
	    outer->payload_length < SYNAPSE_HEADER + MIN_FRAME + SYNAPSE_TAG)
		return ours ? drop(DROP_TOO_SHORT) : pass(WAY_RX_FOREIGN);
	id = header->session_id;
	sequence = header->sequence;
	nonce = header->nonce;
	known = session_slots.lookup(&id);
	if (!known && !ours)
		return pass(WAY_RX_FOREIGN);
	length = (outer->payload_length & LENGTH_MASK) - SYNAPSE_HEADER - SYNAPSE_TAG;
	if (generic && ours && ctx->ingress_ifindex != cfg->tap_ifindex && is_merged(ctx, length))
		return pass(WAY_RX_MERGED);
	if (length > SYNAPSE_MAX_FRAME)
		return drop(DROP_TOO_LONG);
	stream = nonce >> STREAM_SHIFT;
	if ((nonce & SEQUENCE_MASK) != sequence || stream >= SYNAPSE_STREAMS)
		return drop(DROP_BAD_NONCE);
	if (!known)
		return drop(DROP_UNKNOWN_SESSION);
	slot = *known; /* once: the entry may become another session's under us */
	session = sessions.lookup(&slot);
	if (!session)
		return drop(DROP_UNKNOWN_SESSION);
	if (!cfg->forwarding)
		return drop(DROP_PAUSED);
	now = bpf_ktime_get_ns();
	if (now >= session->expires || sequence >= REJECT_AFTER_MESSAGES)
		return drop(DROP_SESSION_EXPIRED);
	if (stream && engine_lives(cfg, now)) /* it has the window, too. What came over its socket and this TAP is a stray */
		return ctx->ingress_ifindex == cfg->tap_ifindex ? drop(DROP_BAD_NONCE) : pass(WAY_RX_BULK);
	window = find_stream(slot, stream);
	if (!window || !window_check(window, sequence))
		return drop(DROP_REPLAYED);
	room->slot = slot;
	room->sequence = sequence;
	room->stream = stream;
	room->length = length;
	room->offset = offset;
	room->now = now;
	room->generic = generic;
	if (on_cpu) {
		cpu_programs.call(ctx, PROGRAM_OPEN);
	} else {
		if (!generic && cfg->cpus > 1 && is_busy(session_rates.lookup(&slot), now, length, BUSY_SESSION))
			programs.call(ctx, PROGRAM_STEER);
		programs.call(ctx, PROGRAM_OPEN);
	}
	return drop(DROP_NO_ROOM); /* not loaded */
}

#endif
