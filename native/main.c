/* SPDX-License-Identifier: Apache-2.0
 *
 * omni-native: the data plane in userspace. Started by a Ganglion with descriptors that it has made (README.md).
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "engine.h"
#include "selftest.h"

#ifndef OMNI_NATIVE_BUILD
#define OMNI_NATIVE_BUILD "unknown"
#endif

static struct engine engine;

static int complain(const char *what, const char *problem)
{
	fprintf(stderr, "omni-native: %s: %s\n", what, problem);
	return 1;
}

/* Comma separated descriptors. Returns how many, -1 when the text is no such list or longer than room. */
static int read_list(const char *text, int *list, int room)
{
	int many = 0;

	while (*text) {
		char *end;
		long number = strtol(text, &end, 10);

		if (end == text || number < 0 || number > 1 << 20 || (*end && *end != ',') || many == room)
			return -1;
		list[many++] = (int)number;
		text = *end ? end + 1 : end;
	}
	return many;
}

static int read_number(const char *text, int least, int most)
{
	int number;

	return read_list(text, &number, 1) == 1 && number >= least && number <= most ? number : -1;
}

struct options {
	int listener, workers, fdb, streams, lane, merge, keep_root, mode;
	int taps[MAX_WORKERS], sockets[MAX_WORKERS * MAX_SOCKETS];
	int tap_count, socket_count;
};

static int parse(int argc, char **argv, struct options *options)
{
	static const struct option known[] = {
		{"name", required_argument, NULL, 'n'},	   {"mode", required_argument, NULL, 'm'},
		{"listen", required_argument, NULL, 'l'},  {"workers", required_argument, NULL, 'w'},
		{"taps", required_argument, NULL, 't'},	   {"sockets", required_argument, NULL, 's'},
		{"fdb", required_argument, NULL, 'f'},	   {"streams", required_argument, NULL, 'r'},
		{"lane", required_argument, NULL, 'a'},	   {"merge", required_argument, NULL, 'g'},
		{"keep-root", no_argument, NULL, 'k'},	   {"version", no_argument, NULL, 'v'},
		{"selftest", no_argument, NULL, 'x'},	   {NULL, 0, NULL, 0},
	};
	int letter;

	*options = (struct options){.listener = -1, .fdb = -1, .streams = -1, .lane = -1, .merge = 1};
	while ((letter = getopt_long(argc, argv, "", known, NULL)) != -1) {
		switch (letter) {
		case 'n':
			engine.name = optarg;
			break;
		case 'm':
			options->mode = !strcmp(optarg, "alone") ? MODE_ALONE : !strcmp(optarg, "bulk") ? MODE_BULK : 0;
			break;
		case 'l':
			options->listener = read_number(optarg, 0, 1 << 20);
			break;
		case 'w':
			options->workers = read_number(optarg, 1, MAX_WORKERS);
			break;
		case 't':
			options->tap_count = read_list(optarg, options->taps, MAX_WORKERS);
			break;
		case 's':
			options->socket_count = read_list(optarg, options->sockets, MAX_WORKERS * MAX_SOCKETS);
			break;
		case 'f':
			options->fdb = read_number(optarg, 0, 1 << 20);
			break;
		case 'r':
			options->streams = read_number(optarg, 0, 1 << 20);
			break;
		case 'a':
			options->lane = read_number(optarg, 0, 1 << 20);
			break;
		case 'g':
			options->merge = read_number(optarg, 0, 1);
			break;
		case 'k':
			options->keep_root = 1;
			break;
		case 'v':
			printf("%s\n", OMNI_NATIVE_BUILD);
			exit(0);
		case 'x':
			exit(selftest());
		default:
			return complain("command line", "see README.md of the directory native");
		}
	}
	if (!options->mode)
		return complain("--mode", "alone or bulk");
	if (options->listener < 0)
		return complain("--listen", "the descriptor of a listening socket is missing");
	if (options->workers < 1)
		return complain("--workers", "1 to 16");
	if (options->tap_count != options->workers)
		return complain("--taps", "one queue for each worker");
	if (options->socket_count < options->workers || options->socket_count % options->workers ||
	    options->socket_count / options->workers > MAX_SOCKETS)
		return complain("--sockets", "as many for each worker, at most 16");
	if (options->merge < 0)
		return complain("--merge", "0 or 1");
	if (options->mode == MODE_BULK && (options->fdb < 0 || options->streams < 0 || options->lane < 0))
		return complain("--mode bulk", "needs --fdb, --streams and --lane");
	return 0;
}

static void *map(int fd, size_t length, int protection)
{
	void *at = mmap(NULL, length, protection, MAP_SHARED, fd, 0);

	return at == MAP_FAILED ? NULL : at;
}

static size_t whole_pages(size_t length)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);

	return (length + page - 1) / page * page;
}

static void *buffer(size_t length)
{
	void *at = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return at == MAP_FAILED ? NULL : at;
}

static int prepare_thread(struct worker *worker, const struct options *options)
{
	unsigned lane = worker->index < engine.workers ? worker->index : 0; /* the control thread sends on worker 0's */
	int size = 4 << 20;

	worker->engine = &engine;
	worker->tap = options->taps[lane];
	for (unsigned i = 0; i < engine.sockets; i++) {
		int socket = options->sockets[lane * engine.sockets + i];

		worker->sockets[i] = socket;
		/* Refused before Linux 5.0: then datagrams come one by one. */
		if (worker->index < engine.workers && setsockopt(socket, IPPROTO_UDP, 104 /* UDP_GRO */, &engine.merge, sizeof(int)))
			engine.merge = 0;
	}
	worker->batch.arena = buffer(BATCH_BYTES);
	worker->tap_buffer = buffer(TAP_BUFFER);
	worker->receive_buffers = buffer((size_t)RECEIVE_BATCH * RECEIVE_STRIDE);
	if (!worker->batch.arena || !worker->tap_buffer || !worker->receive_buffers ||
	    socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, worker->mailbox))
		return -1;
	setsockopt(worker->mailbox[1], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	receive_init(worker);
	return 0;
}

static int prepare(const struct options *options)
{
	size_t sessions = sizeof(struct session) * MAX_SESSIONS;

	engine.mode = (uint32_t)options->mode;
	engine.stream = options->mode == MODE_BULK ? 1 : 0;
	engine.workers = (unsigned)options->workers;
	engine.sockets = (unsigned)(options->socket_count / options->workers);
	engine.listener = options->listener;
	engine.merge = options->merge;
	engine.ganglion = -1;
	engine.null = open("/dev/null", O_RDWR | O_CLOEXEC);
	engine.sessions = buffer(sessions);
	if (!engine.sessions || fdb_init(&engine.fdb, options->mode == MODE_BULK ? options->fdb : -1))
		return complain("memory", strerror(errno));
	(void)!mlock(engine.sessions, sessions); /* keys stay out of swap where the limit allows it */
	if (options->mode == MODE_BULK) {
		engine.lane_streams = map(options->streams,
					  whole_pages(sizeof(struct lane_stream) * LANE_STREAMS * MAX_SESSIONS),
					  PROT_READ | PROT_WRITE);
		engine.lane = map(options->lane, whole_pages(sizeof(struct lane_state)), PROT_READ | PROT_WRITE);
		if (!engine.lane_streams || !engine.lane)
			return complain("BPF maps", strerror(errno));
	}
	for (unsigned i = 0; i <= engine.workers; i++) {
		engine.threads[i].index = i;
		if (prepare_thread(&engine.threads[i], options))
			return complain("worker", strerror(errno));
	}
	return 0;
}

int main(int argc, char **argv)
{
	struct options options;

	if (parse(argc, argv, &options))
		return 1;
	signal(SIGPIPE, SIG_IGN);
	if (listen(options.listener, 8)) /* again: from now on SO_PEERCRED of whoever connects names this process */
		return complain("--listen", strerror(errno));
	if (prepare(&options) || privileges_drop(&engine, options.keep_root))
		return 1;
	for (unsigned i = 0; i < engine.workers; i++)
		if (worker_start(&engine.threads[i]))
			return complain("worker", strerror(errno));
	if (privileges_filter(&engine))
		return 1;
	return control_run(&engine);
}
