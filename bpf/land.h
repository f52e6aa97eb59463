/* SPDX-License-Identifier: Apache-2.0
 * synapse_land: TC ingress of omni0-blk, where the native engine writes what it has opened: frames, and super-frames that
 * it merged. They arrive at omni0, as if its other end had sent them; never at the host's stack as omni0-blk's. */
#ifndef SYNAPSE_LAND_H
#define SYNAPSE_LAND_H

static __always_inline int land(struct __sk_buff *skb)
{
	struct config *cfg = get_config();

	if (!cfg || !cfg->port_ifindex)
		return shot(DROP_NOT_MARKED);
	if (!cfg->forwarding)
		return shot(DROP_PAUSED);
	count(WAY_RX_BULK_DELIVERED);
	return bpf_redirect(cfg->port_ifindex, BPF_F_INGRESS);
}

#endif
