/* Sends packets as they are, as fast as the machine can.
 *
 *   packets INTERFACE FILE REPEAT
 *
 * FILE: packets one after the other, each behind its length (16 bits, host order). All of them, REPEAT times. Prints one
 * JSON object. */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#define BATCH 64
#define ROOM (96 << 10) /* bytes under way: fewer packets than a veth's ring takes, so that the sender waits, not drops */

static void die(const char *what)
{
	fprintf(stderr, "%s: %s\n", what, strerror(errno));
	exit(1);
}

static char *whole_file(const char *path, size_t *size)
{
	FILE *file = fopen(path, "rb");
	char *content;

	if (!file || fseek(file, 0, SEEK_END))
		die(path);
	*size = (size_t)ftell(file);
	rewind(file);
	content = malloc(*size);
	if (!content || fread(content, 1, *size, file) != *size)
		die(path);
	fclose(file);
	return content;
}

static double now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

int main(int argc, char **argv)
{
	if (argc != 4) {
		fprintf(stderr, "usage: see the top of packets.c\n");
		return 2;
	}
	size_t size;
	char *content = whole_file(argv[2], &size);
	struct sockaddr_ll place = {.sll_family = AF_PACKET, .sll_ifindex = (int)if_nametoindex(argv[1])};
	struct mmsghdr messages[BATCH] = {0};
	struct iovec parts[BATCH];
	int s = socket(AF_PACKET, SOCK_RAW, 0), room = ROOM;
	unsigned long sent = 0;

	if (s < 0 || !place.sll_ifindex || bind(s, (struct sockaddr *)&place, sizeof(place)))
		die(argv[1]);
	if (setsockopt(s, SOL_SOCKET, SO_SNDBUF, &room, sizeof(room)))
		die("send buffer");
	double begin = now();
	for (int turn = atoi(argv[3]); turn > 0; turn--) {
		for (size_t at = 0; at < size;) {
			unsigned count = 0, done = 0;
			for (; count < BATCH && at < size; count++) {
				uint16_t length;
				memcpy(&length, content + at, sizeof(length));
				parts[count] = (struct iovec){content + at + sizeof(length), length};
				messages[count].msg_hdr = (struct msghdr){.msg_iov = &parts[count], .msg_iovlen = 1};
				at += sizeof(length) + length;
			}
			while (done < count) {
				int n = sendmmsg(s, messages + done, count - done, 0);
				if (n < 0 && errno != ENOBUFS)
					die("send");
				done += n > 0 ? (unsigned)n : 0;
			}
			sent += count;
		}
	}
	printf("{\"sent\": %lu, \"seconds\": %.3f}\n", sent, now() - begin);
	return 0;
}
