/* A control loop: every PERIOD a request, which has to be answered before the next one is due.
 *
 *   control ADDRESS PORT SECONDS BYTES PERIOD_US     prints one JSON object; times in microseconds
 *
 * The other side is `echo serve-realtime`. Both have real-time priority where they may, so that misses are those of the
 * way and not of a busy processor's queue of processes.
 *
 * A cycle is missed when its answer is not there one period after the instant that the schedule gives it; also when this
 * process woke up too late to ask at all. Exit status 1 when nothing comes back.
 */
#include "common.h"

struct loop {
	int socket;
	int64_t begin, period;
	int64_t *sent; /* by cycle; 0 when it was not */
	uint64_t cycles;
	struct samples times;
};

/* Takes answers until that of `cycle` or the deadline. Returns 1 when it came in time. */
static int wait_for(struct loop *loop, uint64_t cycle, int64_t deadline)
{
	for (;;) {
		char data[LARGEST];
		uint64_t number;
		int64_t left = deadline - now();
		if (!readable(loop->socket, left > 0 ? left : 0))
			return 0;
		if (recv(loop->socket, data, sizeof(data), 0) < (ssize_t)sizeof(number))
			continue;
		int64_t came = now();
		memcpy(&number, data, sizeof(number));
		if (number >= loop->cycles || !loop->sent[number])
			continue; /* of an earlier run */
		keep(&loop->times, came - loop->sent[number]);
		loop->sent[number] = 0;
		if (number == cycle)
			return came <= deadline;
	}
}

int main(int argc, char **argv)
{
	if (argc != 6)
		die("usage: see the top of control.c");
	struct loop loop = {.socket = udp_client(argv[1], argv[2]), .period = atoll(argv[5]) * MICROSECOND};
	size_t size = (size_t)atoi(argv[4]);
	char request[LARGEST] = {0};
	uint64_t missed = 0, unsent = 0;

	if (loop.period <= 0 || size < sizeof(uint64_t) || size > sizeof(request))
		die("BYTES or PERIOD_US");
	loop.cycles = (uint64_t)(atof(argv[3]) * SECOND / (double)loop.period);
	loop.sent = calloc(loop.cycles, sizeof(int64_t));
	if (!loop.cycles || !loop.sent)
		die("SECONDS");
	sleep_precisely();
	int realtime = run_realtime();
	loop.begin = now() + loop.period;
	for (uint64_t cycle = 0; cycle < loop.cycles; cycle++) {
		int64_t due = loop.begin + (int64_t)cycle * loop.period;
		sleep_until(due);
		if (now() >= due + loop.period) {
			missed++, unsent++;
			continue;
		}
		memcpy(request, &cycle, sizeof(cycle));
		loop.sent[cycle] = now();
		(void)!send(loop.socket, request, size, 0); /* refused by the kernel: as good as lost */
		missed += !wait_for(&loop, cycle, due + loop.period);
	}
	wait_for(&loop, loop.cycles, now() + 100 * MILLISECOND); /* late answers */
	if (!loop.times.count) {
		fprintf(stderr, "no answer from %s port %s in %llu cycles\n", argv[1], argv[2], (unsigned long long)loop.cycles);
		return 1;
	}
	sort(&loop.times);
	printf("{\"cycles\": %llu, \"missed\": %llu, \"unsent\": %llu, \"lost\": %llu, \"p50_us\": %.3f, \"p99_us\": %.3f, "
	       "\"max_us\": %.3f, \"realtime\": %d}\n",
	       (unsigned long long)loop.cycles, (unsigned long long)missed, (unsigned long long)unsent,
	       (unsigned long long)(loop.cycles - unsent - loop.times.count), percentile(&loop.times, 0.50),
	       percentile(&loop.times, 0.99), percentile(&loop.times, 1), realtime);
	return 0;
}
