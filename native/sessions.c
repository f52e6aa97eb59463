/* SPDX-License-Identifier: Apache-2.0 */
#include <arpa/inet.h>
#include <errno.h>
#include <openssl/crypto.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "engine.h"

static unsigned bucket_of(uint64_t id)
{
	return (id * UINT64_C(0x9e3779b97f4a7c15)) >> 32 & (BUCKETS - 1);
}

struct session *session_find(struct engine *engine, uint64_t receive_id)
{
	struct session *session = engine->session_buckets[bucket_of(receive_id)];

	while (session && session->receive_id != receive_id)
		session = session->next;
	return session;
}

struct peer *peer_find(struct engine *engine, uint32_t id)
{
	struct peer *peer = engine->peer_buckets[bucket_of(id)];

	while (peer && peer->id != id)
		peer = peer->next;
	return peer;
}

struct peer *peer_get(struct engine *engine, uint32_t id)
{
	struct peer *peer = peer_find(engine, id);

	if (peer || engine->peer_count == MAX_PEERS)
		return peer;
	peer = calloc(1, sizeof(*peer));
	if (!peer)
		return NULL;
	peer->id = id;
	atomic_flag_clear(&peer->moving);
	peer->next = engine->peer_buckets[bucket_of(id)];
	engine->peer_buckets[bucket_of(id)] = peer; /* whole by now */
	engine->peer_count++;
	return peer;
}

/* Waits until no worker uses what was unlinked before. */
void engine_synchronize(struct engine *engine)
{
	atomic_thread_fence(memory_order_seq_cst);
	for (unsigned i = 0; i < engine->workers; i++) {
		struct worker *worker = &engine->threads[i];
		uint64_t epoch = worker->epoch;

		while (epoch & 1 && worker->epoch == epoch)
			sched_yield();
	}
}

static int is_zero(const uint8_t *key)
{
	uint8_t any = 0;

	for (int i = 0; i < KEY_SIZE; i++)
		any |= key[i];
	return !any;
}

static struct session *free_session(struct engine *engine, uint32_t slot)
{
	if (engine->mode == MODE_BULK) {
		if (slot >= MAX_SESSIONS || engine->sessions[slot].receive_id)
			return NULL;
		return &engine->sessions[slot];
	}
	for (uint32_t i = 0; i < MAX_SESSIONS; i++)
		if (!engine->sessions[i].receive_id)
			return &engine->sessions[i];
	return NULL;
}

int session_add(struct engine *engine, const struct add_session *request)
{
	struct session *session = session_find(engine, request->receive_id);
	struct peer *peer;
	unsigned bucket = bucket_of(request->receive_id);

	if (session) /* ids are derived from the keys: same ids, same session. Starting it afresh would repeat nonces */
		return session->peer->id == request->peer && session->send_id == request->send_id ? 0 : EEXIST;
	if (is_zero(request->send_key) || is_zero(request->receive_key) || !request->receive_id)
		return EINVAL;
	session = free_session(engine, request->slot);
	if (!session)
		return ENOSPC;
	peer = peer_get(engine, request->peer);
	if (!peer)
		return ENOSPC;
	memset(session, 0, sizeof(*session));
	session->receive_id = request->receive_id;
	session->send_id = request->send_id;
	session->expires = request->expires;
	session->peer = peer;
	session->owner = NO_OWNER;
	session->streams =
		engine->lane_streams ? &engine->lane_streams[request->slot * LANE_STREAMS] : session->own_streams;
	memcpy(session->send_key, request->send_key, KEY_SIZE);
	memcpy(session->receive_key, request->receive_key, KEY_SIZE);
	session->next = engine->session_buckets[bucket];
	engine->session_buckets[bucket] = session;
	engine->session_count++;
	return 0;
}

static void session_unlink(struct engine *engine, struct session *session)
{
	struct session *at = engine->session_buckets[bucket_of(session->receive_id)];

	if (at == session) {
		engine->session_buckets[bucket_of(session->receive_id)] = session->next;
	} else {
		while (at->next != session)
			at = at->next;
		__atomic_store_n(&at->next, session->next, __ATOMIC_RELEASE);
	}
	if (session->peer->sending == session)
		session->peer->sending = NULL;
}

static void session_clear(struct engine *engine, struct session *session)
{
	for (unsigned i = 0; i < MAX_THREADS; i++) {
		aead_free(session->sealers[i]);
		aead_free(session->openers[i]);
	}
	OPENSSL_cleanse(session, sizeof(*session));
	engine->session_count--;
}

void session_remove(struct engine *engine, struct session *session)
{
	session_unlink(engine, session);
	engine_synchronize(engine);
	session_clear(engine, session);
}

void sessions_wipe(struct engine *engine)
{
	for (uint32_t i = 0; i < MAX_SESSIONS; i++)
		if (engine->sessions[i].receive_id)
			session_unlink(engine, &engine->sessions[i]);
	engine_synchronize(engine);
	for (uint32_t i = 0; i < MAX_SESSIONS; i++)
		if (engine->sessions[i].receive_id)
			session_clear(engine, &engine->sessions[i]);
}

static EVP_CIPHER_CTX *cipher_of(EVP_CIPHER_CTX *_Atomic *ciphers, unsigned thread, const uint8_t *key, int sealing)
{
	EVP_CIPHER_CTX *cipher = atomic_load_explicit(&ciphers[thread], memory_order_relaxed);

	if (!cipher) {
		cipher = aead_new(key, sealing);
		ciphers[thread] = cipher;
	}
	return cipher;
}

EVP_CIPHER_CTX *session_sealer(struct worker *worker, struct session *session)
{
	return cipher_of(session->sealers, worker->index, session->send_key, 1);
}

EVP_CIPHER_CTX *session_opener(struct worker *worker, struct session *session)
{
	return cipher_of(session->openers, worker->index, session->receive_key, 0);
}

static int is_ipv4(const struct place *place)
{
	static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};

	return !memcmp(place->address, mapped, sizeof(mapped));
}

static struct path *make_path(struct engine *engine, const struct set_peer *request)
{
	struct path *path = calloc(1, sizeof(*path));
	size_t headers = 28;
	sa_family_t family = AF_INET;

	if (!path)
		return NULL;
	path->place = request->place;
	if (is_ipv4(&request->place)) {
		struct sockaddr_in *address = (struct sockaddr_in *)&path->address;

		address->sin_family = AF_INET;
		address->sin_port = request->place.port;
		memcpy(&address->sin_addr, request->place.address + 12, 4);
		path->address_length = sizeof(*address);
	} else {
		struct sockaddr_in6 *address = (struct sockaddr_in6 *)&path->address;

		address->sin6_family = family = AF_INET6;
		address->sin6_port = request->place.port;
		address->sin6_scope_id = request->place.scope;
		memcpy(&address->sin6_addr, request->place.address, 16);
		path->address_length = sizeof(*address);
		headers = 48;
	}
	if (request->mtu > headers + WIRE_OVERHEAD + MIN_FRAME)
		path->frame_max = request->mtu - headers - WIRE_OVERHEAD;
	path->socket = request->socket < engine->sockets ? request->socket : 0;
	for (unsigned i = 0; request->socket >= engine->sockets && i < engine->sockets; i++) {
		struct sockaddr_storage bound;
		socklen_t length = sizeof(bound);

		if (!getsockname(engine->threads[0].sockets[i], (struct sockaddr *)&bound, &length) &&
		    bound.ss_family == family) {
			path->socket = i;
			break;
		}
	}
	return path;
}

int peer_set_path(struct engine *engine, const struct set_peer *request)
{
	struct peer *peer = peer_get(engine, request->peer);
	struct path *path = make_path(engine, request), *old;

	if (!peer || !path) {
		free(path);
		return ENOSPC;
	}
	old = atomic_exchange(&peer->path, path);
	engine_synchronize(engine);
	free(old);
	while (atomic_flag_test_and_set(&peer->moving))
		sched_yield();
	memset(&peer->moved, 0, sizeof(peer->moved));
	atomic_flag_clear(&peer->moving);
	return 0;
}

void peer_remove(struct engine *engine, struct peer *peer)
{
	struct peer *at = engine->peer_buckets[bucket_of(peer->id)];
	struct flood *flood = engine->flood;

	for (uint32_t i = 0; i < MAX_SESSIONS; i++)
		if (engine->sessions[i].receive_id && engine->sessions[i].peer == peer)
			session_remove(engine, &engine->sessions[i]);
	for (uint32_t i = 0; flood && i < flood->count; i++) {
		if (flood->peers[i] == peer) {
			uint32_t ids[MAX_PEERS], many = 0;

			for (uint32_t j = 0; j < flood->count; j++)
				if (flood->peers[j] != peer)
					ids[many++] = flood->peers[j]->id;
			flood_set(engine, ids, many);
			break;
		}
	}
	if (at == peer) {
		engine->peer_buckets[bucket_of(peer->id)] = peer->next;
	} else {
		while (at->next != peer)
			at = at->next;
		__atomic_store_n(&at->next, peer->next, __ATOMIC_RELEASE);
	}
	engine->peer_count--;
	engine_synchronize(engine); /* nobody learns for it any more */
	if (engine->mode == MODE_ALONE)
		fdb_remove_owner(engine, peer->id);
	free(peer->path);
	free(peer);
}
