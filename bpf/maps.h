/* SPDX-License-Identifier: Apache-2.0
 * The maps, and the small things that every program does with them. */
#ifndef SYNAPSE_MAPS_H
#define SYNAPSE_MAPS_H

BPF_ARRAY(config, struct config, 1);
BPF_PERCPU_ARRAY(counters, __u64, SYNAPSE_COUNTERS); /* by enum way */
BPF_ARRAY(sessions, struct session, SYNAPSE_SESSIONS); /* slot -> session; the others below have the same slots */
BPF_ARRAY(session_keys, struct session_keys, SYNAPSE_SESSIONS);
BPF_F_TABLE("array", __u32, struct stream, streams, SYNAPSE_SESSIONS * SYNAPSE_STREAMS, BPF_F_MMAPABLE);
BPF_F_TABLE("array", __u32, struct lane_state, lane, 1, BPF_F_MMAPABLE);
BPF_ARRAY(notes, struct note, SYNAPSE_SESSIONS);
BPF_TABLE("hash", __u64, __u32, session_slots, SYNAPSE_SESSIONS); /* receive id -> slot */
BPF_TABLE("hash", __u32, struct peer, peers, SYNAPSE_PEERS);
BPF_TABLE("hash", struct fdb_key, struct fdb_entry, fdb, SYNAPSE_FDB);
BPF_TABLE("hash", __u32, __u64, fdb_counts, SYNAPSE_PEERS); /* owner -> learned entries */
BPF_ARRAY(flood, __u32, SYNAPSE_FLOOD);                     /* slot -> peer; config.everyone says which are taken */
BPF_TABLE("hash", struct group_key, struct peer_set, groups, SYNAPSE_GROUPS);
BPF_TABLE("hash", struct address, __u32, local_addresses, 1024);
BPF_RINGBUF_OUTPUT(events, 16); /* pages */
BPF_PROG_ARRAY(programs, 8);

/* Work of the current window, of a session or of one inner flow. Written without a lock: it steers, and decides nothing else. */
struct rate {
	__u64 since; /* ns; start of the window */
	__u64 until; /* ns; busy until then */
	__u64 began; /* ns; busy since then (flow_rates) */
	__u64 last;  /* ns; the packet before this one (flow_rates); the event (small_rate) */
	__u32 work;  /* bytes, and FRAME_COST for each frame */
	__u32 cpu;   /* that opens them, + 1; 0: the one where they arrive (flow_rates) */
};

BPF_XDP_REDIRECT_MAP("cpumap", struct bpf_cpumap_val, cpus, SYNAPSE_CPUS);
BPF_PROG_ARRAY(cpu_programs, 8); /* as programs, for those that run on map cpus: their kind is another */
BPF_ARRAY(session_rates, struct rate, SYNAPSE_SESSIONS);
BPF_ARRAY(flow_rates, struct rate, SYNAPSE_FLOWS);
BPF_PERCPU_ARRAY(small_rate, struct rate, 1); /* small frames of the local port */

/* A flow of the local port that is on the bulk lane. Written without a lock, as above. */
struct bulk_flow {
	__u64 super; /* ns; its last super-frame */
	__u64 last;  /* ns; its last frame */
};
BPF_TABLE("lru_hash", __u32, struct bulk_flow, bulk_flows, 4096); /* by the kernel's hash of the flow */

struct outer {
	struct address source, destination;
	__u16 source_port;    /* be */
	__u64 ip_header;      /* bytes */
	__u64 payload_length; /* of UDP, as its header says */
};

/* What one program leaves for the one that it calls, and what would crowd the 512 bytes of stack, most of which the
 * AEAD needs. Per CPU: softirqs do not nest. */
struct scratch {
	struct outer outer;
	struct event event;
	__u32 slot; /* of the session */
	__u32 peer;
	__u64 sequence, stream;
	__u32 generic; /* it runs in generic mode: see deliver.h */
	__u64 length; /* of the inner frame */
	__u64 offset; /* of the data header (open, deliver), or of the frame (seal) */
	__u64 now;    /* ns */
};
BPF_PERCPU_ARRAY(scratch, struct scratch, 1);

/* The compiler must not reason about the value: it would turn a bounds check into arithmetic that the verifier refuses. */
#define opaque(value) asm volatile("" : "+r"(value))

/* Counts the way out. Per CPU: no atomics. */
static __always_inline void count(__u32 way)
{
	__u64 *value = counters.lookup(&way);

	if (value)
		(*value)++;
}

static __always_inline int drop(__u32 way)
{
	count(way);
	return XDP_DROP;
}

static __always_inline int pass(__u32 way)
{
	count(way);
	return XDP_PASS;
}

static __always_inline struct config *get_config(void)
{
	__u32 zero = 0;

	return config.lookup(&zero);
}

static __always_inline struct scratch *get_scratch(void)
{
	__u32 zero = 0;

	return scratch.lookup(&zero);
}

static __always_inline void say(struct scratch *room, __u32 kind, __u32 peer, __u64 receive_id)
{
	struct event *event = &room->event;

	__builtin_memset(event, 0, sizeof(*event));
	event->kind = kind;
	event->peer = peer;
	event->receive_id = receive_id;
	if (kind == EVENT_MOVED) {
		event->address = room->outer.source;
		event->port = room->outer.source_port;
	}
	events.ringbuf_output(event, sizeof(*event), 0);
}

static __always_inline int same_address(const struct address *a, const struct address *b)
{
	return a->high == b->high && a->low == b->low;
}

#endif
