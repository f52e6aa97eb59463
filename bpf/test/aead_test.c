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
