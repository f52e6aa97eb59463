/* SPDX-License-Identifier: Apache-2.0
 *
 * Whatever may come from the network, from an authentic peer, or from the local port. The first byte says which; then chunks,
 * each with its length in front.
 *
 *   0  packets as they are                               nothing of it is ever accepted
 *   1  frames, which are sealed as the peer would        each that is an Ethernet frame is opened
 *   2  virtio_net_hdr and frame, as a TAP gives them
 */
#include "small_engine.h"

static void seal_as_peer(uint8_t *packet, size_t length, uint64_t sequence)
{
	static EVP_CIPHER_CTX *cipher;
	static const uint8_t key[KEY_SIZE] = {[0 ... KEY_SIZE - 1] = 2};

	if (!cipher)
		cipher = aead_new(key, 1);
	memmove(packet + WIRE_HEADER, packet, length);
	write_header(packet, SMALL_RECEIVE_ID, sequence, (unsigned)(sequence & 1));
	HOLDS(!aead_seal(cipher, packet, length));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct sockaddr_in6 from = {.sin6_family = AF_INET6, .sin6_port = 1234};
	struct arrival arrival = {.address = (const struct sockaddr_storage *)&from};
	struct worker *worker = small_worker();
	uint8_t *frames[256], *chunk, kind;
	size_t length;
	unsigned many = 0;
	uint64_t opened, expected = 0;

	if (!worker->engine)
		small_start();
	if (!size)
		return 0;
	kind = *data++ % 3;
	size--;
	memset(session_find(&small_engine, SMALL_RECEIVE_ID)->own_streams, 0, sizeof(struct lane_stream) * LANE_STREAMS);
	opened = worker->counters[NATIVE_RX_OPENED];
	while (many < 256 && small_chunk(&data, &size, &chunk, &length)) {
		frames[many++] = chunk;
		if (kind == 0) {
			receive_packet(worker, chunk, length, &arrival);
		} else if (kind == 1) {
			expected += length >= MIN_FRAME && length <= MAX_FRAME;
			seal_as_peer(chunk, length, many);
			receive_packet(worker, chunk, length + WIRE_OVERHEAD, &arrival);
		} else if (length >= sizeof(struct virtio_net_hdr)) {
			struct virtio_net_hdr vnet;

			memcpy(&vnet, chunk, sizeof(vnet));
			if (length >= sizeof(vnet) + MIN_FRAME)
				group_is_watched(worker, chunk + sizeof(vnet), length - sizeof(vnet));
			transmit_port_frame(worker, &vnet, chunk + sizeof(vnet), length - sizeof(vnet));
		}
	}
	merger_flush(&worker->merger);
	worker->last_session = NULL;
	batch_flush(worker);
	HOLDS(worker->counters[NATIVE_RX_OPENED] - opened == expected);
	while (many)
		free(frames[--many]);
	return 0;
}
