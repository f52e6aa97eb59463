/* SPDX-License-Identifier: Apache-2.0
 * synapse_wrap: tail-called by synapse_seal, to write the outer headers in front of a sealed packet. */
#ifndef SYNAPSE_WRAP_H
#define SYNAPSE_WRAP_H

#define TTL 64

/* Sealed already; the socket sends it where the path leads. */
static __always_inline int to_socket(struct xdp_md *ctx, const struct config *cfg, const struct peer *peer, __u32 id)
{
	struct slow_prefix *prefix = push_prefix(ctx, ETHERNET + peer->ip_header + UDP, SLOW_SEND, id);

	if (!prefix)
		return drop(DROP_NO_ROOM);
	prefix->address = peer->remote;
	prefix->port = peer->remote_port;
	count(WAY_TX_SEND);
	return bpf_redirect(cfg->tap_ifindex, 0);
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
		whole = sum_packet(udp, udp_length, end, sum, cfg->zero);
		if (whole < 0)
			return -1;
		check = fold(whole);
		udp->check = check ? check : 0xffff; /* RFC 8200 8.1 */
	}
	return 0;
}

static __always_inline int wrap(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct config *cfg = get_config();
	struct scratch *room = get_scratch();
	struct peer *peer;
	__u32 id;

	if (!cfg || !room)
		return XDP_DROP;
	id = room->peer;
	peer = peers.lookup(&id);
	if (!peer)
		return drop(DROP_NO_SESSION);
	if (!peer->ifindex || peer->ip_header + room->length > peer->mtu)
		return to_socket(ctx, cfg, peer, id);
	if (write_outer(data, end, cfg, peer, room->length))
		return drop(DROP_NO_ROOM);
	count(WAY_TX_SEALED);
	return XDP_PASS;
}

#endif
