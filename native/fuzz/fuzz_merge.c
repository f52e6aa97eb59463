/* SPDX-License-Identifier: Apache-2.0
 *
 * The merger. Input, for each frame: flags (8 bits; bit 0: checksums are made right, which no mutation would find),
 * length (16 bits, little-endian), frame. See fuzz.h.
 */
#include "fuzz.h"

#include "merge.h"
#include "segment.h"

#define FRAMES_MAX 256

struct sample {
	uint8_t *frame;          /* what the merger gets, and changes */
	const uint8_t *original; /* what it was */
	size_t length;
	int emitted;
	/* of a plain TCP segment with at most one tag, else 0: */
	size_t network, transport, headers, end;
};

struct run {
	struct sample samples[FRAMES_MAX];
	int count, emitted;
};

/* Where the headers are, if it is a plain TCP segment. */
static void read_sample(struct sample *sample, const uint8_t *frame)
{
	size_t at = 14, length = sample->length, transport, end;
	uint32_t type;

	if (length < 34)
		return;
	type = big16(frame + 12);
	if (type == 0x8100 || type == 0x88a8) {
		type = big16(frame + 16);
		at = 18;
	}
	if (type == 0x0800 && length >= at + 20) {
		if (frame[at] != 0x45 || frame[at + 9] != 6 || big16(frame + at + 6) & 0xbfff)
			return;
		transport = at + 20;
		end = at + big16(frame + at + 2);
	} else if (type == 0x86dd && length >= at + 40) {
		if (frame[at] >> 4 != 6 || frame[at + 6] != 6)
			return;
		transport = at + 40;
		end = transport + big16(frame + at + 4);
	} else {
		return;
	}
	if (end > length || end < transport + 20 || frame[transport + 12] < 0x50 ||
	    transport + (size_t)(frame[transport + 12] >> 4) * 4 > end)
		return;
	sample->network = at;
	sample->transport = transport;
	sample->headers = transport + (size_t)(frame[transport + 12] >> 4) * 4;
	sample->end = end;
}

static void put_checksum(uint8_t *at, uint32_t sum)
{
	sum = 0xffff - sum;
	at[0] = (uint8_t)(sum >> 8);
	at[1] = (uint8_t)sum;
}

static void make_right(const struct sample *sample, uint8_t *frame)
{
	uint8_t *ip = frame + sample->network, *tcp = frame + sample->transport;

	if (!sample->transport)
		return;
	if (ip[0] >> 4 == 4) {
		memset(ip + 10, 0, 2);
		put_checksum(ip + 10, plain_sum(ip, 20, 0));
	}
	memset(tcp + 16, 0, 2);
	put_checksum(tcp + 16, transport_sum(ip, sample->transport - sample->network, sample->end - sample->transport));
}

static int is_right(const struct sample *sample)
{
	const uint8_t *ip = sample->original + sample->network;
	size_t header = sample->transport - sample->network;

	if (!sample->transport || (ip[0] >> 4 == 4 && plain_sum(ip, 20, 0) != 0xffff))
		return 0;
	return transport_sum(ip, header, sample->end - sample->transport) == 0xffff;
}

static int same_flow(const struct sample *a, const struct sample *b)
{
	const uint8_t *x = a->original + a->network, *y = b->original + b->network;
	size_t from = x[0] >> 4 == 4 ? 12 : 8;

	/* addresses, ports: in a plain segment they lie next to each other */
	return x[0] >> 4 == y[0] >> 4 && !memcmp(x + from, y + from, a->transport - a->network - from + 4);
}

static int is_zero(uint32_t sum)
{
	return !sum || sum == 0xffff;
}

/* Two frames are the same, but that a checksum of 0 may be written as 0xffff; and but for the IPv4 id where fragments
 * are forbidden, as it says nothing then. */
static int same_frame(const struct sample *sample, const uint8_t *other)
{
	uint8_t *ours = copy_of(sample->original, sample->end), *theirs = copy_of(other, sample->end);
	uint8_t *frames[2] = {ours, theirs};
	int same;

	for (int i = 0; i < 2; i++) {
		uint8_t *ip = frames[i] + sample->network, *tcp = frames[i] + sample->transport;
		if (ip[0] >> 4 == 4) {
			if (ip[6] & 0x40)
				memset(ip + 4, 0, 2);
			if (ip[6] & 0x40 || is_zero(big16(ip + 10)))
				memset(ip + 10, 0, 2);
		}
		if (is_zero(big16(tcp + 16)))
			memset(tcp + 16, 0, 2);
	}
	same = !memcmp(ours, theirs, sample->end);
	free(ours);
	free(theirs);
	return same;
}

/* The cutter makes of a super-frame what it was made of. */
static void check_super(const struct virtio_net_hdr *vnet, const struct iovec *pieces, int count, struct sample **of)
{
	size_t length = 0, at = 0;
	struct cutter cutter;

	for (int i = 0; i < count; i++)
		length += pieces[i].iov_len;
	uint8_t *frame = malloc(length), *out;
	HOLDS(frame);
	for (int i = 0; i < count; at += pieces[i++].iov_len)
		memcpy(frame + at, pieces[i].iov_base, pieces[i].iov_len);
	HOLDS(length - of[0]->network <= 65535);
	HOLDS(vnet->flags == VIRTIO_NET_HDR_F_NEEDS_CSUM && vnet->hdr_len == of[0]->headers);
	HOLDS(!cutter_start(&cutter, vnet, frame, length, SIZE_MAX));
	HOLDS(cutter.frames == (size_t)count);
	out = malloc(cutter.frame_bytes);
	HOLDS(out);
	for (int i = 0; i < count; i++) {
		HOLDS(cutter_next(&cutter, out) == of[i]->end);
		HOLDS(same_frame(of[i], out));
	}
	free(out);
	free(frame);
}

static struct sample *sample_of(struct run *run, const uint8_t *at)
{
	for (int i = 0; i < run->count; i++)
		if (at >= run->samples[i].frame && at < run->samples[i].frame + run->samples[i].length)
			return &run->samples[i];
	HOLDS(!"memory of no frame");
	return NULL;
}

static void emit(void *context, const struct virtio_net_hdr *vnet, const struct iovec *pieces, int count,
		 unsigned segments)
{
	struct run *run = context;
	struct sample *of[MERGE_PIECES];

	HOLDS(count >= 1 && count <= MERGE_PIECES && segments == (unsigned)count);
	for (int i = 0; i < count; i++) {
		struct sample *sample = of[i] = sample_of(run, pieces[i].iov_base);
		const uint8_t *from = pieces[i].iov_base;

		HOLDS(!sample->emitted);
		HOLDS(!i || (of[i - 1] < sample && same_flow(of[0], sample)));
		for (struct sample *other = run->samples; sample->transport && other < sample; other++)
			HOLDS(!other->transport || other->emitted || !same_flow(other, sample));
		sample->emitted = 1;
		run->emitted++;
		if (count == 1) {
			HOLDS(from == sample->frame && pieces[i].iov_len == sample->length);
			HOLDS(!memcmp(from, sample->original, sample->length));
			HOLDS(!vnet->gso_type && !vnet->gso_size && !vnet->hdr_len);
			HOLDS(vnet->flags == (is_right(sample) ? VIRTIO_NET_HDR_F_DATA_VALID : 0));
			return;
		}
		HOLDS(is_right(sample));
		HOLDS(from == sample->frame + (i ? sample->headers : 0));
		HOLDS(pieces[i].iov_len == sample->end - (i ? sample->headers : 0));
		HOLDS(!memcmp(sample->frame + sample->headers, sample->original + sample->headers,
			      sample->length - sample->headers));
	}
	check_super(vnet, pieces, count, of);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct run run;
	static struct merger merger;

	memset(&run, 0, sizeof(run));
	merger_init(&merger, emit, &run);
	while (size > 3 && run.count < FRAMES_MAX) {
		struct sample *sample = &run.samples[run.count++];
		int flags = data[0];

		sample->length = (size_t)data[1] | (size_t)data[2] << 8;
		data += 3;
		size -= 3;
		if (!sample->length)
			sample->length = 1; /* its memory tells which it is */
		if (sample->length > size)
			sample->length = size;
		uint8_t *original = copy_of(data, sample->length);
		read_sample(sample, original);
		if (flags & 1)
			make_right(sample, original);
		sample->original = original;
		sample->frame = copy_of(original, sample->length);
		data += sample->length;
		size -= sample->length;
		merger_add(&merger, sample->frame, sample->length);
	}
	merger_flush(&merger);
	HOLDS(run.emitted == run.count);
	for (int i = 0; i < run.count; i++) {
		free(run.samples[i].frame);
		free((void *)run.samples[i].original);
	}
	return 0;
}
