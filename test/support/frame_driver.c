/* Runs the cutter and the merger of the native engine on what stdin says, so that they run with the address sanitizer,
 * which python cannot load. Numbers: 32 bits, host order.
 *
 *   0 SHIFT vnet[10] FRAME_MAX LENGTH frame     -> FRAMES (or -1), FRAME_BYTES, then for each: LENGTH frame
 *   1 SHIFT COUNT, for each: LENGTH frame       -> EMISSIONS, for each: vnet[10] SEGMENTS PIECES LENGTH frame
 *
 * SHIFT: offset of every frame in its memory, which ends where the frame ends. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "merge.h"
#include "segment.h"

static int get(void *to, size_t length)
{
	return fread(to, 1, length, stdin) == length;
}

static uint32_t number(void)
{
	uint32_t value;

	if (!get(&value, sizeof(value)))
		exit(1);
	return value;
}

static uint8_t *room(size_t length)
{
	uint8_t *memory = malloc(length);

	if (!memory)
		exit(1);
	return memory;
}

static void put(const void *from, size_t length)
{
	if (length && fwrite(from, 1, length, stdout) != length)
		exit(1);
}

static void put_number(uint32_t value)
{
	put(&value, sizeof(value));
}

static void run_cutter(void)
{
	size_t shift = number();
	struct virtio_net_hdr vnet;
	struct cutter cutter;

	if (!get(&vnet, sizeof(vnet)))
		exit(1);
	uint32_t frame_max = number(), length = number();
	uint8_t *frame = room(shift + length);
	if (!get(frame + shift, length))
		exit(1);
	if (cutter_start(&cutter, &vnet, frame + shift, length, frame_max)) {
		put_number(UINT32_MAX);
		put_number(0);
	} else {
		uint8_t *out = room(shift + cutter.frame_bytes);
		put_number((uint32_t)cutter.frames);
		put_number((uint32_t)cutter.frame_bytes);
		for (size_t i = 0; i < cutter.frames; i++) {
			size_t bytes = cutter_next(&cutter, out + shift);
			put_number((uint32_t)bytes);
			put(out + shift, bytes);
		}
		if (cutter_next(&cutter, out + shift))
			abort();
		free(out);
	}
	free(frame);
}

struct emissions {
	FILE *file;
	uint32_t count;
};

static void emit(void *context, const struct virtio_net_hdr *vnet, const struct iovec *pieces, int count, unsigned segments)
{
	struct emissions *emissions = context;
	uint32_t numbers[3] = {segments, (uint32_t)count, 0};

	emissions->count++;
	for (int i = 0; i < count; i++)
		numbers[2] += (uint32_t)pieces[i].iov_len;
	fwrite(vnet, sizeof(*vnet), 1, emissions->file);
	fwrite(numbers, sizeof(numbers), 1, emissions->file);
	for (int i = 0; i < count; i++)
		fwrite(pieces[i].iov_base, pieces[i].iov_len, 1, emissions->file);
}

static void run_merger(void)
{
	size_t shift = number(), count = number(), size;
	uint8_t **frames = calloc(count + 1, sizeof(*frames));
	struct merger *merger = malloc(sizeof(*merger));
	char *content;
	struct emissions emissions = {.file = open_memstream(&content, &size)};

	if (!frames || !merger || !emissions.file)
		exit(1);
	merger_init(merger, emit, &emissions);
	for (size_t i = 0; i < count; i++) {
		uint32_t length = number();
		frames[i] = room(shift + length);
		if (!get(frames[i] + shift, length))
			exit(1);
		merger_add(merger, frames[i] + shift, length);
	}
	merger_flush(merger);
	fclose(emissions.file);
	put_number(emissions.count);
	put(content, size);
	for (size_t i = 0; i < count; i++)
		free(frames[i]);
	free(frames);
	free(merger);
	free(content);
}

int main(void)
{
	uint32_t what;

	while (get(&what, sizeof(what))) {
		if (what)
			run_merger();
		else
			run_cutter();
		fflush(stdout);
	}
	return 0;
}
