/* What the tools share: clock, sockets, errors, percentiles. Times are nanoseconds of CLOCK_MONOTONIC. */
#pragma once

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define SECOND 1000000000LL
#define MILLISECOND 1000000LL
#define MICROSECOND 1000LL
#define LARGEST 2048 /* bytes of UDP payload */

static inline void die(const char *what)
{
	fprintf(stderr, "%s: %s\n", what, errno ? strerror(errno) : "not possible");
	exit(1);
}

static inline int64_t now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * SECOND + t.tv_nsec;
}

static inline struct timespec timespec_of(int64_t nanoseconds)
{
	return (struct timespec){.tv_sec = nanoseconds / SECOND, .tv_nsec = nanoseconds % SECOND};
}

static inline void sleep_until(int64_t instant)
{
	struct timespec t = timespec_of(instant);
	while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL) == EINTR)
		;
}

/* The kernel may wake a sleeper up to 50 us late to save wake-ups; not this one. */
static inline void sleep_precisely(void)
{
	prctl(PR_SET_TIMERSLACK, 1);
}

/* As control loops run: woken before all ordinary processes. Returns 0 where this process may not. */
static inline int run_realtime(void)
{
	struct sched_param priority = {.sched_priority = 10};
	return sched_setscheduler(0, SCHED_FIFO, &priority) == 0;
}

/* On every address of the host, IPv4 and IPv6. */
static inline int udp_server(const char *port)
{
	struct sockaddr_in6 address = {.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)atoi(port))};
	int s = socket(AF_INET6, SOCK_DGRAM, 0), off = 0;
	if (s < 0 || setsockopt(s, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off)))
		die("socket");
	if (bind(s, (struct sockaddr *)&address, sizeof(address)))
		die("bind");
	return s;
}

static inline int udp_client(const char *host, const char *port)
{
	struct addrinfo hints = {.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV, .ai_socktype = SOCK_DGRAM}, *found;
	if (getaddrinfo(host, port, &hints, &found))
		die(host);
	int s = socket(found->ai_family, SOCK_DGRAM, 0);
	if (s < 0 || connect(s, found->ai_addr, found->ai_addrlen))
		die("connect");
	freeaddrinfo(found);
	return s;
}

/* 1 when the socket is readable before the timeout. */
static inline int readable(int s, int64_t timeout)
{
	struct pollfd p = {.fd = s, .events = POLLIN};
	struct timespec t = timespec_of(timeout);
	return ppoll(&p, 1, &t, NULL) == 1;
}

struct samples {
	int64_t *values;
	size_t count, room;
};

static inline void keep(struct samples *samples, int64_t value)
{
	if (samples->count == samples->room) {
		samples->room = samples->room ? 2 * samples->room : 65536;
		samples->values = realloc(samples->values, samples->room * sizeof(int64_t));
		if (!samples->values)
			die("memory");
	}
	samples->values[samples->count++] = value;
}

static inline int by_value(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
	return (x > y) - (x < y);
}

static inline void sort(struct samples *samples)
{
	qsort(samples->values, samples->count, sizeof(int64_t), by_value);
}

/* Nearest rank of sorted samples, in microseconds; there must be one. */
static inline double percentile(const struct samples *samples, double share)
{
	size_t rank = (size_t)(share * (double)samples->count);
	return (double)samples->values[rank < samples->count ? rank : samples->count - 1] / MICROSECOND;
}
