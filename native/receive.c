/* SPDX-License-Identifier: Apache-2.0
 *
 * From the underlay to the local port. The first check that fails is the drop reason, as in
 * omni_core/dataplane/userspace.py: TOO_SHORT, TOO_LONG, BAD_NONCE, UNKNOWN_SESSION, PAUSED, SESSION_EXPIRED, REPLAYED, BAD_TAG.
 * Nothing but a counter changes before the AEAD has accepted a packet, and nothing is ever answered. Then the window
 * moves, the session is confirmed, the peer may have moved, its MAC is learned, and the frame goes to the merger.
 */
#include <errno.h>
#include <sys/uio.h>
#include <unistd.h>

#include "engine.h"
#include "window.h"

#ifndef UDP_GRO
#define UDP_GRO 104
#endif
#ifndef SOL_UDP
#define SOL_UDP 17
#endif

#define RECEIVE_ROUNDS 4 /* system calls for one wake-up, then the TAP gets its turn */
#define MAIL_PACKETS 64
#define MAILED_IN_A_ROW 64

static void emit(void *context, const struct virtio_net_hdr *vnet, const struct iovec *pieces, int piece_count,
		 unsigned segments)
{
	struct worker *worker = context;
	struct iovec all[MERGE_PIECES + 1];

	all[0] = (struct iovec){(void *)(uintptr_t)vnet, sizeof(*vnet)};
	memcpy(all + 1, pieces, piece_count * sizeof(*pieces));
	if (writev(worker->tap, all, piece_count + 1) < 0)
		count(worker, DROP_PORT_REFUSED, segments);
	else if (segments > 1)
		count(worker, NATIVE_RX_SUPER, 1);
}

void receive_for_port(struct worker *worker, const uint8_t *frame, size_t length)
{
	static const struct virtio_net_hdr plain;
	struct iovec piece = {(void *)(uintptr_t)frame, length};

	if (length < MIN_FRAME || length > MAX_FRAME) {
		count(worker, length < MIN_FRAME ? DROP_FRAME_TOO_SHORT : DROP_FRAME_TOO_LONG, 1);
	} else if (!worker->engine->forwarding) {
		count(worker, DROP_PAUSED, 1);
	} else {
		count(worker, NATIVE_RX_LOCAL, 1);
		emit(worker, &plain, &piece, 1, 1);
	}
}

void receive_init(struct worker *worker)
{
	merger_init(&worker->merger, emit, worker);
	for (unsigned i = 0; i < RECEIVE_BATCH; i++) {
		worker->receive_pieces[i] =
			(struct iovec){worker->receive_buffers + (size_t)i * RECEIVE_STRIDE, RECEIVE_BUFFER};
		worker->receive_headers[i].msg_hdr = (struct msghdr){
			.msg_name = &worker->receive_sources[i],
			.msg_iov = &worker->receive_pieces[i],
			.msg_iovlen = 1,
			.msg_control = worker->receive_controls[i],
		};
	}
}

void place_from(struct place *place, const struct sockaddr_storage *address)
{
	memset(place, 0, sizeof(*place));
	if (address->ss_family == AF_INET) {
		const struct sockaddr_in *from = (const struct sockaddr_in *)address;

		place->address[10] = place->address[11] = 0xff;
		memcpy(place->address + 12, &from->sin_addr, 4);
		place->port = from->sin_port;
	} else {
		const struct sockaddr_in6 *from = (const struct sockaddr_in6 *)address;

		memcpy(place->address, &from->sin6_addr, 16);
		place->port = from->sin6_port;
		if (IN6_IS_ADDR_LINKLOCAL(&from->sin6_addr))
			place->scope = from->sin6_scope_id;
	}
}

static const struct place *place_of(struct arrival *arrival)
{
	if (!arrival->placed) {
		place_from(&arrival->place, arrival->address);
		arrival->placed = 1;
	}
	return &arrival->place;
}

static int same_place(const struct place *a, const struct place *b)
{
	return a->port == b->port && a->scope == b->scope && !memcmp(a->address, b->address, sizeof(a->address));
}

/* The newest packet so far came from elsewhere than the peer's path: said once for each place. */
static void notice_source(struct worker *worker, struct session *session, struct arrival *arrival)
{
	const struct place *source = place_of(arrival);
	struct peer *peer = session->peer;
	struct path *path = peer->path;
	int at_home = path && same_place(&path->place, source), news;

	if ((at_home && !peer->moved.port) || atomic_flag_test_and_set(&peer->moving))
		return; /* the second: another worker is just saying it */
	news = !at_home && !same_place(&peer->moved, source);
	if (at_home)
		memset(&peer->moved, 0, sizeof(peer->moved));
	else
		peer->moved = *source;
	atomic_flag_clear(&peer->moving);
	if (news) {
		struct control body = {.receive_id = session->receive_id, .source = *source};

		say(worker, EVENT_MOVED, &body, sizeof(body), NULL, 0);
	}
}

/* An authentic, fresh frame. */
static void deliver(struct worker *worker, struct session *session, uint8_t *frame, size_t length,
		    struct arrival *arrival)
{
	struct lane_stream *stream = &session->streams[worker->engine->stream];

	if (is_control_mac(frame)) {
		if (load_be16(frame + 12) == CONTROL_ETHERTYPE) {
			struct control body = {.receive_id = session->receive_id, .source = *place_of(arrival)};

			count(worker, NATIVE_RX_CONTROL, 1);
			say(worker, EVENT_CONTROL, &body, sizeof(body), frame, length);
		} else {
			count(worker, DROP_BAD_INNER_FRAME, 1);
		}
		return;
	}
	session->last_rx_data = worker->now;
	if (!is_group(frame))
		__atomic_store_n(&stream->last_unicast, worker->now, __ATOMIC_RELAXED);
	if (!fdb_learn(worker, frame + 6, vlan_of(frame, length), session->peer->id)) {
		count(worker, DROP_SOURCE_MAC_REFUSED, 1);
		return;
	}
	merger_add(&worker->merger, frame, length);
}

/* A control message or a packet of another stream, which came merged with ours, or while no Ganglion listens. */
static void hand_on(struct worker *worker, const uint8_t *packet, size_t length, struct arrival *arrival)
{
	if (worker->engine->ganglion < 0)
		count(worker, DROP_NOT_LISTENING, 1);
	else
		say(worker, EVENT_DATAGRAM, place_of(arrival), sizeof(struct place), packet, length);
}

/* Only its owner writes a session's replay windows. The worker where the first packet arrives takes it, and as the program on
 * the sockets goes by the sender's address, that is where the others arrive, and those of the next session with the same
 * peer. Whoever gets one that is not his mails it. When many are mailed in a row the peer has moved: the owner gives it away. */
static int own(struct worker *worker, struct session *session, uint8_t *packet, size_t length, struct arrival *arrival,
	       int *claimed)
{
	uint32_t owner = session->owner;

	*claimed = 0;
	if (owner == NO_OWNER && atomic_compare_exchange_strong(&session->owner, &owner, worker->index)) {
		*claimed = 1;
		return 1;
	}
	if (owner != worker->index) {
		struct place place = *place_of(arrival);

		place.reserved = (uint16_t)(worker->index + 1);
		mail(worker, owner, &place, packet, length);
		return 0;
	}
	if (!arrival->mailed_by)
		session->mailed = 0;
	return 1;
}

void receive_packet(struct worker *worker, uint8_t *packet, size_t length, struct arrival *arrival)
{
	struct engine *engine = worker->engine;
	struct session *session = worker->last_session;
	struct lane_stream *window;
	EVP_CIPHER_CTX *cipher;
	uint64_t id, sequence, nonce, stream;
	unsigned reason = 0;
	int newest, claimed;

	if (length && packet[0] < FIRST_DATA_BYTE) {
		hand_on(worker, packet, length, arrival);
		return;
	}
	if (length < WIRE_OVERHEAD + MIN_FRAME || length > WIRE_OVERHEAD + MAX_FRAME) {
		count(worker, length < WIRE_OVERHEAD + MIN_FRAME ? DROP_TOO_SHORT : DROP_TOO_LONG, 1);
		return;
	}
	id = load_le64(packet);
	sequence = load_le64(packet + 8);
	nonce = load_le64(packet + 16);
	stream = nonce >> STREAM_SHIFT;
	if ((nonce & SEQUENCE_MASK) != sequence || stream >= LANE_STREAMS) {
		count(worker, DROP_BAD_NONCE, 1);
		return;
	}
	if (engine->mode == MODE_BULK && stream != engine->stream) {
		hand_on(worker, packet, length, arrival);
		return;
	}
	if (!session || session->receive_id != id)
		session = worker->last_session = session_find(engine, id);
	if (!session) {
		count(worker, DROP_UNKNOWN_SESSION, 1);
		return;
	}
	if (!engine->forwarding) {
		count(worker, DROP_PAUSED, 1);
		return;
	}
	if (worker->now >= session->expires || sequence >= REJECT_AFTER_MESSAGES) {
		count(worker, DROP_SESSION_EXPIRED, 1);
		return;
	}
	if (!own(worker, session, packet, length, arrival, &claimed))
		return;
	window = &session->streams[stream];
	cipher = session_opener(worker, session);
	length -= WIRE_OVERHEAD;
	if (!window_check(window, sequence))
		reason = DROP_REPLAYED;
	else if (!cipher)
		reason = DROP_NO_ROOM;
	else if (aead_open(cipher, packet, length))
		reason = DROP_BAD_TAG;
	if (reason) {
		count(worker, reason, 1);
		if (claimed)
			session->owner = NO_OWNER;
		return;
	}
	newest = sequence >= window->next;
	window_accept(window, sequence);
	/* One writer: plain additions, stored whole for those who read. Both streams count on the one that we seal on. */
	window = &session->streams[engine->stream];
	__atomic_store_n(&window->rx_frames, window->rx_frames + 1, __ATOMIC_RELAXED);
	__atomic_store_n(&window->rx_bytes, window->rx_bytes + length, __ATOMIC_RELAXED);
	__atomic_store_n(&window->last_rx, worker->now, __ATOMIC_RELAXED);
	count(worker, NATIVE_RX_OPENED, 1);
	if (!session->confirmed) {
		struct session_id body = {.receive_id = id};

		session->confirmed = 1;
		say(worker, EVENT_CONFIRMED, &body, sizeof(body), NULL, 0);
	}
	if (newest)
		notice_source(worker, session, arrival);
	deliver(worker, session, packet + WIRE_HEADER, length, arrival);
	if (arrival->mailed_by && ++session->mailed >= MAILED_IN_A_ROW) {
		session->mailed = 0;
		session->owner = arrival->mailed_by - 1; /* from here on it is not ours */
	}
}

static size_t segment_of(struct msghdr *header)
{
	for (struct cmsghdr *at = CMSG_FIRSTHDR(header); at; at = CMSG_NXTHDR(header, at)) {
		if (at->cmsg_level == SOL_UDP && at->cmsg_type == UDP_GRO) {
			int size;

			memcpy(&size, CMSG_DATA(at), sizeof(size));
			return size > 0 ? (size_t)size : 0;
		}
	}
	return 0;
}

static int receive_burst(struct worker *worker, unsigned socket)
{
	int got;

	for (unsigned i = 0; i < RECEIVE_BATCH; i++) {
		worker->receive_headers[i].msg_hdr.msg_namelen = sizeof(worker->receive_sources[0]);
		worker->receive_headers[i].msg_hdr.msg_controllen = sizeof(worker->receive_controls[0]);
	}
	got = recvmmsg(worker->sockets[socket], worker->receive_headers, RECEIVE_BATCH, MSG_DONTWAIT, NULL);
	count(worker, NATIVE_RX_CALLS, 1);
	return got;
}

void receive_from_socket(struct worker *worker, unsigned socket)
{
	for (unsigned round = 0; round < RECEIVE_ROUNDS; round++) {
		int got = receive_burst(worker, socket);

		for (int i = 0; i < got; i++) {
			size_t length = worker->receive_headers[i].msg_len;
			size_t segment = segment_of(&worker->receive_headers[i].msg_hdr);
			uint8_t *at = worker->receive_pieces[i].iov_base;
			struct arrival arrival = {.address = &worker->receive_sources[i]};

			if (!segment)
				segment = length;
			do {
				size_t bytes = length < segment ? length : segment;

				receive_packet(worker, at, bytes, &arrival);
				at += bytes;
				length -= bytes;
			} while (length);
		}
		merger_flush(&worker->merger); /* the buffers are used again */
		worker->last_session = NULL;
		if (got < RECEIVE_BATCH)
			break; /* also an error that ICMP left: it concerns one peer */
	}
}

void receive_from_mailbox(struct worker *worker)
{
	for (unsigned i = 0; i < MAIL_PACKETS; i++) {
		uint8_t *buffer = worker->receive_buffers;
		ssize_t got = recv(worker->mailbox[0], buffer, RECEIVE_BUFFER, MSG_DONTWAIT);
		struct arrival arrival = {.placed = 1};

		if (got < 0)
			break;
		if ((size_t)got <= sizeof(arrival.place))
			continue; /* somebody wanted us awake */
		memcpy(&arrival.place, buffer, sizeof(arrival.place));
		arrival.mailed_by = arrival.place.reserved;
		arrival.place.reserved = 0;
		receive_packet(worker, buffer + sizeof(arrival.place), got - sizeof(arrival.place), &arrival);
		merger_flush(&worker->merger);
		worker->last_session = NULL;
	}
}

/* The lease was lost: the kernel has taken the stream over, and what waits here may be what it has opened again. */
void receive_discard(struct worker *worker)
{
	for (unsigned socket = 0; socket < worker->engine->sockets; socket++) {
		int got;

		while ((got = receive_burst(worker, socket)) > 0)
			count(worker, DROP_PAUSED, got);
	}
	while (recv(worker->mailbox[0], worker->receive_buffers, RECEIVE_BUFFER, MSG_DONTWAIT) >= 0)
		;
}
