/* SPDX-License-Identifier: Apache-2.0
 *
 * The Internet checksum (RFC 1071). A sum is kept unfolded in 64 bits, of 16-bit words as they lie in memory: it
 * holds on hosts of either byte order, and sums of pieces may be added as long as each but the last has an even
 * length. Any alignment will do. Written on vectors of 32 bytes, which compilers make of whatever the processor has;
 * on x86 the version for AVX2 is chosen as the program runs.
 */
#ifndef NATIVE_CHECKSUM_H
#define NATIVE_CHECKSUM_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define CHECKSUM_INLINE static inline __attribute__((always_inline))

typedef uint64_t checksum_lanes __attribute__((vector_size(32)));

/* ``to``: NULL, or where the bytes are copied. Each half of a 64-bit word goes to a sum of its own: no carry is lost,
 * as a lane would take 2^32 of them. */
CHECKSUM_INLINE uint64_t checksum_body(uint8_t *to, const uint8_t *from, size_t length)
{
	checksum_lanes low = {0}, high = {0}, low2 = {0}, high2 = {0}, a, b;
	uint64_t sum, word = 0;

	for (; length >= 64; length -= 64, from += 64) {
		memcpy(&a, from, 32);
		memcpy(&b, from + 32, 32);
		if (to) {
			memcpy(to, &a, 32);
			memcpy(to + 32, &b, 32);
			to += 64;
		}
		low += a & 0xffffffff;
		high += a >> 32;
		low2 += b & 0xffffffff;
		high2 += b >> 32;
	}
	low += low2;
	high += high2;
	low += high;
	sum = low[0] + low[1] + low[2] + low[3];
	for (; length >= 8; length -= 8, from += 8) {
		memcpy(&word, from, 8);
		if (to) {
			memcpy(to, &word, 8);
			to += 8;
		}
		sum += (word & 0xffffffff) + (word >> 32);
	}
	if (length) {
		word = 0;
		memcpy(&word, from, length);
		if (to)
			memcpy(to, &word, length);
		sum += (word & 0xffffffff) + (word >> 32);
	}
	return sum;
}

#if defined(__x86_64__)
static __attribute__((target("avx2"), unused, noinline)) uint64_t checksum_avx2(const uint8_t *from, size_t length)
{
	return checksum_body(NULL, from, length);
}

static __attribute__((target("avx2"), unused, noinline)) uint64_t checksum_copy_avx2(uint8_t *to, const uint8_t *from,
										     size_t length)
{
	return checksum_body(to, from, length);
}
#define CHECKSUM_AVX2(length) ((length) >= 64 && __builtin_cpu_supports("avx2"))
#endif

/* Sum of ``length`` bytes. */
static inline uint64_t checksum_sum(const void *from, size_t length)
{
#if defined(CHECKSUM_AVX2)
	if (CHECKSUM_AVX2(length))
		return checksum_avx2(from, length);
#endif
	return checksum_body(NULL, from, length);
}

/* The same, and copies them to ``to``, which does not overlap. Each byte is touched once. */
static inline uint64_t checksum_copy(void *to, const void *from, size_t length)
{
#if defined(CHECKSUM_AVX2)
	if (CHECKSUM_AVX2(length))
		return checksum_copy_avx2(to, from, length);
#endif
	return checksum_body(to, from, length);
}

/* To 16 bits, as they lie in memory, not inverted. 0xffff over data with its checksum: it is right. */
CHECKSUM_INLINE uint16_t checksum_fold(uint64_t sum)
{
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)sum;
}

#endif
