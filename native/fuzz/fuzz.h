/* SPDX-License-Identifier: Apache-2.0
 *
 * What the fuzz targets share. Each asserts what must hold for any input, with arithmetic of its own, plain and slow.
 *
 *   clang -std=gnu11 -g -O1 -fsanitize=fuzzer,address,undefined -I.. fuzz_NAME.c ../segment.c ../merge.c -o fuzz_NAME
 *   mkdir -p new && ./fuzz_NAME -max_total_time=300 new corpus/NAME
 *
 * With replay.c in place of libFuzzer any compiler builds a program that runs files, and mutations of them.
 */
#ifndef NATIVE_FUZZ_H
#define NATIVE_FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define HOLDS(condition)                                                                 \
	do {                                                                             \
		if (!(condition)) {                                                      \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);  \
			abort();                                                         \
		}                                                                        \
	} while (0)

/* In a block of memory of exactly that size, so that the address sanitizer sees the first byte beyond. */
static inline uint8_t *copy_of(const uint8_t *from, size_t length)
{
	uint8_t *memory = calloc(1, length);

	HOLDS(memory || !length);
	if (length)
		memcpy(memory, from, length);
	return memory;
}

static inline uint32_t big16(const uint8_t *at)
{
	return (uint32_t)at[0] << 8 | at[1];
}

/* RFC 1071 word by word, 0..0xffff; ``sum``: of what comes before, of even length */
static inline uint32_t plain_sum(const uint8_t *data, size_t length, uint32_t sum)
{
	for (size_t i = 0; i < length; i++) {
		sum += i % 2 ? data[i] : (uint32_t)data[i] << 8;
		sum = (sum & 0xffff) + (sum >> 16);
	}
	return sum;
}

/* Over pseudo-header and TCP or UDP of an IP packet without extension headers; 0xffff: right */
static inline uint32_t transport_sum(const uint8_t *ip, size_t header, size_t length)
{
	int version = ip[0] >> 4;
	uint8_t numbers[4] = {0, version == 4 ? ip[9] : ip[6], (uint8_t)(length >> 8), (uint8_t)length};
	uint32_t sum = version == 4 ? plain_sum(ip + 12, 8, 0) : plain_sum(ip + 8, 32, 0);

	return plain_sum(ip + header, length, plain_sum(numbers, 4, sum));
}

#endif
