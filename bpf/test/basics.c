/* SPDX-License-Identifier: Apache-2.0
 * For the tests of loader, maps and ring buffer: one map of each kind that we use, and programs that touch them. */
#include "basics.h"

/* Counts, writes the length of the packet into map totals, and doubles byte 14. */
int count_packet(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *data_end = (void *)(long)ctx->data_end;
	__u8 *byte = data + ETH_HLEN;
	__u32 zero = 0;

	if ((void *)(byte + 1) > data_end)
		return XDP_DROP;
	add(&zero, 1);
	add_total(data_end - data);
	*byte *= FACTOR;
	return XDP_PASS;
}

/* Sends the packet's first bytes to the ring buffer: 64, 12, or a record that is discarded, by its first byte. */
int send_event(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *data_end = (void *)(long)ctx->data_end;
	struct event copy, *event = &copy;

	if (data + sizeof(copy) > data_end)
		return XDP_DROP;
	__builtin_memcpy(&copy, data, sizeof(copy));
	if (event->kind == EVENT_DISCARD) {
		struct event *slot = events.ringbuf_reserve(sizeof(*slot));

		if (!slot)
			return XDP_ABORTED;
		events.ringbuf_discard(slot, 0);
		return XDP_TX;
	}
	if (event->kind == EVENT_LONG)
		return events.ringbuf_output(event, sizeof(*event), 0) ? XDP_ABORTED : XDP_PASS;
	return events.ringbuf_output(event, 12, 0) ? XDP_ABORTED : XDP_PASS;
}

int pass_skb(struct __sk_buff *skb)
{
	return skb->len > 100 ? TC_ACT_SHOT : TC_ACT_OK;
}
