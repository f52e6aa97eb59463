/* A bad link between two UDP endpoints that each know only the relay: it loses datagrams, and lets some be overtaken.
 *
 *   relay PORT ADDRESS_A ADDRESS_B PEER_PORT LOSS REORDER SEED        LOSS and REORDER per mille; IPv4 or IPv6
 *
 * What comes from A goes to B and the other way. A datagram that is to be overtaken waits until 1 to 16 later ones have
 * passed, or 5 ms. Prints "ready", and one JSON object at SIGTERM. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define HELD 64
#define WAIT_MS 5

struct held {
	uint8_t data[65536];
	size_t length;
	int towards, overtakers; /* left */
};

static volatile sig_atomic_t stopped;
static uint64_t state;
static struct sockaddr_in6 sides[2];
static struct held held[HELD];
static unsigned long long passed, lost, overtaken;

static uint64_t draw(void)
{
	state ^= state >> 12;
	state ^= state << 25;
	state ^= state >> 27;
	return state * 0x2545f4914f6cdd1dull >> 32;
}

static void on_signal(int number)
{
	(void)number;
	stopped = 1;
}

static void read_side(struct sockaddr_in6 *side, const char *host, int port)
{
	char mapped[80];

	snprintf(mapped, sizeof(mapped), strchr(host, ':') ? "%s" : "::ffff:%s", host);
	*side = (struct sockaddr_in6){.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port)};
	if (inet_pton(AF_INET6, mapped, &side->sin6_addr) != 1) {
		fprintf(stderr, "relay: %s is no address\n", host);
		exit(1);
	}
}

static void pass(int s, int towards, const uint8_t *data, size_t length)
{
	sendto(s, data, length, 0, (struct sockaddr *)&sides[towards], sizeof(sides[0]));
	passed++;
}

static void let_go(int s, int all)
{
	for (int i = 0; i < HELD; i++) {
		if (held[i].length && (all || --held[i].overtakers <= 0)) {
			pass(s, held[i].towards, held[i].data, held[i].length);
			held[i].length = 0;
		}
	}
}

static int hold(int towards, const uint8_t *data, size_t length)
{
	for (int i = 0; i < HELD; i++) {
		if (!held[i].length) {
			memcpy(held[i].data, data, length);
			held[i].length = length;
			held[i].towards = towards;
			held[i].overtakers = 1 + (int)(draw() % 16);
			overtaken++;
			return 1;
		}
	}
	return 0;
}

int main(int argc, char **argv)
{
	struct sockaddr_in6 address = {.sin6_family = AF_INET6};
	static uint8_t data[65536];
	int s = socket(AF_INET6, SOCK_DGRAM, 0), zero = 0, size = 8 << 20;
	uint64_t loss, reorder;

	if (argc != 8) {
		fprintf(stderr, "relay: see the comment in its source\n");
		return 1;
	}
	address.sin6_port = htons((uint16_t)atoi(argv[1]));
	read_side(&sides[0], argv[2], atoi(argv[4]));
	read_side(&sides[1], argv[3], atoi(argv[4]));
	loss = strtoull(argv[5], NULL, 10);
	reorder = strtoull(argv[6], NULL, 10);
	state = strtoull(argv[7], NULL, 10) * 2 + 1;
	signal(SIGTERM, on_signal);
	setsockopt(s, IPPROTO_IPV6, IPV6_V6ONLY, &zero, sizeof(zero));
	setsockopt(s, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size));
	if (bind(s, (struct sockaddr *)&address, sizeof(address))) {
		perror("relay");
		return 1;
	}
	printf("ready\n");
	fflush(stdout);
	while (!stopped) {
		struct pollfd readable = {.fd = s, .events = POLLIN};
		struct sockaddr_in6 from;
		socklen_t length = sizeof(from);
		ssize_t got;
		int towards;

		if (poll(&readable, 1, WAIT_MS) <= 0) {
			let_go(s, 1);
			continue;
		}
		got = recvfrom(s, data, sizeof(data), 0, (struct sockaddr *)&from, &length);
		if (got <= 0)
			continue;
		if (!memcmp(&from.sin6_addr, &sides[0].sin6_addr, 16))
			towards = 1;
		else if (!memcmp(&from.sin6_addr, &sides[1].sin6_addr, 16))
			towards = 0;
		else
			continue;
		if (draw() % 1000 < loss) {
			lost++;
			continue;
		}
		if (draw() % 1000 < reorder && hold(towards, data, (size_t)got))
			continue;
		pass(s, towards, data, (size_t)got);
		let_go(s, 0);
	}
	printf("{\"passed\": %llu, \"lost\": %llu, \"overtaken\": %llu}\n", passed, lost, overtaken);
	return 0;
}
