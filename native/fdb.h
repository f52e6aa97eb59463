/* SPDX-License-Identifier: Apache-2.0
 *
 * The forwarding table (IEEE 802.1D 7.8): which peer has a MAC address, with the rules of omni_core/fdb/table.py.
 * Mode alone: a table of our own. Looked up without a lock; changed under one, which is taken when an address is new, has
 * moved or leaves. Mode bulk: the kernel's map, read only; what is to be learned is told to the Ganglion (EVENT_LEARN).
 */
#ifndef NATIVE_FDB_H
#define NATIVE_FDB_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>

#include "protocol.h"

#ifndef FDB_SLOTS /* fuzz targets take fewer */
#define FDB_SLOTS (1u << 18)
#endif
#define FDB_PROBES 128
#define FDB_CACHE 256

struct engine;
struct worker;

struct fdb_slot {
	_Atomic uint64_t key; /* MAC << 16 | VLAN; up to FDB_FREE: none */
	_Atomic uint64_t seen; /* ns */
	_Atomic uint32_t owner;
	_Atomic uint32_t pinned;
};

struct fdb {
	struct fdb_slot *slots;
	pthread_mutex_t lock;
	uint64_t ageing;
	uint32_t max_per_peer, max_local;
	_Atomic uint32_t learned; /* at the local port */
	uint32_t entries;	  /* under lock */
	int map;		  /* of the kernel; -1: our own table */
};

/* What a worker has just read of the kernel's map. */
struct fdb_cache_entry {
	uint64_t key, read; /* ns; 0: nothing */
	uint64_t seen;
	uint32_t owner, known, pinned, told;
};

struct fdb_cache {
	struct fdb_cache_entry entries[FDB_CACHE];
};

struct fdb_answer {
	uint32_t known, owner, pinned;
};

int fdb_init(struct fdb *fdb, int map);

struct fdb_answer fdb_find(struct worker *worker, const uint8_t *mac, uint16_t vlan);

/* A frame with this source came from owner. 0 when that cannot be: pinned to somebody else, or a group address. */
int fdb_learn(struct worker *worker, const uint8_t *mac, uint16_t vlan, uint32_t owner);

/* For the control thread, mode alone. */
void fdb_set_static(struct engine *engine, const uint8_t *mac, uint16_t vlan, uint32_t owner);
void fdb_remove_static(struct engine *engine, const uint8_t *mac, uint16_t vlan);
void fdb_remove_owner(struct engine *engine, uint32_t owner);
void fdb_age(struct engine *engine, uint64_t now);
uint32_t fdb_rows(struct engine *engine, uint32_t from, struct fdb_row *rows, uint32_t *row_count);

#endif
