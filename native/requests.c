/* SPDX-License-Identifier: Apache-2.0
 *
 * What each message of the Ganglion does (protocol.h). On the control thread.
 */
#include <errno.h>
#include <openssl/crypto.h>

#include "engine.h"

static uint32_t session_rows(struct engine *engine, uint32_t from, struct answer *answer)
{
	struct session_row *row = (struct session_row *)(answer->body + 8);
	struct session_row *end = (struct session_row *)(answer->body + MESSAGE_MAX - 1024);
	uint32_t next = 0, zero = 0;

	for (uint32_t i = from; i < MAX_SESSIONS; i++) {
		struct session *session = &engine->sessions[i];
		struct path *path;

		if (!session->receive_id)
			continue;
		if (row + 1 > end) {
			next = i;
			break;
		}
		path = session->peer->path;
		memset(row, 0, sizeof(*row));
		row->peer = session->peer->id;
		row->flags = (session->peer->sending == session ? SESSION_SENDING : 0) |
			     (session->confirmed ? SESSION_CONFIRMED : 0);
		row->send_id = session->send_id;
		row->receive_id = session->receive_id;
		row->expires = session->expires;
		if (path)
			row->path = path->place;
		row->note_length = session->note_length;
		memcpy(row->note, session->note, NOTE_SIZE);
		row++;
	}
	memcpy(answer->body, &next, 4);
	memcpy(answer->body + 4, &zero, 4);
	answer->length = (uint8_t *)row - answer->body;
	return 0;
}

static uint32_t fdb_page(struct engine *engine, uint32_t from, struct answer *answer)
{
	uint32_t rows = (MESSAGE_MAX - 1024) / sizeof(struct fdb_row), zero = 0, next;

	if (engine->mode != MODE_ALONE || from >= FDB_SLOTS)
		return EINVAL;
	next = fdb_rows(engine, from, (struct fdb_row *)(answer->body + 8), &rows);
	memcpy(answer->body, &next, 4);
	memcpy(answer->body + 4, &zero, 4);
	answer->length = 8 + rows * sizeof(struct fdb_row);
	return 0;
}

static uint32_t session_numbers(struct engine *engine, uint64_t receive_id, struct answer *answer)
{
	struct session *session = session_find(engine, receive_id);
	struct session_stats stats;
	struct lane_stream *stream;
	uint64_t expected = 0;

	if (!session)
		return ENOENT;
	stream = &session->streams[engine->stream];
	for (unsigned i = 0; i < LANE_STREAMS; i++)
		expected += __atomic_load_n(&session->streams[i].next, __ATOMIC_RELAXED);
	stats = (struct session_stats){
		.tx_frames = __atomic_load_n(&stream->tx_sequence, __ATOMIC_RELAXED),
		.tx_bytes = __atomic_load_n(&stream->tx_bytes, __ATOMIC_RELAXED),
		.rx_frames = __atomic_load_n(&stream->rx_frames, __ATOMIC_RELAXED),
		.rx_bytes = __atomic_load_n(&stream->rx_bytes, __ATOMIC_RELAXED),
		.last_tx = __atomic_load_n(&stream->last_tx, __ATOMIC_RELAXED),
		.last_rx = __atomic_load_n(&stream->last_rx, __ATOMIC_RELAXED),
		.last_tx_data = session->last_tx_data,
		.last_rx_data = session->last_rx_data,
		.last_unicast = __atomic_load_n(&stream->last_unicast, __ATOMIC_RELAXED),
		.rx_expected = expected,
	};
	memcpy(answer->body, &stats, sizeof(stats));
	answer->length = sizeof(stats);
	return 0;
}

static uint32_t counters(struct engine *engine, struct answer *answer)
{
	uint64_t *total = (uint64_t *)answer->body;

	memset(total, 0, NATIVE_COUNTERS * sizeof(*total));
	for (unsigned i = 0; i <= engine->workers; i++)
		for (unsigned way = 0; way < NATIVE_COUNTERS; way++)
			total[way] += __atomic_load_n(&engine->threads[i].counters[way], __ATOMIC_RELAXED);
	answer->length = NATIVE_COUNTERS * sizeof(*total);
	return 0;
}

static uint32_t retain(struct engine *engine, const uint8_t *body, size_t length)
{
	struct retain wanted;
	const uint8_t *ids, *peers;

	if (length < sizeof(wanted))
		return EINVAL;
	memcpy(&wanted, body, sizeof(wanted));
	if (wanted.sessions > MAX_SESSIONS || wanted.peers > MAX_PEERS ||
	    length != sizeof(wanted) + wanted.sessions * sizeof(uint64_t) + wanted.peers * sizeof(uint32_t))
		return EINVAL;
	ids = body + sizeof(wanted);
	peers = ids + wanted.sessions * sizeof(uint64_t);
	for (uint32_t i = 0; i < MAX_SESSIONS; i++) {
		uint64_t id = engine->sessions[i].receive_id;
		int keep = 0;

		for (uint32_t j = 0; id && j < wanted.sessions && !keep; j++)
			keep = !memcmp(ids + j * sizeof(id), &id, sizeof(id));
		if (id && !keep)
			session_remove(engine, &engine->sessions[i]);
	}
	for (uint32_t bucket = 0; bucket < BUCKETS; bucket++) {
		struct peer *peer = engine->peer_buckets[bucket], *next;

		for (; peer; peer = next) {
			int keep = 0;

			next = peer->next;
			for (uint32_t j = 0; j < wanted.peers && !keep; j++)
				keep = !memcmp(peers + j * sizeof(peer->id), &peer->id, sizeof(peer->id));
			if (!keep)
				peer_remove(engine, peer);
		}
	}
	return 0;
}

static uint32_t remember(struct engine *engine, const struct remember *request)
{
	struct session *session = session_find(engine, request->receive_id);

	if (!session)
		return ENOENT;
	if (request->length > NOTE_SIZE)
		return EINVAL;
	memcpy(session->note, request->note, NOTE_SIZE);
	session->note_length = request->length;
	return 0;
}

static uint32_t use_session(struct engine *engine, uint64_t receive_id)
{
	struct session *session = session_find(engine, receive_id);

	if (!session)
		return ENOENT;
	session->peer->sending = session;
	return 0;
}

/* Bytes of the body; 0: at least that many, or checked where it is used. */
static const size_t body_sizes[] = {
	[MESSAGE_HELLO] = sizeof(struct hello),
	[MESSAGE_CONFIGURE] = sizeof(struct configuration),
	[MESSAGE_FORWARD] = sizeof(struct forward),
	[MESSAGE_ADD_SESSION] = sizeof(struct add_session),
	[MESSAGE_USE_SESSION] = sizeof(struct session_id),
	[MESSAGE_REMOVE_SESSION] = sizeof(struct session_id),
	[MESSAGE_SET_PEER] = sizeof(struct set_peer),
	[MESSAGE_REMOVE_PEER] = sizeof(struct peer_id),
	[MESSAGE_SET_STATIC] = sizeof(struct fdb_pin),
	[MESSAGE_REMOVE_STATIC] = sizeof(struct fdb_pin),
	[MESSAGE_REMEMBER] = sizeof(struct remember),
	[MESSAGE_STATS] = sizeof(struct session_id),
	[MESSAGE_SESSIONS] = sizeof(struct cursor),
	[MESSAGE_FDB] = sizeof(struct cursor),
};

union body {
	struct configuration configuration;
	struct forward forward;
	struct add_session add_session;
	struct session_id session_id;
	struct set_peer set_peer;
	struct peer_id peer_id;
	struct fdb_pin pin;
	struct remember remember;
	struct cursor cursor;
	uint32_t peers[MAX_PEERS];
};

uint32_t request_carry_out(struct engine *engine, uint16_t type, const uint8_t *message, size_t length,
			   struct answer *answer)
{
	static union body body; /* aligned; the control thread alone is here */
	struct session *session;
	struct peer *peer;
	uint32_t error = 0;

	if (type == MESSAGE_RETAIN)
		return retain(engine, message, length);
	if (type == MESSAGE_SET_GROUPS)
		return groups_set(engine, message, length);
	if (length > sizeof(body) || (type < sizeof(body_sizes) / sizeof(body_sizes[0]) && body_sizes[type] &&
				      length != body_sizes[type]))
		return EINVAL;
	memcpy(&body, message, length);
	switch (type) {
	case MESSAGE_CONFIGURE:
		engine->fdb.ageing = body.configuration.fdb_ageing;
		engine->fdb.max_per_peer = body.configuration.fdb_max_per_peer;
		engine->fdb.max_local = body.configuration.fdb_max_local;
		break;
	case MESSAGE_FORWARD:
		engine->forwarding = body.forward.on != 0;
		engine_synchronize(engine);
		break;
	case MESSAGE_ADD_SESSION:
		error = session_add(engine, &body.add_session);
		OPENSSL_cleanse(&body, sizeof(body.add_session));
		break;
	case MESSAGE_USE_SESSION:
		error = use_session(engine, body.session_id.receive_id);
		break;
	case MESSAGE_REMOVE_SESSION:
		session = session_find(engine, body.session_id.receive_id);
		if (session)
			session_remove(engine, session);
		break;
	case MESSAGE_SET_PEER:
		error = peer_set_path(engine, &body.set_peer);
		break;
	case MESSAGE_REMOVE_PEER:
		peer = peer_find(engine, body.peer_id.peer);
		if (peer)
			peer_remove(engine, peer);
		break;
	case MESSAGE_SET_FLOOD:
		error = length % sizeof(uint32_t) ? EINVAL : flood_set(engine, body.peers, length / sizeof(uint32_t));
		break;
	case MESSAGE_SET_STATIC:
	case MESSAGE_REMOVE_STATIC:
		if (engine->mode != MODE_ALONE)
			error = EINVAL;
		else if (type == MESSAGE_SET_STATIC)
			fdb_set_static(engine, body.pin.mac, body.pin.vlan, body.pin.owner);
		else
			fdb_remove_static(engine, body.pin.mac, body.pin.vlan);
		break;
	case MESSAGE_REMEMBER:
		error = remember(engine, &body.remember);
		break;
	case MESSAGE_STATS:
		error = session_numbers(engine, body.session_id.receive_id, answer);
		break;
	case MESSAGE_SESSIONS:
		error = session_rows(engine, body.cursor.from, answer);
		break;
	case MESSAGE_FDB:
		error = fdb_page(engine, body.cursor.from, answer);
		break;
	case MESSAGE_COUNTERS:
		error = counters(engine, answer);
		break;
	case MESSAGE_STOP:
		engine->stopped = 1;
		engine->forwarding = 0;
		if (engine->lane)
			__atomic_store_n(&engine->lane->alive, 0, __ATOMIC_RELEASE);
		sessions_wipe(engine);
		break;
	default:
		error = EINVAL;
	}
	return error;
}

void request_one_way(struct engine *engine, uint16_t type, const uint8_t *body, size_t length)
{
	struct worker *worker = &engine->threads[engine->workers];
	static const struct virtio_net_hdr plain;
	struct peer_id to;
	struct place place;

	if (type == MESSAGE_SEAL && length > sizeof(to)) {
		memcpy(&to, body, sizeof(to));
		transmit_to_peer(worker, to.peer, body + sizeof(to), length - sizeof(to));
	} else if (type == MESSAGE_PORT_FRAME && engine->mode == MODE_ALONE) {
		transmit_port_frame(worker, &plain, body, length);
	} else if (type == MESSAGE_TO_PORT && engine->mode == MODE_ALONE) {
		receive_for_port(worker, body, length);
	} else if (type == MESSAGE_DATAGRAM && length > sizeof(place) + 8) {
		struct session *session = session_find(engine, load_le64(body + sizeof(place)));
		uint32_t owner = session ? session->owner : 0;

		memcpy(&place, body, sizeof(place));
		place.reserved = 0;
		mail(worker, owner == NO_OWNER ? 0 : owner, &place, body + sizeof(place), length - sizeof(place));
	}
	batch_flush(worker);
}
