/* SPDX-License-Identifier: Apache-2.0
 *
 * A clock for tests, preloaded: CLOCK_MONOTONIC is the number in the file that OMNI_TEST_CLOCK names, in ns.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static volatile uint64_t *shown;

__attribute__((constructor)) static void begin(void)
{
	const char *path = getenv("OMNI_TEST_CLOCK");
	int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;

	if (fd >= 0) {
		void *at = mmap(NULL, sizeof(*shown), PROT_READ, MAP_SHARED, fd, 0);

		shown = at == MAP_FAILED ? NULL : at;
		close(fd);
	}
}

int clock_gettime(clockid_t clock, struct timespec *time)
{
	if (clock != CLOCK_MONOTONIC || !shown)
		return (int)syscall(SYS_clock_gettime, clock, time);
	time->tv_sec = (time_t)(*shown / 1000000000);
	time->tv_nsec = (long)(*shown % 1000000000);
	return 0;
}
