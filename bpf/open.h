/* SPDX-License-Identifier: Apache-2.0
 * synapse_open: tail-called by synapse_rx and synapse_steer. The AEAD alone, so that it gets the stack. */
#ifndef SYNAPSE_OPEN_H
#define SYNAPSE_OPEN_H

static __always_inline int open(struct xdp_md *ctx, const int on_cpu)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct scratch *room = get_scratch();
	struct data_header *header;
	struct session_keys *keys;
	__u32 slot;

	if (!room)
		return XDP_DROP;
	slot = room->slot;
	keys = session_keys.lookup(&slot);
	header = data + (room->offset & OFFSET_MASK);
	if (!keys || (void *)(header + 1) > end)
		return drop(DROP_UNKNOWN_SESSION);
	if (aead_open(keys->receive, header->nonce, header, room->length & LENGTH_MASK, end))
		return drop(DROP_BAD_TAG);
	if (on_cpu)
		cpu_programs.call(ctx, PROGRAM_DELIVER);
	else
		programs.call(ctx, PROGRAM_DELIVER);
	return drop(DROP_NO_ROOM); /* not loaded */
}

#endif
