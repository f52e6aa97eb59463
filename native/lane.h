/* SPDX-License-Identifier: Apache-2.0
 *
 * What the native engine in mode bulk shares with the programs in the kernel: two mapped BPF arrays. bpf/abi.h has the
 * same structs (SYNAPSE_ names); a test compares them.
 */
#ifndef NATIVE_LANE_H
#define NATIVE_LANE_H

#include <stdint.h>

#define LANE_STREAMS 2
#define LANE_RING 128

/* One for each (slot, stream), index slot * LANE_STREAMS + stream, in map `streams`. Of stream 0 only next and ring are
 * used, by the kernel. Of stream 1 all: written by the engine alone while its lease lasts. When it has run out, the
 * kernel opens the stream (next, ring), and nobody seals on it. A sequence is taken before it is used, so an engine
 * that comes after a killed one goes on with tx_sequence and repeats no nonce. */
struct lane_stream {
	uint64_t next; /* replay window: highest sequence seen + 1; 0: none */
	uint64_t ring[LANE_RING];
	uint64_t tx_sequence; /* the next one; atomic fetch-and-add */
	uint64_t tx_bytes;
	uint64_t last_tx; /* ns of CLOCK_MONOTONIC; 0: never */
	uint64_t rx_frames;
	uint64_t rx_bytes;
	uint64_t last_rx;
	uint64_t last_unicast;
};

/* Map `lane`, one entry. The kernel gives the engine nothing when alive is older than LANE_LEASE. */
struct lane_state {
	uint64_t alive; /* ns; the engine writes the time every LANE_RENEW. 0: it ended in order */
};

#define LANE_LEASE 300000000ull
#define LANE_RENEW 50000000ull

#endif
