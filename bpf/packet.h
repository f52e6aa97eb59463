/* SPDX-License-Identifier: Apache-2.0
 * Outer headers: Ethernet, IPv4 (RFC 791) or IPv6 (RFC 8200), UDP (RFC 768). */
#ifndef SYNAPSE_PACKET_H
#define SYNAPSE_PACKET_H

#define ETHERNET 14
#define UDP 8
#define IP_HEADER_MASK 63 /* 20 or 40 */

#define LENGTH_MASK 0xffff /* of lengths and offsets, so that the verifier knows a bound */

#define CONTROL_ETHERTYPE 0x88b5 /* IEEE 802 local experimental 1 */

#define FRAGMENT 0x3fff /* more fragments, or an offset */

#define TAGGED 18 /* bytes of the header of a frame with one VLAN tag */
#define TPID_8021Q 0x8100
#define TPID_8021AD 0x88a8

static __always_inline void map_ipv4(struct address *address, __u32 ipv4_be)
{
	address->high = 0;
	address->low = bpf_htonl(0xffff) | (__u64)ipv4_be << 32;
}

/* True when the packet is a whole UDP datagram for our port. Options and fragments are left to the stack, which puts
 * them together and hands them to the socket. The verifier would walk all that follows once for IPv4 and once for
 * IPv6; ``unknown`` (zero, but it does not know) makes both look alike. */
static __always_inline int parse_outer(void *data, void *end, const struct config *cfg, struct outer *outer)
{
	struct ethhdr *ethernet = data;
	struct udphdr *udp;
	__u64 unknown = cfg->zero;

	if ((void *)(ethernet + 1) > end)
		return 0;
	if (ethernet->h_proto == bpf_htons(ETH_P_IP)) {
		struct iphdr *ip = data + ETHERNET;

		if ((void *)(ip + 1) > end || *(__u8 *)ip != 0x45 || ip->protocol != IPPROTO_UDP ||
		    ip->frag_off & bpf_htons(FRAGMENT))
			return 0;
		map_ipv4(&outer->source, ip->saddr);
		map_ipv4(&outer->destination, ip->daddr);
		outer->ip_header = (20 + unknown) & IP_HEADER_MASK;
	} else if (ethernet->h_proto == bpf_htons(ETH_P_IPV6)) {
		struct ipv6hdr *ip = data + ETHERNET;

		if ((void *)(ip + 1) > end || ip->version != 6 || ip->nexthdr != IPPROTO_UDP)
			return 0;
		__builtin_memcpy(&outer->source, &ip->saddr, 16);
		__builtin_memcpy(&outer->destination, &ip->daddr, 16);
		outer->ip_header = (40 + unknown) & IP_HEADER_MASK;
	} else {
		return 0;
	}
	udp = data + ETHERNET + outer->ip_header;
	if ((void *)(udp + 1) > end || udp->dest != cfg->port)
		return 0;
	outer->source_port = udp->source;
	outer->payload_length = bpf_ntohs(udp->len);
	outer->payload_length = outer->payload_length > UDP ? outer->payload_length - UDP : 0;
	return 1;
}

static __always_inline int is_tpid(__u16 type)
{
	return type == bpf_htons(TPID_8021Q) || type == bpf_htons(TPID_8021AD);
}

/* The VLAN that the frame is learned and looked up on; 0: untagged, or priority-tagged, or cut off in the tag. A frame
 * that was just opened has its AEAD tag behind it, hence length beside end. */
static __always_inline __u16 vlan_of(void *frame, __u64 length, void *end)
{
	__u16 *tag = frame + 12;

	if (length < TAGGED || (void *)(tag + 3) > end || !is_tpid(tag[0]))
		return 0;
	return bpf_ntohs(tag[1]) & 0xfff;
}

static __always_inline int is_group(const __u8 *mac)
{
	return mac[0] & 1;
}

static __always_inline int is_control_mac(const __u8 *mac)
{
	return mac[0] == 0x03 && mac[1] == 0x6f && mac[2] == 0x6d && mac[3] == 0x6e && mac[4] == 0x69 && mac[5] == 0x00;
}

/* In place of the first ``strip`` bytes of the packet. NULL when there is no room. */
static __always_inline struct slow_prefix *push_prefix(struct xdp_md *ctx, int strip, __u8 kind, __u32 peer)
{
	struct slow_prefix *prefix;

	if (bpf_xdp_adjust_head(ctx, strip - (int)sizeof(*prefix)))
		return 0;
	prefix = (void *)(long)ctx->data;
	if ((void *)(prefix + 1) > (void *)(long)ctx->data_end)
		return 0;
	__builtin_memset(prefix, 0, sizeof(*prefix));
	prefix->destination[0] = 0x02;
	prefix->destination[1] = 0x6f;
	prefix->destination[2] = 0x6d;
	prefix->destination[3] = 0x6e;
	prefix->destination[4] = 0x69;
	prefix->destination[5] = 0x01;
	prefix->ethertype = bpf_htons(SYNAPSE_SLOW_ETHERTYPE);
	prefix->kind = kind;
	prefix->peer = peer;
	return prefix;
}

#endif
