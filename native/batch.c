/* SPDX-License-Identifier: Apache-2.0 */
#include "batch.h"

#include <errno.h>
#include <netinet/udp.h>
#include <poll.h>
#include <string.h>

#include "engine.h"

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif
#ifndef SOL_UDP
#define SOL_UDP 17
#endif

#define MESSAGES 64	 /* in one system call */
#define FULL_WAIT_MS 20 /* for a full socket, once in a flush; then packets are dropped */

uint8_t *batch_room(struct worker *worker, size_t length)
{
	struct batch *batch = &worker->batch;

	if (batch->used + length > BATCH_BYTES || batch->count == BATCH_RUNS)
		batch_flush(worker);
	return batch->arena + batch->used;
}

void batch_add(struct worker *worker, struct path *path, size_t length)
{
	struct batch *batch = &worker->batch;
	struct run *run = batch->count ? &batch->runs[batch->count - 1] : NULL;

	if (run && !run->closed && run->path == path && length <= run->packet && run->packets < RUN_PACKETS &&
	    run->bytes + length <= RUN_BYTES) {
		run->bytes += length;
		run->packets++;
		run->closed = length < run->packet;
	} else {
		batch->runs[batch->count++] =
			(struct run){.path = path, .at = batch->used, .bytes = length, .packet = length, .packets = 1};
	}
	batch->used += length;
}

struct outgoing {
	struct mmsghdr headers[MESSAGES];
	struct iovec pieces[MESSAGES];
	union {
		struct cmsghdr header; /* for its alignment */
		uint8_t bytes[CMSG_SPACE(sizeof(uint16_t))];
	} controls[MESSAGES];
	unsigned packets[MESSAGES];
	unsigned count;
	unsigned socket;
	int waited; /* in vain: a socket that stays full must not hold up the worker, nor who waits for it */
};

/* Sends all messages, in order. What the kernel refuses is dropped, but for runs that it cannot segment. */
static void send_messages(struct worker *worker, struct outgoing *out, struct run **runs)
{
	int socket = worker->sockets[out->socket];
	unsigned sent = 0;

	while (sent < out->count) {
		int done = sendmmsg(socket, out->headers + sent, out->count - sent, MSG_DONTWAIT | MSG_NOSIGNAL);

		count(worker, NATIVE_TX_CALLS, 1);
		if (done > 0) {
			sent += done;
			continue;
		}
		if (errno == EINTR)
			continue;
		if (errno == EAGAIN || errno == EWOULDBLOCK || errno == ENOBUFS) {
			struct pollfd full = {.fd = socket, .events = POLLOUT};

			if (!out->waited && poll(&full, 1, FULL_WAIT_MS) > 0)
				continue;
			out->waited = 1;
		}
		if (out->packets[sent] > 1 && (errno == EINVAL || errno == EIO || errno == EMSGSIZE || errno == EOPNOTSUPP)) {
			/* EINVAL: longer than the path MTU that the kernel knows. EIO: no checksum offload. Others: old kernels */
			struct run *run = runs[sent];
			uint8_t *at = out->pieces[sent].iov_base;
			size_t left = out->pieces[sent].iov_len;

			run->path->no_segmentation = 1;
			while (left) {
				size_t length = left < run->packet ? left : run->packet;

				if (sendto(socket, at, length, MSG_NOSIGNAL, (struct sockaddr *)&run->path->address,
					   run->path->address_length) < 0)
					count(worker, DROP_SEND_FAILED, 1);
				at += length;
				left -= length;
			}
		} else {
			count(worker, DROP_SEND_FAILED, out->packets[sent]);
		}
		sent++;
	}
	out->count = 0;
}

static void put_message(struct worker *worker, struct outgoing *out, struct run **runs, struct run *run, uint8_t *at,
			size_t bytes, unsigned packets)
{
	struct msghdr *header;

	if (out->count == MESSAGES || (out->count && out->socket != run->path->socket))
		send_messages(worker, out, runs);
	header = &out->headers[out->count].msg_hdr;
	out->socket = run->path->socket;
	out->pieces[out->count] = (struct iovec){at, bytes};
	*header = (struct msghdr){
		.msg_name = &run->path->address,
		.msg_namelen = run->path->address_length,
		.msg_iov = &out->pieces[out->count],
		.msg_iovlen = 1,
	};
	if (packets > 1) {
		struct cmsghdr *control = &out->controls[out->count].header;
		uint16_t size = (uint16_t)run->packet;

		memset(control, 0, sizeof(out->controls[0]));
		control->cmsg_level = SOL_UDP;
		control->cmsg_type = UDP_SEGMENT;
		control->cmsg_len = CMSG_LEN(sizeof(size));
		memcpy(CMSG_DATA(control), &size, sizeof(size));
		header->msg_control = control;
		header->msg_controllen = sizeof(out->controls[0]);
	}
	out->packets[out->count] = packets;
	runs[out->count++] = run;
}

void batch_flush(struct worker *worker)
{
	struct batch *batch = &worker->batch;
	struct outgoing out;
	struct run *runs[MESSAGES];

	out.count = 0;
	out.waited = 0;
	for (unsigned i = 0; i < batch->count; i++) {
		struct run *run = &batch->runs[i];
		uint8_t *at = batch->arena + run->at;

		if (run->packets > 1 && run->bytes > RUN_BYTES_MIN && !run->path->no_segmentation) {
			put_message(worker, &out, runs, run, at, run->bytes, run->packets);
			continue;
		}
		for (size_t done = 0; done < run->bytes; done += run->packet) {
			size_t left = run->bytes - done;

			put_message(worker, &out, runs, run, at + done, left < run->packet ? left : run->packet, 1);
		}
	}
	if (out.count)
		send_messages(worker, &out, runs);
	batch->count = 0;
	batch->used = 0;
}
