/* SPDX-License-Identifier: Apache-2.0
 *
 * From the local port to the underlay. What becomes of a frame is as in omni_core/dataplane/userspace.py:
 *
 *   too short, too long, to the control MAC, group source -> dropped, counted
 *   source pinned to a peer                               -> dropped (SPLIT_HORIZON): it came over the overlay and looped
 *   group address: a question, or watched                 -> the Ganglion, which sends it back (MESSAGE_PORT_FRAME)
 *   any other group address                               -> sealed for the peers of the flood set that want it (groups.c)
 *   known at a peer                                       -> sealed for that peer
 *   known at the local port                               -> left alone: the bridge there has delivered it
 *   unknown, or no session that may still seal            -> the Ganglion (EVENT_UNRESOLVED)
 *
 * In mode bulk synapse_split has looked at all this: whatever comes is for a peer, or dropped.
 */
#include <errno.h>
#include <unistd.h>

#include "engine.h"

#define TAP_READS 64		    /* for one wake-up, then the sockets get their turn */
#define TAP_BYTES (256 * 1024)

static void unresolved(struct worker *worker, uint32_t reason, uint32_t peer, struct cutter *cutter)
{
	struct unresolved body = {.reason = reason, .peer = peer};
	uint8_t frame[TAP_BUFFER];
	size_t length;

	if (worker->engine->mode == MODE_BULK) {
		count(worker, reason == UNRESOLVED_SESSION ? DROP_NO_SESSION : DROP_UNKNOWN_DESTINATION, cutter->frames);
		return; /* TCP sends it again, and synapse_split then knows better */
	}
	while ((length = cutter_next(cutter, frame)))
		say(worker, EVENT_UNRESOLVED, &body, sizeof(body), frame, length);
}

static int may_seal(const struct session *session, const struct lane_stream *stream, uint64_t now)
{
	return now < session->expires && __atomic_load_n(&stream->tx_sequence, __ATOMIC_RELAXED) < REJECT_AFTER_MESSAGES;
}

enum sealed {
	SEALED,
	NO_SESSION,
	LOST, /* dropped and counted */
};

static enum sealed seal_for(struct worker *worker, struct peer *peer, struct cutter *cutter, int is_super)
{
	struct engine *engine = worker->engine;
	struct session *session = peer->sending;
	struct path *path = peer->path;
	struct lane_stream *stream;
	EVP_CIPHER_CTX *cipher;
	uint64_t sequence, bytes = 0, now = worker->now;
	uint8_t first_octet = cutter->frame[0];
	int control = is_control_mac(cutter->frame) && load_be16(cutter->frame + 12) == CONTROL_ETHERTYPE;

	if (!session)
		return NO_SESSION;
	stream = &session->streams[engine->stream];
	if (!may_seal(session, stream, now))
		return NO_SESSION;
	cipher = session_sealer(worker, session);
	if (!path || !cipher) {
		count(worker, path ? DROP_NO_ROOM : DROP_NO_PATH, cutter->frames);
		return LOST;
	}
	/* Taken before they are used. */
	sequence = __atomic_fetch_add(&stream->tx_sequence, cutter->frames, __ATOMIC_RELAXED);
	if (sequence + cutter->frames > REJECT_AFTER_MESSAGES)
		return NO_SESSION;
	for (;;) {
		uint8_t *packet = batch_room(worker, cutter->frame_bytes + WIRE_OVERHEAD);
		size_t length = cutter_next(cutter, packet + WIRE_HEADER);

		if (!length)
			break;
		write_header(packet, session->send_id, sequence++, engine->stream);
		if (aead_seal(cipher, packet, length)) {
			count(worker, DROP_NO_ROOM, 1);
			continue;
		}
		batch_add(worker, path, length + WIRE_OVERHEAD);
		bytes += length;
	}
	__atomic_fetch_add(&stream->tx_bytes, bytes, __ATOMIC_RELAXED);
	__atomic_store_n(&stream->last_tx, now, __ATOMIC_RELAXED);
	if (!control) {
		session->last_tx_data = now;
		if (!(first_octet & 1))
			__atomic_store_n(&stream->last_unicast, now, __ATOMIC_RELAXED);
	}
	count(worker, NATIVE_TX_SEALED, cutter->frames);
	if (is_super)
		count(worker, NATIVE_TX_SUPER, 1);
	return SEALED;
}

/* Prepares to cut for the peer. 0: dropped. */
static int cut_for(struct worker *worker, struct peer *peer, struct cutter *cutter, const struct virtio_net_hdr *vnet,
		   const uint8_t *frame, size_t length)
{
	struct path *path = peer ? peer->path : NULL;
	size_t frame_max = path && path->frame_max && path->frame_max < MAX_FRAME ? path->frame_max : MAX_FRAME;

	if (!cutter_start(cutter, vnet, frame, length, frame_max))
		return 1;
	count(worker, DROP_BAD_INNER_FRAME, 1);
	return 0;
}

static void send_to_group(struct worker *worker, const struct virtio_net_hdr *vnet, const uint8_t *frame, size_t length)
{
	const struct flood *flood = worker->engine->flood;
	const uint64_t *set = flood ? group_set(worker, flood, frame, length) : NULL;
	int is_super = vnet->gso_type != VIRTIO_NET_HDR_GSO_NONE, nobody = 1;

	for (uint32_t i = 0; flood && i < flood->count; i++) {
		struct cutter cutter;

		if (set && !(set[i / 64] >> (i % 64) & 1))
			continue;
		nobody = 0;
		if (cut_for(worker, flood->peers[i], &cutter, vnet, frame, length) &&
		    seal_for(worker, flood->peers[i], &cutter, is_super) == NO_SESSION)
			unresolved(worker, UNRESOLVED_SESSION, flood->peers[i]->id, &cutter);
	}
	count(worker, nobody ? NATIVE_TX_NOBODY : NATIVE_TX_GROUP, 1);
}

/* With its checksum finished, and in pieces that a peer can get: it may come back. */
static void show(struct worker *worker, const struct virtio_net_hdr *vnet, const uint8_t *frame, size_t length)
{
	uint8_t piece[TAP_BUFFER];
	struct cutter cutter;
	size_t bytes;

	if (!cut_for(worker, NULL, &cutter, vnet, frame, length))
		return;
	while ((bytes = cutter_next(&cutter, piece)))
		say(worker, EVENT_GROUP, NULL, 0, piece, bytes);
}

static void group_from_port(struct worker *worker, const struct virtio_net_hdr *vnet, const uint8_t *frame,
			    size_t length, int answered)
{
	if (worker->engine->mode == MODE_ALONE && !answered) {
		if (is_question(frame, length)) {
			show(worker, vnet, frame, length);
			return;
		}
		if (group_is_watched(worker, frame, length)) {
			count(worker, NATIVE_TX_WATCHED, 1);
			show(worker, vnet, frame, length);
			return;
		}
	}
	send_to_group(worker, vnet, frame, length);
}

/* What comes before it is known where the frame goes. 0: dropped. */
static int admit(struct worker *worker, const uint8_t *frame, uint16_t vlan)
{
	const struct engine *engine = worker->engine;

	/* Local addresses are learned by synapse_split in mode bulk. */
	if (engine->mode == MODE_ALONE && !fdb_learn(worker, frame + 6, vlan, OWNER_LOCAL)) {
		count(worker, is_group(frame + 6) ? DROP_SOURCE_MAC_REFUSED : DROP_SPLIT_HORIZON, 1);
		return 0;
	}
	if (is_control_mac(frame)) {
		count(worker, DROP_RESERVED_DESTINATION, 1);
		return 0;
	}
	return 1;
}

static void from_port(struct worker *worker, const struct virtio_net_hdr *vnet, const uint8_t *frame, size_t length,
		      int answered)
{
	struct engine *engine = worker->engine;
	struct fdb_answer found;
	struct cutter cutter;
	struct peer *peer;
	uint16_t vlan;

	if (length < MIN_FRAME) {
		count(worker, DROP_FRAME_TOO_SHORT, 1);
		return;
	}
	if (length > MAX_FRAME && vnet->gso_type == VIRTIO_NET_HDR_GSO_NONE) {
		count(worker, DROP_FRAME_TOO_LONG, 1);
		return;
	}
	if (!engine->forwarding) {
		count(worker, DROP_PAUSED, 1);
		return;
	}
	vlan = vlan_of(frame, length);
	if (!admit(worker, frame, vlan))
		return;
	if (is_group(frame)) {
		group_from_port(worker, vnet, frame, length, answered);
		return;
	}
	found = fdb_find(worker, frame, vlan);
	if (found.known && found.owner == OWNER_LOCAL)
		return;
	peer = found.known ? peer_find(engine, found.owner) : NULL;
	if (!cut_for(worker, peer, &cutter, vnet, frame, length))
		return;
	if (!peer)
		unresolved(worker, found.known ? UNRESOLVED_SESSION : UNRESOLVED_DESTINATION,
			   found.known ? found.owner : NO_PEER, &cutter);
	else if (seal_for(worker, peer, &cutter, vnet->gso_type != VIRTIO_NET_HDR_GSO_NONE) == NO_SESSION)
		unresolved(worker, UNRESOLVED_SESSION, peer->id, &cutter);
}

void transmit_port_frame(struct worker *worker, const struct virtio_net_hdr *vnet, const uint8_t *frame, size_t length)
{
	from_port(worker, vnet, frame, length, 1);
}

void transmit_to_peer(struct worker *worker, uint32_t peer_id, const uint8_t *frame, size_t length)
{
	static const struct virtio_net_hdr plain;
	struct peer *peer = peer_find(worker->engine, peer_id);
	struct session *session = peer ? peer->sending : NULL;
	struct cutter cutter;

	if (length < MIN_FRAME)
		count(worker, DROP_FRAME_TOO_SHORT, 1);
	else if (length > MAX_FRAME)
		count(worker, DROP_FRAME_TOO_LONG, 1);
	else if (!session)
		count(worker, DROP_NO_SESSION, 1);
	else if (cut_for(worker, peer, &cutter, &plain, frame, length) &&
		 seal_for(worker, peer, &cutter, 0) == NO_SESSION)
		count(worker, worker->now >= session->expires ? DROP_SESSION_EXPIRED : DROP_SEQUENCE_EXHAUSTED, 1);
}

void transmit_from_tap(struct worker *worker)
{
	size_t bytes = 0;

	for (unsigned i = 0; i < TAP_READS && bytes < TAP_BYTES; i++) {
		struct virtio_net_hdr vnet;
		ssize_t got = read(worker->tap, worker->tap_buffer, TAP_BUFFER);

		if (got < 0) {
			if (errno == EINTR)
				continue;
			if (errno != EAGAIN)
				worker->engine->failed = 1; /* EBADFD: the device was removed */
			break;
		}
		if ((size_t)got < sizeof(vnet))
			continue;
		memcpy(&vnet, worker->tap_buffer, sizeof(vnet));
		from_port(worker, &vnet, worker->tap_buffer + sizeof(vnet), got - sizeof(vnet), 0);
		bytes += got;
	}
}
