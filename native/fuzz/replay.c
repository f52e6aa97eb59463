/* SPDX-License-Identifier: Apache-2.0
 *
 * Runs a fuzz target on files, and on random mutations of them, without libFuzzer:
 *
 *   replay MUTATIONS SEED FILE...
 */
#include "fuzz.h"

#define BIGGEST (1 << 20)

static uint64_t state;

/* xorshift64*; the modulus' bias does not matter here */
static size_t draw(size_t below)
{
	state ^= state >> 12;
	state ^= state << 25;
	state ^= state >> 27;
	return below ? (size_t)((state * 0x2545f4914f6cdd1dull) >> 32) % below : 0;
}

struct input {
	uint8_t *bytes;
	size_t size;
};

static struct input load(const char *path)
{
	struct input input = {.bytes = malloc(BIGGEST)};
	FILE *file = fopen(path, "rb");

	if (!file || !input.bytes) {
		perror(path);
		exit(2);
	}
	input.size = fread(input.bytes, 1, BIGGEST, file);
	fclose(file);
	return input;
}

/* ``bytes`` has room for BIGGEST; returns the new size. */
static size_t mutate(uint8_t *bytes, size_t size, const struct input *other)
{
	static const uint8_t interesting[] = {0, 1, 4, 5, 6, 8, 17, 0x40, 0x45, 0x50, 0x60, 0x7f, 0x80, 0x81, 0xff};
	size_t at = draw(size), length, from;

	if (!size)
		return 0;
	switch (draw(8)) {
	case 0:
		bytes[at] ^= (uint8_t)(1u << draw(8));
		break;
	case 1:
		bytes[at] = (uint8_t)draw(256);
		break;
	case 2:
		bytes[at] = interesting[draw(sizeof(interesting))];
		break;
	case 3: /* headers are in front */
		bytes[draw(size < 80 ? size : 80)] = (uint8_t)draw(256);
		break;
	case 4:
		bytes[at] = (uint8_t)(bytes[at] + draw(9) - 4);
		break;
	case 5:
		return at;
	case 6: /* a part goes */
		length = draw(size - at + 1);
		memmove(bytes + at, bytes + at + length, size - at - length);
		return size - length;
	default: /* the end of another one */
		from = draw(other->size);
		length = other->size - from;
		if (at + length > BIGGEST)
			length = BIGGEST - at;
		memcpy(bytes + at, other->bytes + from, length);
		return at + length;
	}
	return size;
}

int main(int argc, char **argv)
{
	if (argc < 4) {
		fprintf(stderr, "usage: replay MUTATIONS SEED FILE...\n");
		return 2;
	}
	unsigned long mutations = strtoul(argv[1], NULL, 10);
	size_t count = (size_t)argc - 3;
	struct input *inputs = calloc(count, sizeof(*inputs));
	uint8_t *bytes = malloc(BIGGEST);

	if (!inputs || !bytes)
		return 2;
	state = strtoull(argv[2], NULL, 10) * 2 + 1;
	for (size_t i = 0; i < count; i++) {
		inputs[i] = load(argv[3 + i]);
		LLVMFuzzerTestOneInput(inputs[i].bytes, inputs[i].size);
	}
	for (unsigned long i = 0; i < mutations; i++) {
		const struct input *input = &inputs[draw(count)];
		size_t size = input->size;

		memcpy(bytes, input->bytes, size);
		for (size_t n = 1 + draw(5); n; n--)
			size = mutate(bytes, size, &inputs[draw(count)]);
		LLVMFuzzerTestOneInput(bytes, size);
	}
	printf("%zu files, %lu mutations\n", count, mutations);
	for (size_t i = 0; i < count; i++)
		free(inputs[i].bytes);
	free(inputs);
	free(bytes);
	return 0;
}
