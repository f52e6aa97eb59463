/* SPDX-License-Identifier: Apache-2.0
 *
 * The Internet checksum (RFC 1071). A sum is kept unfolded in 64 bits, of 16-bit words as they lie in memory: it
 * holds on hosts of either byte order, and sums of pieces may be added as long as each but the last has an even
 * length. Any alignment will do. With -O3 compilers make vectors of the loop, as wide as the processor has them; on x86
 * the version for AVX2 is chosen as the program runs.
 */
#ifndef NATIVE_CHECKSUM_H
#define NATIVE_CHECKSUM_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define CHECKSUM_INLINE static inline __attribute__((always_inline))

/* ``to``: NULL, or where the bytes are copied. Each half of a 64-bit word goes to a sum of its own: no carry is lost, as
 * either would take 2^32 of them. */
CHECKSUM_INLINE uint64_t checksum_body(uint8_t *restrict to, const uint8_t *restrict from, size_t length)
{
	size_t at, whole = length & ~(size_t)7;
	uint64_t low = 0, high = 0, word;

	for (at = 0; at < whole; at += 8) {
		memcpy(&word, from + at, 8);
		if (to)
			memcpy(to + at, &word, 8);
		low += word & 0xffffffff;
		high += word >> 32;
	}
	if (at < length) {
		word = 0;
		memcpy(&word, from + at, length - at);
		if (to)
			memcpy(to + at, &word, length - at);
		low += word & 0xffffffff;
		high += word >> 32;
	}
	return low + high;
}

#if defined(__x86_64__) && !defined(CHECKSUM_PORTABLE) /* which a test defines */
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
