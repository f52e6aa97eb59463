/* SPDX-License-Identifier: Apache-2.0
 *
 * The loop of one worker. What it reads or writes of the tables it does in an odd epoch; see engine_synchronize().
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

#include "engine.h"

enum source {
	FROM_TAP,
	FROM_MAILBOX,
	FROM_SOCKETS, /* + its index */
};

uint64_t monotonic_ns(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_nsec;
}

void worker_wake(struct worker *worker)
{
	send(worker->mailbox[1], "", 1, MSG_DONTWAIT | MSG_NOSIGNAL);
}

void mail(struct worker *worker, unsigned to, const struct place *place, const uint8_t *packet, size_t length)
{
	struct iovec pieces[2] = {
		{(void *)(uintptr_t)place, sizeof(*place)},
		{(void *)(uintptr_t)packet, length},
	};
	struct msghdr message = {.msg_iov = pieces, .msg_iovlen = 2};

	if (sendmsg(worker->engine->threads[to].mailbox[1], &message, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
		count(worker, DROP_NO_ROOM, 1);
}

/* Whether the stream is ours; when it has not been for a while, the control thread has everything thrown away. */
static int has_lease(struct worker *worker)
{
	struct engine *engine = worker->engine;
	uint64_t alive;

	if (!engine->lane)
		return 1;
	if (worker->drained != engine->lost_leases)
		return 0;
	alive = __atomic_load_n(&engine->lane->alive, __ATOMIC_RELAXED);
	if (worker->now >= alive + LANE_LEASE)
		return 0;
	if (worker->now > alive + LANE_RENEW) /* the control thread is late: it may have to wait for a processor */
		__atomic_compare_exchange_n(&engine->lane->alive, &alive, worker->now, 0, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
	return 1;
}

static void work(struct worker *worker, const struct epoll_event *events, int event_count)
{
	worker->now = monotonic_ns();
	if (!has_lease(worker)) {
		uint64_t lost = worker->engine->lost_leases;

		receive_discard(worker);
		worker->drained = lost;
		return;
	}
	while (worker->now < worker->engine->resume) /* a lease was lost: rare, and short */
		worker->now = monotonic_ns();
	for (int i = 0; i < event_count; i++) {
		uint32_t source = events[i].data.u32;

		if (source == FROM_TAP)
			transmit_from_tap(worker);
		else if (source == FROM_MAILBOX)
			receive_from_mailbox(worker);
		else
			receive_from_socket(worker, source - FROM_SOCKETS);
	}
	batch_flush(worker);
}

static void *run(void *argument)
{
	struct worker *worker = argument;
	struct epoll_event events[MAX_SOCKETS + 2];

	while (!worker->engine->failed) {
		int got = epoll_wait(worker->poller, events, MAX_SOCKETS + 2, -1);

		atomic_fetch_add(&worker->epoch, 1);
		if (got > 0)
			work(worker, events, got);
		atomic_fetch_add(&worker->epoch, 1);
	}
	worker_wake(&worker->engine->threads[worker->engine->workers]); /* the control thread ends the process */
	return NULL;
}

static int watch(struct worker *worker, int fd, uint32_t source)
{
	struct epoll_event event = {.events = EPOLLIN, .data.u32 = source};

	return epoll_ctl(worker->poller, EPOLL_CTL_ADD, fd, &event);
}

int worker_start(struct worker *worker)
{
	worker->poller = epoll_create1(EPOLL_CLOEXEC);
	if (worker->poller < 0 || watch(worker, worker->tap, FROM_TAP) || watch(worker, worker->mailbox[0], FROM_MAILBOX))
		return -1;
	for (unsigned i = 0; i < worker->engine->sockets; i++)
		if (watch(worker, worker->sockets[i], FROM_SOCKETS + i))
			return -1;
	errno = pthread_create(&worker->thread, NULL, run, worker);
	return errno ? -1 : 0;
}
