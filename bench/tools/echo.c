/* UDP round trips, one at a time.
 *
 *   echo serve PORT                             answers every datagram with itself
 *   echo serve-realtime PORT                    the same for control.c
 *   echo measure ADDRESS PORT SECONDS BYTES     prints one JSON object; times in microseconds
 *
 * Both sides block in recv(): what an application does that has other work. A busy one would save the wake-ups of two
 * processes, in the raw figure as in all others. Exit status 1 when nothing comes back.
 */
#include "common.h"

static void serve(const char *port)
{
	int s = udp_server(port);
	for (;;) {
		char data[LARGEST];
		struct sockaddr_in6 sender;
		socklen_t length = sizeof(sender);
		ssize_t n = recvfrom(s, data, sizeof(data), 0, (struct sockaddr *)&sender, &length);
		if (n >= 0)
			(void)!sendto(s, data, (size_t)n, 0, (struct sockaddr *)&sender, length);
	}
}

/* An answer to an earlier request is passed over. */
static int answered(int s, uint64_t number)
{
	char data[LARGEST];
	uint64_t found = 0;
	do {
		if (recv(s, data, sizeof(data), 0) < (ssize_t)sizeof(found))
			return 0;
		memcpy(&found, data, sizeof(found));
	} while (found != number);
	return 1;
}

static void measure(const char *address, const char *port, double seconds, size_t size)
{
	struct samples times = {0};
	struct timeval timeout = {.tv_sec = 1}; /* then a packet is lost */
	char request[LARGEST] = {0};
	uint64_t number = 0, lost = 0;
	int s = udp_client(address, port);

	if (size < sizeof(number) || size > sizeof(request))
		die("BYTES");
	if (setsockopt(s, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout)))
		die("timeout");
	for (int64_t end = now() + (int64_t)(seconds * SECOND); now() < end;) {
		number++;
		memcpy(request, &number, sizeof(number));
		int64_t began = now();
		if (send(s, request, size, 0) >= 0 && answered(s, number))
			keep(&times, now() - began);
		else
			lost++;
	}
	if (!times.count) {
		fprintf(stderr, "no answer from %s port %s: %llu requests lost\n", address, port, (unsigned long long)lost);
		exit(1);
	}
	sort(&times);
	printf("{\"p50_us\": %.3f, \"p99_us\": %.3f, \"min_us\": %.3f, \"count\": %zu, \"lost\": %llu}\n",
	       percentile(&times, 0.50), percentile(&times, 0.99), percentile(&times, 0), times.count,
	       (unsigned long long)lost);
}

int main(int argc, char **argv)
{
	if (argc == 3 && !strcmp(argv[1], "serve"))
		serve(argv[2]);
	if (argc == 3 && !strcmp(argv[1], "serve-realtime")) {
		run_realtime();
		serve(argv[2]);
	}
	if (argc != 6 || strcmp(argv[1], "measure"))
		die("usage: see the top of echo.c");
	measure(argv[2], argv[3], atof(argv[4]), (size_t)atoi(argv[5]));
	return 0;
}
