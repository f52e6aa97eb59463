/* SPDX-License-Identifier: Apache-2.0
 *
 * Synapse: the data plane in the kernel.
 *
 *   apps -> omni0 == omni0-syn [synapse_tx seals][synapse_out] -> next hop -> underlay interface
 *   underlay interface [synapse_rx opens] -> omni0-syn == omni0
 *   omni0-tap: to and from the Ganglion, a struct slow_prefix in front of each packet
 *   omni0 [synapse_split] -> omni0-blk: super-frames, to the native engine, and back: omni0-blk [synapse_land] -> omni0
 *
 * Compiled by bcc (omni_core/io/synapse/compiler.py) with -DSYNAPSE_MAX_FRAME=n, the longest inner frame.
 */
#include <uapi/linux/bpf.h>
#include <uapi/linux/if_ether.h>
#include <uapi/linux/in.h>
#include <uapi/linux/ip.h>
#include <uapi/linux/ipv6.h>
#include <uapi/linux/pkt_cls.h>
#include <uapi/linux/udp.h>

#include "abi.h"
#include "maps.h"
#include "aead.h"
#include "packet.h"
#include "checksum.h"
#include "fdb.h"
#include "window.h"
#include "lane.h"
#include "listen.h"
#include "rate.h"
#include "rx.h"
#include "steer.h"
#include "open.h"
#include "deliver.h"
#include "groups.h"
#include "tx.h"
#include "seal.h"
#include "wrap.h"
#include "out.h"
#include "split.h"
#include "land.h"
#include "mac1.h"

/* bcc takes as programs only what stands in this file. */

int synapse_rx(struct xdp_md *ctx)
{
	return receive(ctx, 0, 0);
}

/* The same where XDP is in generic mode, on an underlay interface or on omni0-tap. */
int synapse_rx_generic(struct xdp_md *ctx)
{
	return receive(ctx, 0, 1);
}

int synapse_steer(struct xdp_md *ctx)
{
	return steer(ctx);
}

int synapse_open(struct xdp_md *ctx)
{
	return open(ctx, 0);
}

/* Those that run on map cpus. */

int synapse_rx_cpu(struct xdp_md *ctx)
{
	return receive(ctx, 1, 0);
}

int synapse_open_cpu(struct xdp_md *ctx)
{
	return open(ctx, 1);
}

int synapse_deliver_cpu(struct xdp_md *ctx)
{
	return deliver(ctx, 0);
}

int synapse_mac1(struct xdp_md *ctx)
{
	return check_mac1(ctx);
}

int synapse_deliver(struct xdp_md *ctx)
{
	return deliver(ctx, 1);
}

int synapse_tx(struct xdp_md *ctx)
{
	return transmit(ctx);
}

int synapse_seal(struct xdp_md *ctx)
{
	return seal(ctx);
}

int synapse_wrap(struct xdp_md *ctx)
{
	return wrap(ctx);
}

int synapse_out(struct __sk_buff *skb)
{
	return send_out(skb);
}

int synapse_split(struct __sk_buff *skb)
{
	return split(skb);
}

int synapse_land(struct __sk_buff *skb)
{
	return land(skb);
}
