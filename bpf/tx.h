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

#define OUTER_ROOM(ip_header) (ETHERNET + (ip_header) + UDP + SYNAPSE_HEADER + SYNAPSE_TAG)
#define TTL 64
#define FLOODED_PEER 0 /* in the prefix until synapse_out writes each peer */

static __always_inline int to_ganglion(struct xdp_md *ctx, const struct config *cfg, __u8 kind, __u32 peer, __u32 way)
{
	struct slow_prefix *prefix;

	if (bpf_xdp_adjust_head(ctx, -(int)sizeof(*prefix)))
		return drop(DROP_NO_ROOM);
	prefix = (void *)(long)ctx->data;
	if ((void *)(prefix + 1) > (void *)(long)ctx->data_end)
		return drop(DROP_NO_ROOM);
	write_prefix(prefix, kind, peer, 0);
	count(way);
	return bpf_redirect(cfg->tap_ifindex, 0);
}

/* To synapse_out, which clones it for each peer of the flood set. */
static __always_inline int to_flood(struct xdp_md *ctx, const struct config *cfg)
{
	struct slow_prefix *prefix;

	if (bpf_xdp_adjust_head(ctx, -(int)sizeof(*prefix)))
		return drop(DROP_NO_ROOM);
	prefix = (void *)(long)ctx->data;
	if ((void *)(prefix + 1) > (void *)(long)ctx->data_end)
		return drop(DROP_NO_ROOM);
	write_prefix(prefix, SLOW_SEAL, FLOODED_PEER, 0);
	__builtin_memcpy(prefix->destination, cfg->mark, 6);
	count(WAY_TX_FLOODED);
	return XDP_PASS;
}

/* Sealed already; the socket sends it where the path leads. */
static __always_inline int to_socket(struct xdp_md *ctx, const struct config *cfg, const struct peer *peer, __u32 id)
{
	struct slow_prefix *prefix;

	if (bpf_xdp_adjust_head(ctx, ETHERNET + (int)peer->ip_header + UDP - (int)sizeof(*prefix)))
		return drop(DROP_NO_ROOM);
	prefix = (void *)(long)ctx->data;
	if ((void *)(prefix + 1) > (void *)(long)ctx->data_end)
		return drop(DROP_NO_ROOM);
	write_prefix(prefix, SLOW_SEND, id, 0);
	prefix->address = peer->remote;
	prefix->port = peer->remote_port;
	count(WAY_TX_SEND);
	return bpf_redirect(cfg->tap_ifindex, 0);
}

/* An ARP request or a neighbour solicitation says whom the host is about to talk to: the Ganglion wants to know. */
static __always_inline int is_question(__u8 *frame, void *end)
{
	__u16 type = *(__u16 *)(frame + 12);

	if (type == bpf_htons(ETH_P_ARP))
		return 1;
	if (type != bpf_htons(ETH_P_IPV6) || (void *)(frame + 55) > end)
		return 0;
	return frame[20] == IPPROTO_ICMPV6 && frame[54] == 135;
}

static __always_inline int write_outer(void *data, void *end, const struct config *cfg, const struct peer *peer,
				       __u32 udp_length)
{
	struct ethhdr *ethernet = data;
	struct udphdr *udp;

	if (data + ETHERNET + 40 + UDP > end)
		return -1;
	__builtin_memcpy(ethernet->h_dest, cfg->mark, 6);
	*(__u16 *)ethernet->h_source = 0;
	*(__u32 *)(ethernet->h_source + 2) = peer->ifindex;
	if (peer->ip_header == 20) {
		struct iphdr *ip = data + ETHERNET;

		ethernet->h_proto = bpf_htons(ETH_P_IP);
		*(__u16 *)ip = bpf_htons(0x4500);
		ip->tot_len = bpf_htons(20 + udp_length);
		ip->id = 0; /* RFC 6864: any value will do for an atomic datagram */
		ip->frag_off = bpf_htons(0x4000);
		ip->ttl = TTL;
		ip->protocol = IPPROTO_UDP;
		ip->check = 0;
		ip->saddr = peer->local.low >> 32;
		ip->daddr = peer->remote.low >> 32;
		ip->check = ipv4_checksum(ip);
		udp = (void *)(ip + 1);
	} else {
		struct ipv6hdr *ip = data + ETHERNET;

		ethernet->h_proto = bpf_htons(ETH_P_IPV6);
		*(__u32 *)ip = bpf_htonl(0x60000000);
		ip->payload_len = bpf_htons(udp_length);
		ip->nexthdr = IPPROTO_UDP;
		ip->hop_limit = TTL;
		__builtin_memcpy(&ip->saddr, &peer->local, 16);
		__builtin_memcpy(&ip->daddr, &peer->remote, 16);
		udp = (void *)(ip + 1);
	}
	udp->source = cfg->port;
	udp->dest = peer->remote_port;
	udp->len = bpf_htons(udp_length);
	udp->check = 0; /* IPv4: may be absent (RFC 768), and the AEAD checks more */
	if (peer->ip_header != 20) {
		__u64 sum = bpf_htons(IPPROTO_UDP) + (__u64)bpf_htons(udp_length);
		__s64 whole;
		__u16 check;

		sum += (peer->local.high & 0xffffffff) + (peer->local.high >> 32);
		sum += (peer->local.low & 0xffffffff) + (peer->local.low >> 32);
		sum += (peer->remote.high & 0xffffffff) + (peer->remote.high >> 32);
		sum += (peer->remote.low & 0xffffffff) + (peer->remote.low >> 32);
		sum = (sum & 0xffffffff) + (sum >> 32);
		sum = (sum & 0xffffffff) + (sum >> 32);
		whole = sum_packet(udp, udp_length, end, sum);
		if (whole < 0)
			return -1;
		check = fold(whole);
		udp->check = check ? check : 0xffff; /* RFC 8200 8.1 */
	}
	return 0;
}

int synapse_tx(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct config *cfg = get_config();
	struct data_header *header;
	struct session *session;
	struct peer *peer;
	__u32 id, slot, length, ip_header, strip = 0, group = 0, control = 0;
	__u64 now = bpf_ktime_get_ns(), sequence;
	__u8 *frame = data;

	if (!cfg)
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
			programs.call(ctx, PROGRAM_RX);
			return drop(DROP_NOT_MARKED);
		}
		if (prefix->kind != SLOW_SEAL)
			return drop(DROP_NOT_MARKED);
		id = prefix->peer;
		strip = sizeof(*prefix);
		frame = data + sizeof(*prefix);
	}
	length = (__u32)(end - (void *)frame);
	if ((void *)(frame + MIN_FRAME) > end)
		return drop(DROP_FRAME_TOO_SHORT);
	if (length > SYNAPSE_MAX_FRAME)
		return drop(DROP_FRAME_TOO_LONG);
	if (!cfg->forwarding)
		return drop(DROP_PAUSED);
	group = is_group(frame);
	if (strip) {
		control = is_control_mac(frame);
	} else {
		__u16 vlan = vlan_of(frame, end);
		struct fdb_entry *entry;

		if (!fdb_learn(frame + 6, vlan, SYNAPSE_OWNER_LOCAL, cfg->fdb_max_local, now))
			return drop(is_group(frame + 6) ? DROP_SOURCE_MAC_REFUSED : DROP_SPLIT_HORIZON);
		if (group) {
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
	}
	peer = peers.lookup(&id);
	if (!peer)
		return drop(DROP_NO_SESSION);
	slot = peer->slot;
	session = sessions.lookup(&slot);
	if (!session || now >= session->expires) {
		if (strip)
			return drop(session ? DROP_SESSION_EXPIRED : DROP_NO_SESSION);
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

	ip_header = (peer->ip_header + cfg->reserved) & IP_HEADER_MASK;
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
	if (aead_seal(session->send_key, sequence, header, length, end))
		return drop(DROP_NO_ROOM);
	length += UDP + SYNAPSE_HEADER + SYNAPSE_TAG;
	if (!peer->ifindex || ip_header + length > peer->mtu)
		return to_socket(ctx, cfg, peer, id);
	if (write_outer(data, end, cfg, peer, length))
		return drop(DROP_NO_ROOM);
	count(WAY_TX_SEALED);
	return XDP_PASS;
}

#endif
