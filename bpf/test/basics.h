/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
#include <linux/if_ether.h>
#include <linux/pkt_cls.h>

#define EVENT_SHORT 1
#define EVENT_LONG 2
#define EVENT_DISCARD 3

struct event {
	__u8 kind;
	__u8 bytes[63];
};

struct guarded {
	struct bpf_spin_lock lock;
	__u32 unused;
	__u64 total;
};

BPF_PERCPU_ARRAY(counters, __u64, 4);
BPF_ARRAY(totals, struct guarded, 2);
BPF_TABLE("hash", __u32, __u64, table, 100000);
BPF_TABLE("percpu_hash", __u32, __u32, per_cpu, 64);
BPF_PROG_ARRAY(programs, 2);
BPF_RINGBUF_OUTPUT(events, 1);

static __always_inline void add(__u32 *index, __u64 what)
{
	__u64 *value = counters.lookup(index);

	if (value)
		*value += what;
}

static void add_total(__u64 what)
{
	__u32 zero = 0;
	struct guarded *value = totals.lookup(&zero);

	if (!value)
		return;
	bpf_spin_lock(&value->lock);
	value->total += what;
	bpf_spin_unlock(&value->lock);
}
