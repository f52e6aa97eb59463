/* TCP streams whose every byte is checked.
 *
 *   stream receive PORT COUNT                    takes COUNT connections, all at once, and prints "ready"
 *   stream send ADDRESS PORT BYTES SEED [MODE]   MODE: plain (default), switching
 *
 * The content follows from the seed, so the receiver knows it and says where the first difference is. The sender writes
 * in random sizes, from one byte to 256 KiB. In mode switching it falls silent now and then, and sends single bytes that wait for
 * each other, so that the flow leaves the lane for elephants and comes back to it.
 *
 * Each prints one JSON object at the end; exit status 0 when every byte has arrived, and nothing else.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define CHUNK (256 * 1024)
#define MAX_STREAMS 64
#define SILENCE_MS 150 /* longer than BULK_HOLD of bpf/split.h */
#define TIMEOUT_S 60

struct greeting {
	uint64_t seed, bytes;
};

static void die(const char *what)
{
	fprintf(stderr, "stream: %s: %s\n", what, strerror(errno));
	exit(1);
}

static uint64_t draw(uint64_t *state) /* xorshift64* */
{
	*state ^= *state >> 12;
	*state ^= *state << 25;
	*state ^= *state >> 27;
	return *state * 0x2545f4914f6cdd1dull;
}

/* The content from ``at`` on, in whole words from the beginning. */
struct content {
	uint64_t state, word;
	unsigned used; /* bytes of word */
};

static struct content content_of(uint64_t seed)
{
	return (struct content){.state = seed * 2 + 1, .used = 8};
}

static void next_bytes(struct content *content, uint8_t *out, size_t length)
{
	size_t at = 0;

	while (at < length && content->used < 8)
		out[at++] = (uint8_t)(content->word >> 8 * content->used++);
	for (; at + 8 <= length; at += 8) {
		uint64_t word = draw(&content->state);

		memcpy(out + at, &word, 8);
	}
	if (at < length) {
		content->word = draw(&content->state);
		content->used = 0;
		while (at < length)
			out[at++] = (uint8_t)(content->word >> 8 * content->used++);
	}
}

static void set_timeouts(int s)
{
	struct timeval timeout = {.tv_sec = TIMEOUT_S};

	setsockopt(s, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout));
	setsockopt(s, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof(timeout));
}

struct incoming {
	int s;
	struct greeting greeting;
	size_t greeted;
	struct content content;
	uint64_t got;
	int done;
};

static void finish(struct incoming *in, const char *verdict, uint64_t at)
{
	printf("{\"seed\": %llu, \"bytes\": %llu, \"got\": %llu, \"verdict\": \"%s\", \"at\": %llu}\n",
	       (unsigned long long)in->greeting.seed, (unsigned long long)in->greeting.bytes, (unsigned long long)in->got, verdict,
	       (unsigned long long)at);
	fflush(stdout);
	if (!strcmp(verdict, "identical"))
		(void)!write(in->s, "1", 1);
	in->done = strcmp(verdict, "identical") ? -1 : 1;
}

static void take(struct incoming *in)
{
	static uint8_t data[CHUNK], expected[CHUNK];
	ssize_t got;

	if (in->greeted < sizeof(in->greeting)) {
		got = read(in->s, (uint8_t *)&in->greeting + in->greeted, sizeof(in->greeting) - in->greeted);
		if (got <= 0) {
			finish(in, "no greeting", 0);
			return;
		}
		in->greeted += (size_t)got;
		in->content = content_of(in->greeting.seed);
		return;
	}
	got = read(in->s, data, sizeof(data));
	if (got <= 0) {
		finish(in, "ended early", in->got);
		return;
	}
	if (in->got + (uint64_t)got > in->greeting.bytes) {
		finish(in, "too many bytes", in->got);
		return;
	}
	next_bytes(&in->content, expected, (size_t)got);
	if (memcmp(data, expected, (size_t)got)) {
		size_t at = 0;

		while (data[at] == expected[at])
			at++;
		finish(in, "different", in->got + at);
		return;
	}
	in->got += (uint64_t)got;
	if (in->got == in->greeting.bytes)
		finish(in, "identical", in->got);
}

static int receive(int port, int count)
{
	struct sockaddr_in6 address = {.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port)};
	static struct incoming streams[MAX_STREAMS];
	struct pollfd fds[MAX_STREAMS + 1];
	int one = 1, zero = 0, accepted = 0, ended = 0, wrong = 0;
	int s = socket(AF_INET6, SOCK_STREAM, 0);

	setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	setsockopt(s, IPPROTO_IPV6, IPV6_V6ONLY, &zero, sizeof(zero));
	if (s < 0 || bind(s, (struct sockaddr *)&address, sizeof(address)) || listen(s, MAX_STREAMS))
		die("port");
	printf("ready\n");
	fflush(stdout);
	while (ended < count) {
		fds[0] = (struct pollfd){.fd = accepted < count ? s : -1, .events = POLLIN};
		for (int i = 0; i < accepted; i++)
			fds[i + 1] = (struct pollfd){.fd = streams[i].done ? -1 : streams[i].s, .events = POLLIN};
		if (poll(fds, (nfds_t)accepted + 1, TIMEOUT_S * 1000) <= 0) {
			errno = ETIMEDOUT;
			die("nothing comes any more");
		}
		for (int i = 0, now = accepted; i < now; i++) {
			if (!fds[i + 1].revents)
				continue;
			take(&streams[i]);
			if (streams[i].done) {
				ended++;
				wrong += streams[i].done < 0;
			}
		}
		if (fds[0].revents) {
			streams[accepted].s = accept(s, NULL, NULL);
			if (streams[accepted].s < 0)
				die("accept");
			accepted++;
		}
	}
	return wrong ? 1 : 0;
}

static void send_all(int s, const uint8_t *data, size_t length)
{
	while (length) {
		ssize_t sent = send(s, data, length, MSG_NOSIGNAL);

		if (sent < 0)
			die("send");
		data += sent;
		length -= (size_t)sent;
	}
}

static void wait_until_acknowledged(int s)
{
	int left = 1;

	for (int tries = 0; left && tries < TIMEOUT_S * 1000; tries++) {
		if (ioctl(s, SIOCOUTQ, &left))
			die("SIOCOUTQ");
		if (left)
			poll(NULL, 0, 1);
	}
}

static size_t some_size(uint64_t *random, uint64_t left)
{
	static const size_t bounds[] = {8, 200, 1500, 20000, CHUNK, CHUNK};
	size_t size = 1 + draw(random) % bounds[draw(random) % 6];

	return size < left ? size : (size_t)left;
}

static int send_stream(const char *host, int port, uint64_t bytes, uint64_t seed, int switching)
{
	static uint8_t data[CHUNK];
	struct greeting greeting = {seed, bytes};
	struct content content = content_of(seed);
	struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port)};
	struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
	int is_v6 = inet_pton(AF_INET6, host, &v6.sin6_addr) == 1, one = 1, switches = 0;
	int s = socket(is_v6 ? AF_INET6 : AF_INET, SOCK_STREAM, 0);
	uint64_t random = seed ^ 0x5bd1e995, left = bytes, next_switch = CHUNK;
	struct timespec began, ended;
	char answer;

	if (!is_v6 && inet_pton(AF_INET, host, &v4.sin_addr) != 1)
		die("address");
	set_timeouts(s);
	if (setsockopt(s, IPPROTO_TCP, TCP_CONGESTION, "cubic", 5) ||
	    connect(s, is_v6 ? (struct sockaddr *)&v6 : (struct sockaddr *)&v4, is_v6 ? sizeof(v6) : sizeof(v4)))
		die("connect");
	clock_gettime(CLOCK_MONOTONIC, &began);
	send_all(s, (uint8_t *)&greeting, sizeof(greeting));
	while (left) {
		size_t size = some_size(&random, left);

		next_bytes(&content, data, size);
		send_all(s, data, size);
		left -= size;
		if (switching && bytes - left > next_switch) {
			setsockopt(s, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
			if (draw(&random) % 2)
				wait_until_acknowledged(s);
			poll(NULL, 0, (int)(draw(&random) % 2 * SILENCE_MS));
			for (int i = 0; i < 20 && left; i++, left--) {
				next_bytes(&content, data, 1);
				send_all(s, data, 1);
				if (i % 2)
					wait_until_acknowledged(s);
			}
			next_switch = bytes - left + draw(&random) % (4 << 20);
			switches++;
		}
	}
	shutdown(s, SHUT_WR);
	if (recv(s, &answer, 1, 0) != 1)
		die("the receiver's verdict");
	clock_gettime(CLOCK_MONOTONIC, &ended);
	printf("{\"bytes\": %llu, \"seconds\": %.3f, \"switches\": %d}\n", (unsigned long long)bytes,
	       (double)(ended.tv_sec - began.tv_sec) + (double)(ended.tv_nsec - began.tv_nsec) / 1e9, switches);
	return 0;
}

int main(int argc, char **argv)
{
	if (argc == 4 && !strcmp(argv[1], "receive") && atoi(argv[3]) <= MAX_STREAMS)
		return receive(atoi(argv[2]), atoi(argv[3]));
	if ((argc == 6 || argc == 7) && !strcmp(argv[1], "send"))
		return send_stream(argv[2], atoi(argv[3]), strtoull(argv[4], NULL, 10), strtoull(argv[5], NULL, 10),
				   argc == 7 && !strcmp(argv[6], "switching"));
	fprintf(stderr, "stream: see the comment in its source\n");
	return 1;
}
