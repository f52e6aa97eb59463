/* SPDX-License-Identifier: Apache-2.0
 * synapse_out: TC ingress of omni0-syn and omni0-tap, behind synapse_tx. What it sealed goes to the next hop by the
 * kernel's own routing and neighbour tables; a group frame is cloned for each peer of the set that it left in the prefix. All
 * else is dropped: nothing of these two devices ever reaches the host's stack. */
#ifndef SYNAPSE_OUT_H
#define SYNAPSE_OUT_H

/* bcc's own declaration lacks the length of the parameters. */
static long (*redirect_neigh)(__u32 ifindex, void *parameters, int length, __u64 flags) =
	(void *)BPF_FUNC_redirect_neigh;

static __always_inline int shot(__u32 way)
{
	count(way);
	return TC_ACT_SHOT;
}

static __always_inline int clone_for_peers(struct __sk_buff *skb, const struct config *cfg)
{
	struct peer_set peers;
	__u64 bits;

	if (bpf_skb_load_bytes(skb, offsetof(struct slow_prefix, address), &peers, sizeof(peers)))
		return shot(DROP_NOT_MARKED);
	bits = peers.low;
	for (__u32 i = 0; i < SYNAPSE_FLOOD; i++) {
		__u32 slot = i, *peer;

		if (i == 64)
			bits = peers.high;
		if (bits & 1) {
			peer = flood.lookup(&slot);
			if (!peer)
				break;
			if (bpf_skb_store_bytes(skb, offsetof(struct slow_prefix, peer), peer, sizeof(*peer), 0) ||
			    bpf_clone_redirect(skb, cfg->tap_ifindex, BPF_F_INGRESS))
				count(DROP_NO_ROOM);
			else
				count(WAY_OUT_CLONED);
		}
		bits >>= 1;
	}
	return TC_ACT_SHOT; /* the clones have gone */
}

static __always_inline int send_out(struct __sk_buff *skb)
{
	void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
	struct config *cfg = get_config();
	struct ethhdr *ethernet = data;
	__u32 ifindex;

	if (!cfg || (void *)(ethernet + 1) > end)
		return shot(DROP_NOT_MARKED);
	if (*(__u32 *)ethernet->h_dest != *(__u32 *)cfg->mark ||
	    *(__u16 *)(ethernet->h_dest + 4) != *(__u16 *)(cfg->mark + 4))
		return shot(DROP_NOT_MARKED);
	if (ethernet->h_proto == bpf_htons(SYNAPSE_SLOW_ETHERTYPE))
		return clone_for_peers(skb, cfg);
	ifindex = *(__u32 *)(ethernet->h_source + 2);
	count(WAY_OUT_SENT);
	return redirect_neigh(ifindex, 0, 0, 0);
}

#endif
