/* SPDX-License-Identifier: Apache-2.0 */
#include "fdb.h"

#include <errno.h>
#include <linux/bpf.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "engine.h"

#define FDB_EMPTY 0 /* nothing was ever there: a look-up ends */
#define FDB_LEFT 1  /* just left: a worker may still be reading it */
#define FDB_LEAVING 2 /* the same, and the control thread waits until none is */
#define FDB_FREE 3
#define FDB_REFRESH UINT64_C(1000000000) /* ns; "last seen" is not written more often: the line stays shared */
#define CACHE_TIME UINT64_C(100000000)	 /* ns */
#define VLANS 4096
#define KERNEL_STATIC 1			 /* SYNAPSE_FDB_STATIC */

struct kernel_key {
	uint8_t mac[6];
	uint16_t vlan;
};

struct kernel_entry {
	uint32_t owner;
	uint32_t flags;
	uint64_t seen;
};

static uint64_t key_of(const uint8_t *mac, uint16_t vlan)
{
	uint64_t key = 0;

	memcpy(&key, mac, 6);
	return key << 16 | vlan; /* above FDB_FREE, but for MAC 0, which is never inserted */
}

static void mac_of(uint64_t key, uint8_t *mac)
{
	key >>= 16;
	memcpy(mac, &key, 6);
}

static uint32_t slot_of(uint64_t key)
{
	return (key * UINT64_C(0x9e3779b97f4a7c15)) >> 40 & (FDB_SLOTS - 1);
}

int fdb_init(struct fdb *fdb, int map)
{
	memset(fdb, 0, sizeof(*fdb));
	pthread_mutex_init(&fdb->lock, NULL);
	fdb->map = map;
	fdb->ageing = UINT64_C(300000000000);
	fdb->max_per_peer = 4096;
	fdb->max_local = 16384;
	if (map >= 0)
		return 0;
	/* Pages are taken when they are first written. */
	fdb->slots = mmap(NULL, FDB_SLOTS * sizeof(*fdb->slots), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	return fdb->slots == MAP_FAILED ? -1 : 0;
}

/* --- our own table --- */

static struct fdb_slot *own_find(struct fdb *fdb, uint64_t key)
{
	uint32_t at = slot_of(key);

	if (key <= FDB_FREE)
		return NULL;
	for (unsigned i = 0; i < FDB_PROBES; i++, at = (at + 1) & (FDB_SLOTS - 1)) {
		uint64_t here = atomic_load_explicit(&fdb->slots[at].key, memory_order_acquire);

		if (here == key)
			return &fdb->slots[at];
		if (here == FDB_EMPTY)
			break;
	}
	return NULL;
}

static struct fdb_slot *own_match(struct fdb *fdb, const uint8_t *mac, uint16_t vlan)
{
	struct fdb_slot *here = own_find(fdb, key_of(mac, vlan)), *everywhere;

	if (here && here->pinned)
		return here;
	everywhere = own_find(fdb, key_of(mac, VLAN_ANY));
	return everywhere ? everywhere : here;
}

/* Under lock, as all below that change. NULL: no place near where it belongs. */
static struct fdb_slot *own_insert(struct fdb *fdb, uint64_t key, uint32_t owner, int pinned, uint64_t now)
{
	uint32_t at = slot_of(key);

	for (unsigned i = 0; i < FDB_PROBES; i++, at = (at + 1) & (FDB_SLOTS - 1)) {
		struct fdb_slot *slot = &fdb->slots[at];
		uint64_t here = slot->key;

		if (here != FDB_EMPTY && here != FDB_FREE)
			continue;
		slot->owner = owner;
		slot->pinned = pinned;
		slot->seen = now;
		slot->key = key;
		fdb->entries++;
		return slot;
	}
	return NULL;
}

static _Atomic uint32_t *learned_of(struct engine *engine, uint32_t owner)
{
	struct peer *peer;

	if (owner == OWNER_LOCAL)
		return &engine->fdb.learned;
	peer = peer_find(engine, owner);
	return peer ? &peer->learned : NULL;
}

static void own_remove(struct engine *engine, struct fdb_slot *slot)
{
	_Atomic uint32_t *learned = learned_of(engine, slot->owner);

	if (!slot->pinned && learned && *learned)
		(*learned)--;
	slot->key = FDB_LEFT;
	engine->fdb.entries--;
}

static int compare(const void *a, const void *b)
{
	uint64_t one = *(const uint64_t *)a, other = *(const uint64_t *)b;

	return (one > other) - (one < other);
}

/* The owner is at its bound: its oldest quarter goes, so that this look at the whole table is rare. */
static void own_evict(struct engine *engine, uint32_t owner, uint32_t bound)
{
	static uint64_t times[FDB_SLOTS]; /* under lock */
	struct fdb *fdb = &engine->fdb;
	uint32_t many = 0, quarter = (bound + 3) / 4;

	for (uint32_t i = 0; i < FDB_SLOTS; i++)
		if (fdb->slots[i].key > FDB_FREE && !fdb->slots[i].pinned && fdb->slots[i].owner == owner)
			times[many++] = fdb->slots[i].seen;
	qsort(times, many, sizeof(times[0]), compare);
	if (many <= quarter)
		quarter = many;
	for (uint32_t i = 0; quarter && i < FDB_SLOTS; i++) {
		struct fdb_slot *slot = &fdb->slots[i];

		if (slot->key > FDB_FREE && !slot->pinned && slot->owner == owner && slot->seen <= times[quarter - 1])
			own_remove(engine, slot);
	}
}

static void own_add(struct worker *worker, uint64_t key, uint32_t owner)
{
	struct engine *engine = worker->engine;
	struct fdb *fdb = &engine->fdb;
	uint32_t bound = owner == OWNER_LOCAL ? fdb->max_local : fdb->max_per_peer;
	_Atomic uint32_t *learned;

	pthread_mutex_lock(&fdb->lock);
	learned = learned_of(engine, owner);
	if (learned && !own_find(fdb, key)) {
		if (*learned >= bound)
			own_evict(engine, owner, bound);
		if (*learned < bound && own_insert(fdb, key, owner, 0, worker->now))
			(*learned)++;
	}
	pthread_mutex_unlock(&fdb->lock);
}

static void own_move(struct engine *engine, struct fdb_slot *slot, uint64_t key, uint32_t owner, uint64_t now)
{
	pthread_mutex_lock(&engine->fdb.lock);
	if (slot->key == key && !slot->pinned && slot->owner != owner) {
		_Atomic uint32_t *left = learned_of(engine, slot->owner), *learned = learned_of(engine, owner);

		if (learned) {
			if (left && *left)
				(*left)--;
			(*learned)++;
			slot->owner = owner;
			slot->seen = now;
		}
	}
	pthread_mutex_unlock(&engine->fdb.lock);
}

static int own_learn(struct worker *worker, const uint8_t *mac, uint16_t vlan, uint32_t owner)
{
	struct fdb_slot *slot = own_match(&worker->engine->fdb, mac, vlan);

	if (!slot) {
		if (is_group(mac))
			return 0;
		if (key_of(mac, 0))
			own_add(worker, key_of(mac, vlan), owner);
		return 1;
	}
	if (slot->pinned)
		return slot->owner == owner;
	if (slot->owner != owner)
		own_move(worker->engine, slot, key_of(mac, vlan), owner, worker->now);
	else if (worker->now - slot->seen > FDB_REFRESH)
		slot->seen = worker->now;
	return 1;
}

/* --- the kernel's map --- */

static int kernel_lookup(int map, const uint8_t *mac, uint16_t vlan, struct kernel_entry *entry)
{
	struct kernel_key key = {.vlan = vlan};
	union bpf_attr attr;

	memcpy(key.mac, mac, 6);
	memset(&attr, 0, sizeof(attr));
	attr.map_fd = (uint32_t)map;
	attr.key = (uint64_t)(uintptr_t)&key;
	attr.value = (uint64_t)(uintptr_t)entry;
	return syscall(__NR_bpf, BPF_MAP_LOOKUP_ELEM, &attr, sizeof(attr)) == 0;
}

static struct fdb_cache_entry *kernel_find(struct worker *worker, const uint8_t *mac, uint16_t vlan)
{
	uint64_t key = key_of(mac, vlan);
	struct fdb_cache_entry *cached = &worker->fdb_cache.entries[slot_of(key) & (FDB_CACHE - 1)];
	struct kernel_entry everywhere, here;
	int map = worker->engine->fdb.map, any, one;

	if (cached->read && cached->key == key && worker->now - cached->read < CACHE_TIME)
		return cached;
	any = kernel_lookup(map, mac, VLAN_ANY, &everywhere);
	one = kernel_lookup(map, mac, vlan, &here);
	if (any && !(one && here.flags & KERNEL_STATIC))
		here = everywhere;
	*cached = (struct fdb_cache_entry){.key = key, .read = worker->now, .known = any || one};
	if (cached->known) {
		cached->owner = here.owner;
		cached->pinned = here.flags & KERNEL_STATIC;
		cached->seen = here.seen;
	}
	return cached;
}

static int kernel_learn(struct worker *worker, const uint8_t *mac, uint16_t vlan, uint32_t owner)
{
	struct fdb_cache_entry *entry = kernel_find(worker, mac, vlan);

	if (entry->known && entry->pinned)
		return entry->owner == owner;
	if (is_group(mac))
		return 0;
	if ((!entry->known || entry->owner != owner || worker->now - entry->seen > FDB_REFRESH) && entry->told != owner + 1) {
		struct fdb_pin pin = {.vlan = vlan, .owner = owner};

		memcpy(pin.mac, mac, 6);
		say(worker, EVENT_LEARN, &pin, sizeof(pin), NULL, 0);
		entry->told = owner + 1; /* once in CACHE_TIME */
	}
	return 1;
}

struct fdb_answer fdb_find(struct worker *worker, const uint8_t *mac, uint16_t vlan)
{
	struct fdb *fdb = &worker->engine->fdb;
	struct fdb_slot *slot;

	if (fdb->map >= 0) {
		struct fdb_cache_entry *entry = kernel_find(worker, mac, vlan);

		return (struct fdb_answer){entry->known, entry->owner, entry->pinned};
	}
	slot = own_match(fdb, mac, vlan);
	return slot ? (struct fdb_answer){1, slot->owner, slot->pinned} : (struct fdb_answer){0, 0, 0};
}

int fdb_learn(struct worker *worker, const uint8_t *mac, uint16_t vlan, uint32_t owner)
{
	if (worker->engine->fdb.map >= 0)
		return kernel_learn(worker, mac, vlan, owner);
	return own_learn(worker, mac, vlan, owner);
}

/* --- for the control thread --- */

void fdb_set_static(struct engine *engine, const uint8_t *mac, uint16_t vlan, uint32_t owner)
{
	struct fdb *fdb = &engine->fdb;
	uint64_t key = key_of(mac, vlan);
	struct fdb_slot *slot;

	if (!key_of(mac, 0) || (owner != OWNER_LOCAL && !peer_get(engine, owner)))
		return;
	pthread_mutex_lock(&fdb->lock);
	for (unsigned each = 0; vlan == VLAN_ANY && each < VLANS; each++) { /* what was learned of it gives way */
		slot = own_find(fdb, key_of(mac, (uint16_t)each));
		if (slot && !slot->pinned)
			own_remove(engine, slot);
	}
	slot = own_find(fdb, key);
	if (slot && slot->pinned) {
		slot->owner = owner;
	} else {
		if (slot)
			own_remove(engine, slot);
		own_insert(fdb, key, owner, 1, 0);
	}
	pthread_mutex_unlock(&fdb->lock);
}

void fdb_remove_static(struct engine *engine, const uint8_t *mac, uint16_t vlan)
{
	struct fdb_slot *slot;

	pthread_mutex_lock(&engine->fdb.lock);
	slot = own_find(&engine->fdb, key_of(mac, vlan));
	if (slot && slot->pinned)
		own_remove(engine, slot);
	pthread_mutex_unlock(&engine->fdb.lock);
}

void fdb_remove_owner(struct engine *engine, uint32_t owner)
{
	struct fdb *fdb = &engine->fdb;

	pthread_mutex_lock(&fdb->lock);
	for (uint32_t i = 0; fdb->entries && i < FDB_SLOTS; i++)
		if (fdb->slots[i].key > FDB_FREE && fdb->slots[i].owner == owner)
			own_remove(engine, &fdb->slots[i]);
	pthread_mutex_unlock(&fdb->lock);
}

static uint32_t change_all(struct fdb *fdb, uint64_t from, uint64_t to)
{
	uint32_t changed = 0;

	for (uint32_t i = 0; i < FDB_SLOTS; i++) {
		if (fdb->slots[i].key == from) {
			fdb->slots[i].key = to;
			changed++;
		}
	}
	return changed;
}

/* Entries that nobody has used for the ageing time go; places that were left long enough ago may be used again. */
void fdb_age(struct engine *engine, uint64_t now)
{
	struct fdb *fdb = &engine->fdb;
	uint32_t left;

	pthread_mutex_lock(&fdb->lock);
	for (uint32_t i = 0; fdb->entries && i < FDB_SLOTS; i++) {
		struct fdb_slot *slot = &fdb->slots[i];

		if (slot->key > FDB_FREE && !slot->pinned && slot->seen + fdb->ageing <= now)
			own_remove(engine, slot);
	}
	left = change_all(fdb, FDB_LEFT, FDB_LEAVING);
	pthread_mutex_unlock(&fdb->lock);
	if (!left)
		return;
	engine_synchronize(engine); /* not under the lock: a worker may be waiting for it */
	pthread_mutex_lock(&fdb->lock);
	change_all(fdb, FDB_LEAVING, FDB_FREE);
	pthread_mutex_unlock(&fdb->lock);
}

uint32_t fdb_rows(struct engine *engine, uint32_t from, struct fdb_row *rows, uint32_t *row_count)
{
	struct fdb *fdb = &engine->fdb;
	uint32_t room = *row_count, i;

	*row_count = 0;
	pthread_mutex_lock(&fdb->lock);
	for (i = from; i < FDB_SLOTS && *row_count < room; i++) {
		struct fdb_slot *slot = &fdb->slots[i];
		struct fdb_row *row = &rows[*row_count];
		uint64_t key = slot->key;

		if (key <= FDB_FREE)
			continue;
		memset(row, 0, sizeof(*row));
		mac_of(key, row->mac);
		row->vlan = key & 0xffff;
		row->owner = slot->owner;
		row->is_static = slot->pinned;
		row->seen = slot->seen;
		(*row_count)++;
	}
	pthread_mutex_unlock(&fdb->lock);
	return i < FDB_SLOTS ? i : 0;
}
