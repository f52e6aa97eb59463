/* SPDX-License-Identifier: Apache-2.0
 *
 * The control thread: the connection to the Ganglion, the lease on the bulk lane, housekeeping.
 */
#include <errno.h>
#include <fcntl.h>
#include <openssl/crypto.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/uio.h>
#include <unistd.h>

#include "engine.h"

#ifndef OMNI_NATIVE_BUILD
#define OMNI_NATIVE_BUILD "unknown"
#endif

#define HOUSEKEEPING UINT64_C(2000000000) /* ns between two looks at the age of entries */
#define ANSWER_WAIT_MS 1000
#define RESUME_DELAY UINT64_C(2000000) /* ns */

static struct engine *running; /* for the signal handler */

void say(struct worker *worker, uint16_t type, const void *body, size_t length, const void *frame, size_t frame_length)
{
	struct message_header header = {.version = PROTOCOL_VERSION, .type = type};
	struct iovec pieces[3] = {
		{&header, sizeof(header)},
		{(void *)(uintptr_t)body, length},
		{(void *)(uintptr_t)frame, frame_length},
	};
	struct msghdr message = {.msg_iov = pieces, .msg_iovlen = 3};
	int ganglion = worker->engine->ganglion;

	if (ganglion < 0 || sendmsg(ganglion, &message, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
		count(worker, NATIVE_EVENTS_LOST, 1);
}

static void hello(struct engine *engine, const uint8_t *message, size_t length, struct answer *answer)
{
	struct hello request = {0};
	struct hello_answer body = {
		.version = PROTOCOL_VERSION,
		.mode = engine->mode,
		.workers = engine->workers,
		.pid = (uint32_t)getpid(),
		.build = OMNI_NATIVE_BUILD,
	};

	if (length == sizeof(request))
		memcpy(&request, message, sizeof(request));
	answer->reply.error = request.version == PROTOCOL_VERSION ? 0 : EPROTO;
	memcpy(answer->body, &body, sizeof(body));
	answer->length = sizeof(body);
}

/* 0, or -1 when the Ganglion does not read its answer. */
static int send_answer(int ganglion, struct answer *answer)
{
	struct iovec pieces[2] = {
		{&answer->header, sizeof(answer->header) + sizeof(answer->reply)},
		{answer->body, answer->length},
	};
	struct msghdr message = {.msg_iov = pieces, .msg_iovlen = 2};
	struct pollfd full = {.fd = ganglion, .events = POLLOUT};

	while (sendmsg(ganglion, &message, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
		if (errno != EAGAIN || poll(&full, 1, ANSWER_WAIT_MS) <= 0)
			return -1;
	return 0;
}

/* --- the connection --------------------------------------------------------------------------------------------- */

struct connection {
	int fd; /* -1: none */
	int greeted;
};

static void hang_up(struct engine *engine, struct connection *connection)
{
	if (connection->fd < 0)
		return;
	engine->ganglion = -1;
	groups_forget(engine); /* what is watched is for it alone */
	engine_synchronize(engine); /* nobody says anything to it any more */
	close(connection->fd);
	*connection = (struct connection){-1, 0};
}

static void take_call(struct engine *engine, struct connection *connection)
{
	int fd = accept4(engine->listener, NULL, NULL, SOCK_CLOEXEC);

	if (fd < 0)
		return;
	hang_up(engine, connection);
	connection->fd = fd;
}

/* 0, or -1 when the connection is over. */
static int read_message(struct engine *engine, struct connection *connection)
{
	static uint8_t buffer[MESSAGE_MAX];
	static struct answer answer;
	struct message_header header;
	ssize_t got = recv(connection->fd, buffer, sizeof(buffer), MSG_DONTWAIT);
	int result = 0;

	if (got < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -1;
	if (got == 0 || (size_t)got < sizeof(header))
		return -1;
	engine->threads[engine->workers].now = monotonic_ns();
	memcpy(&header, buffer, sizeof(header));
	if (header.type >= MESSAGE_SEAL && connection->greeted) {
		request_one_way(engine, header.type, buffer + sizeof(header), got - sizeof(header));
		return 0;
	}
	answer.header = (struct message_header){PROTOCOL_VERSION, REPLY | header.type, header.serial};
	answer.reply = (struct reply){0};
	answer.length = 0;
	if (header.type == MESSAGE_HELLO)
		hello(engine, buffer + sizeof(header), got - sizeof(header), &answer);
	else if (!connection->greeted || header.version != PROTOCOL_VERSION)
		answer.reply.error = EPROTO;
	else
		answer.reply.error = request_carry_out(engine, header.type, buffer + sizeof(header), got - sizeof(header), &answer);
	OPENSSL_cleanse(buffer, got);
	if (send_answer(connection->fd, &answer) || answer.reply.error == EPROTO)
		result = -1;
	if (!result && header.type == MESSAGE_HELLO && !connection->greeted) {
		connection->greeted = 1;
		engine->ganglion = connection->fd;
		dup3(engine->null, STDERR_FILENO, O_CLOEXEC); /* whoever reads it may go away */
	}
	return result;
}

/* --- the lease ---------------------------------------------------------------------------------------------------- */

/* Were we stopped for longer than the lease, the kernel has opened the stream meanwhile. What waits at the sockets is thrown
 * away before we take it back: it may have been opened there already. */
static void renew_lease(struct engine *engine)
{
	uint64_t now = monotonic_ns(), alive = __atomic_load_n(&engine->lane->alive, __ATOMIC_RELAXED);

	if (alive && now - alive > LANE_LEASE) {
		uint64_t lost = ++engine->lost_leases;

		for (unsigned i = 0; i < engine->workers; i++) {
			worker_wake(&engine->threads[i]);
			while (engine->threads[i].drained != lost && !engine->failed)
				sched_yield();
		}
		/* The stream comes to us again; a program that is just opening a packet of it will soon have done. */
		engine->resume = monotonic_ns() + RESUME_DELAY;
	}
	__atomic_store_n(&engine->lane->alive, monotonic_ns(), __ATOMIC_RELEASE);
}

static void on_signal(int number)
{
	(void)number;
	running->stopped = 1;
}

int control_run(struct engine *engine)
{
	struct worker *control = &engine->threads[engine->workers];
	struct connection connection = {-1, 0};
	struct sigaction action = {.sa_handler = on_signal};
	uint64_t housekeeping = 0;

	running = engine;
	sigaction(SIGTERM, &action, NULL);
	while (!engine->stopped && !engine->failed) {
		struct pollfd fds[3] = {
			{.fd = engine->listener, .events = POLLIN},
			{.fd = control->mailbox[0], .events = POLLIN},
			{.fd = connection.fd, .events = POLLIN},
		};
		uint64_t now;

		if (engine->lane)
			renew_lease(engine);
		if (poll(fds, 3, (int)((engine->lane ? LANE_RENEW : HOUSEKEEPING) / 1000000)) < 0)
			continue;
		if (fds[2].revents && read_message(engine, &connection))
			hang_up(engine, &connection);
		if (fds[0].revents)
			take_call(engine, &connection);
		now = monotonic_ns();
		if (engine->mode == MODE_ALONE && now - housekeeping >= HOUSEKEEPING) {
			housekeeping = now;
			fdb_age(engine, now);
		}
	}
	if (engine->lane)
		__atomic_store_n(&engine->lane->alive, 0, __ATOMIC_RELEASE);
	engine->forwarding = 0;
	sessions_wipe(engine);
	return engine->failed ? 1 : 0;
}
