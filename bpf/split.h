/* SPDX-License-Identifier: Apache-2.0
 * synapse_split: TC egress of omni0, in front of its queues, where a super-frame (TCP before segmentation) is still one
 * packet. Super-frames to a peer that opens stream 1 go to the native engine, and so do all frames of their flows until
 * those are idle, so that the end of a transfer does not overtake its beginning. All else is left alone, on its way to
 * synapse_tx; requests and answers that fit into a frame each never come here twice.
 */
#ifndef SYNAPSE_SPLIT_H
#define SYNAPSE_SPLIT_H

/* A flow is idle when both have passed; then what it sent over the one lane has arrived before what takes the other. */
#define BULK_HOLD 100000000 /* ns since its last super-frame */
#define BULK_GAP 5000000    /* ns since its last frame: longer than a frame waits for the engine */

/* Linux 5.8. */
static long (*csum_level)(struct __sk_buff *skb, __u64 level) = (void *)BPF_FUNC_csum_level;

/* The peer that the frame is for, when the native engine can seal for it; its source is learned as synapse_tx does. */
static __always_inline int is_for_engine(struct __sk_buff *skb, const struct config *cfg, __u64 now)
{
	void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
	struct scratch *room = get_scratch();
	struct fdb_entry *entry;
	struct peer *peer;
	__u8 *frame = data;
	__u32 id;
	__u16 vlan;

	if (!room || (void *)(frame + ETHERNET) > end || is_group(frame))
		return 0;
	/* The kernel keeps the outer tag beside the packet, or it is inline: then of a program or a bridge port. */
	vlan = skb->vlan_present ? skb->vlan_tci & 0xfff : vlan_of(frame, TAGGED, end);
	entry = fdb_find(frame, vlan);
	if (!entry)
		return 0;
	id = entry->owner;
	if (id == SYNAPSE_OWNER_LOCAL)
		return 0;
	peer = peers.lookup(&id);
	if (!peer || !peer->bulk)
		return 0;
	return fdb_learn(room, frame + 6, vlan, SYNAPSE_OWNER_LOCAL, cfg->fdb_max_local, now);
}

static __always_inline int split(struct __sk_buff *skb)
{
	struct config *cfg = get_config();
	struct bulk_flow *flow, fresh;
	__u32 hash, super = skb->gso_size;
	__u64 now;

	if (!cfg || !cfg->bulk_ifindex || !cfg->forwarding)
		return TC_ACT_OK;
	hash = bpf_get_hash_recalc(skb); /* of the socket, most often; the queues of omni0 are chosen by it anyway */
	flow = bulk_flows.lookup(&hash);
	if (!super && !flow)
		return TC_ACT_OK;
	now = bpf_ktime_get_ns();
	if (!super && (__s64)(now - flow->super) > BULK_HOLD && (__s64)(now - flow->last) > BULK_GAP) {
		bulk_flows.delete(&hash);
		return TC_ACT_OK;
	}
	if (!engine_lives(cfg, now) || !is_for_engine(skb, cfg, now))
		return TC_ACT_OK;
	if (flow) {
		if (super)
			flow->super = now;
		flow->last = now;
	} else {
		fresh.super = fresh.last = now;
		bulk_flows.update(&hash, &fresh);
	}
	/* UDP's are made without checksum where the interface offers none, as omni0 does; they would be cut in front of
	 * omni0-blk. Marked as checked they pass whole. TCP's (CHECKSUM_PARTIAL) stay as they are. */
	if (super)
		csum_level(skb, BPF_CSUM_LEVEL_INC);
	count(WAY_TX_BULK);
	return bpf_redirect(cfg->bulk_ifindex, 0);
}

#endif
