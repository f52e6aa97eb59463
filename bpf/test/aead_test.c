/* SPDX-License-Identifier: Apache-2.0
 * Programs around aead.h for BPF_PROG_TEST_RUN. XDP_PASS: it returned 0; XDP_DROP: it did not. */
#include <linux/types.h>
#include <uapi/linux/bpf.h>

#include "aead.h"

struct aead_test {
	__u8 key[32];
	__u32 offset; /* of the header in the packet */
	__u32 more;   /* that the length is said to be longer than it is */
};

BPF_ARRAY(aead_test, struct aead_test, 1);

static __always_inline int run(struct xdp_md *ctx, const int open)
{
	void *data = (void *)(long)ctx->data, *data_end = (void *)(long)ctx->data_end, *header;
	int zero = 0, result;
	struct aead_test *test = aead_test.lookup(&zero);
	__u32 length;

	if (!test)
		return XDP_ABORTED;
	header = data + (test->offset & 63);
	if (header + AEAD_HEADER + AEAD_TAG > data_end)
		return XDP_ABORTED;
	length = data_end - header - AEAD_HEADER - AEAD_TAG + test->more;
	if (open)
		result = aead_open(test->key, *(__u64 *)(header + 16), header, length, data_end);
	else
		result = aead_seal(test->key, *(__u64 *)(header + 16), header, length, data_end);
	return result ? XDP_DROP : XDP_PASS;
}

int test_seal(struct xdp_md *ctx)
{
	return run(ctx, 0);
}

int test_open(struct xdp_md *ctx)
{
	return run(ctx, 1);
}

/* What a program costs that does nothing. */
int test_nothing(struct xdp_md *ctx)
{
	return XDP_PASS;
}

/* Packet: the block's number (4 bytes), 4 bytes, nonce (8 bytes), room for its key stream (64 bytes). */
int test_block(struct xdp_md *ctx)
{
	__u64 *packet = (void *)(long)ctx->data, *data_end = (void *)(long)ctx->data_end;
	struct aead_test *test;
	struct aead_work work;
	int zero = 0;

	test = aead_test.lookup(&zero);
	if (!test || packet + 10 > data_end)
		return XDP_ABORTED;
	work.key = test->key;
	work.nonce = packet[1];
	aead_chacha_start(&work);
	work.start[12] = *(__u32 *)packet;
	aead_chacha_block(&work);
	for (int i = 0; i < 8; i++)
		packet[2 + i] = work.stream[i];
	return XDP_PASS;
}

/* Packet: one-time key r, s (32 bytes), then blocks of 16 bytes; their tag is left where r was. */
int test_poly(struct xdp_md *ctx)
{
	__u64 *packet = (void *)(long)ctx->data, *data_end = (void *)(long)ctx->data_end, *block;
	struct aead_work work;

	if (packet + 4 > data_end)
		return XDP_ABORTED;
	for (int i = 0; i < 4; i++)
		work.stream[i] = packet[i];
	aead_poly_start(&work.poly, work.stream);
	block = packet + 4;
#pragma clang loop unroll(disable)
	for (int i = 0; i < SYNAPSE_MAX_FRAME / 16; i++) {
		if (block + 2 > data_end)
			break;
		aead_poly_add(&work, block[0], block[1]);
		block += 2;
	}
	aead_poly_finish(&work.poly, work.stream);
	packet[0] = work.stream[0];
	packet[1] = work.stream[1];
	return XDP_PASS;
}
