/* SPDX-License-Identifier: Apache-2.0
 * Silence while no Ganglion runs: what XDP passes up to a closed port, the stack would answer with an ICMP error. */
#ifndef SYNAPSE_LISTEN_H
#define SYNAPSE_LISTEN_H

static __always_inline int somebody_listens(struct xdp_md *ctx, const struct config *cfg, const struct outer *outer)
{
	struct bpf_sock_tuple tuple = {};
	struct bpf_sock *socket;
	__u32 size = sizeof(tuple.ipv6);

	if (!outer->source.high && (__u32)outer->source.low == bpf_htonl(0xffff)) {
		tuple.ipv4.saddr = outer->source.low >> 32;
		tuple.ipv4.daddr = outer->destination.low >> 32;
		tuple.ipv4.sport = outer->source_port;
		tuple.ipv4.dport = cfg->port;
		size = sizeof(tuple.ipv4);
	} else {
		__builtin_memcpy(tuple.ipv6.saddr, &outer->source, 16);
		__builtin_memcpy(tuple.ipv6.daddr, &outer->destination, 16);
		tuple.ipv6.sport = outer->source_port;
		tuple.ipv6.dport = cfg->port;
	}
	socket = bpf_sk_lookup_udp(ctx, &tuple, size, BPF_F_CURRENT_NETNS, 0);
	if (!socket)
		return 0;
	bpf_sk_release(socket);
	return 1;
}

/* A control message that is worth the Ganglion's time. */
static __always_inline int pass_to_socket(struct xdp_md *ctx, const struct config *cfg, const struct outer *outer,
					  __u32 way)
{
	return somebody_listens(ctx, cfg, outer) ? pass(way) : drop(DROP_NOT_LISTENING);
}

#endif
