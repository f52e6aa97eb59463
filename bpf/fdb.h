/* SPDX-License-Identifier: Apache-2.0
 * The forwarding table (IEEE 802.1D 7.8), as omni_core/fdb/table.py has it. One thing differs: an owner at its bound
 * learns nothing more until userspace, told by EVENT_FDB_FULL, has removed the oldest of its entries. */
#ifndef SYNAPSE_FDB_H
#define SYNAPSE_FDB_H

#define FDB_REFRESH 1000000000ull /* ns; "last seen" is not written more often: the line stays shared between CPUs */

static __always_inline struct fdb_entry *fdb_find(const __u8 *mac, __u16 vlan)
{
	struct fdb_key key = {};
	struct fdb_entry *everywhere, *here;

	__builtin_memcpy(key.mac, mac, 6);
	key.vlan = SYNAPSE_VLAN_ANY;
	everywhere = fdb.lookup(&key);
	if (everywhere && !(everywhere->flags & SYNAPSE_FDB_SHADOWED))
		return everywhere;
	key.vlan = vlan;
	here = fdb.lookup(&key);
	return here && (!everywhere || here->flags & SYNAPSE_FDB_STATIC) ? here : everywhere;
}

static __always_inline void fdb_insert(struct scratch *room, const __u8 *mac, __u16 vlan, __u32 owner, __u32 bound,
				       __u64 now)
{
	struct fdb_key key = {};
	struct fdb_entry entry = {};
	__u64 *learned = fdb_counts.lookup(&owner);

	if (!learned)
		return; /* an owner that is being removed */
	if (*learned >= bound) {
		if (*learned == bound) { /* said once: userspace sets the count when it has made room */
			__sync_fetch_and_add(learned, 1);
			say(room, EVENT_FDB_FULL, owner, 0);
		}
		return;
	}
	__builtin_memcpy(key.mac, mac, 6);
	key.vlan = vlan;
	entry.owner = owner;
	entry.seen = now;
	if (fdb.insert(&key, &entry) == 0) /* never over what userspace has pinned meanwhile */
		__sync_fetch_and_add(learned, 1);
}

/* A frame with this source came from owner. 0 when that cannot be: pinned to somebody else, or a group address. */
static __always_inline int fdb_learn(struct scratch *room, const __u8 *mac, __u16 vlan, __u32 owner, __u32 bound,
				     __u64 now)
{
	struct fdb_entry *entry = fdb_find(mac, vlan);

	if (!entry) {
		if (is_group(mac))
			return 0;
		fdb_insert(room, mac, vlan, owner, bound, now);
		return 1;
	}
	if (entry->flags & SYNAPSE_FDB_STATIC)
		return entry->owner == owner;
	if (entry->owner != owner) {
		__u32 old = entry->owner;
		__u64 *left = fdb_counts.lookup(&old), *learned = fdb_counts.lookup(&owner);

		if (!learned)
			return 1;
		entry->owner = owner; /* it moved */
		entry->seen = now;
		if (left)
			__sync_fetch_and_add(left, -1);
		__sync_fetch_and_add(learned, 1);
	} else if (now - entry->seen > FDB_REFRESH) {
		entry->seen = now;
	}
	return 1;
}

#endif
