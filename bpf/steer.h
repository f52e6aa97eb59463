/* SPDX-License-Identifier: Apache-2.0
 * Use of every core. All packets of a peer are one UDP flow outside, so the interface brings them to one CPU, which can
 * open so many and no more. While a session is busy, synapse_steer looks at the first block of each packet, to tell the
 * inner flows apart: an elephant's packets go to another CPU (a CPU map; synapse_rx_cpu opens them there), all of them and
 * in order. Mice, and everything on a session that is not busy, are opened where they arrive: no queue, no wake-up.
 * The look is at unauthenticated bytes: it chooses the CPU, and the packet is opened there from the start.
 *
 * A flow goes over when GAP has passed since its last packet, which has left the batch that it was opened in, or after
 * PATIENCE, when a few may be overtaken. It goes back after HOLD without being an elephant, when its queue has long been
 * emptied.
 */
#ifndef SYNAPSE_STEER_H
#define SYNAPSE_STEER_H

#define GAP 25000ull       /* ns */
#define PATIENCE 3000000ull /* ns */

/* Of the inner flow, from the first 64 bytes of the frame. ``f``: as little-endian words. Fragments have no ports. */
static __always_inline __u64 flow_hash(const __u64 *f)
{
	__u16 type = f[1] >> 32;
	__u64 hash = f[0] ^ (f[1] << 32); /* MAC addresses */

	if (type == bpf_htons(ETH_P_IP)) {
		__u64 last = f[4] & 0xffffffffffffull; /* half of the destination, ports */

		if ((f[2] >> 32) & bpf_htons(FRAGMENT))
			last &= 0xffff;
		hash = (f[3] >> 16) * 0x9e3779b97f4a7c15ull ^ last * 0xc2b2ae3d27d4eb4full;
	} else if (type == bpf_htons(ETH_P_IPV6)) {
		hash = (f[3] ^ f[5]) * 0x9e3779b97f4a7c15ull ^ (f[4] ^ f[6]) * 0xc2b2ae3d27d4eb4full ^ (f[7] & 0xffff);
	}
	hash *= 0x9e3779b97f4a7c15ull;
	return hash >> 32;
}

static __always_inline void choose_cpu(struct rate *rate, __u64 now, __u64 length, __u32 hash, __u32 count_cpus)
{
	__u64 gap = now - rate->last;

	rate->last = now;
	if (!is_busy(rate, now, length, BUSY_FLOW)) {
		rate->began = now;
		rate->cpu = 0;
	} else if (!rate->cpu && (gap > GAP || now - rate->began > PATIENCE)) {
		rate->cpu = (bpf_get_smp_processor_id() + 1 + hash % (count_cpus - 1)) % count_cpus + 1;
	}
}

static __always_inline int steer(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct config *cfg = get_config();
	struct scratch *room = get_scratch();
	struct data_header *header;
	struct session_keys *keys;
	struct rate *rate;
	struct aead_work work;
	__u64 *stream = work.stream, hash, now;
	__u32 slot, index, count_cpus;

	if (!cfg || !room)
		return XDP_DROP;
	slot = room->slot;
	now = room->now;
	keys = session_keys.lookup(&slot);
	header = data + (room->offset & OFFSET_MASK);
	if (keys && (void *)(header + 1) + AEAD_BLOCK <= end) {
		work.key = keys->receive;
		work.nonce = header->nonce;
		aead_chacha_start(&work);
		work.start[12] = 1; /* RFC 8439 2.4: block 0 is the Poly1305 key */
		aead_chacha_block(&work);
#pragma unroll
		for (int i = 0; i < 8; i++)
			stream[i] ^= ((__u64 *)(header + 1))[i];
		hash = flow_hash(stream) + slot;
		aead_wipe(&work);
		index = hash & (SYNAPSE_FLOWS - 1);
		rate = flow_rates.lookup(&index);
		count_cpus = cfg->cpus;
		if (rate && count_cpus > 1) {
			choose_cpu(rate, now, room->length, hash >> 16, count_cpus);
			if (rate->cpu && cpus.redirect_map(rate->cpu - 1, 0) == XDP_REDIRECT) {
				count(WAY_RX_STEERED);
				return XDP_REDIRECT;
			}
		}
	}
	programs.call(ctx, PROGRAM_OPEN);
	return drop(DROP_NO_ROOM); /* not loaded */
}

#endif
