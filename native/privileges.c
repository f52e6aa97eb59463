/* SPDX-License-Identifier: Apache-2.0
 *
 * What the process gives up once it has its descriptors: it becomes nobody, without capabilities, and may make only the
 * system calls of its loop. Where the kernel lets only the privileged look into BPF maps, mode bulk keeps CAP_BPF.
 */
#include <errno.h>
#include <grp.h>
#include <linux/audit.h>
#include <linux/bpf.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "engine.h"

#define NOBODY 65534
#ifndef SYS_rseq
#define SYS_rseq __NR_rseq
#endif
#ifndef CAP_BPF
#define CAP_BPF 39
#endif

#if defined(__SANITIZE_ADDRESS__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SANITIZED 1
#endif
#endif
#ifndef SANITIZED
#define SANITIZED 0
#endif

#if defined(__x86_64__)
#define THIS_ARCH AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define THIS_ARCH AUDIT_ARCH_AARCH64
#endif

static int set_capabilities(uint64_t wanted)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[2] = {
		{.effective = (uint32_t)wanted, .permitted = (uint32_t)wanted},
		{.effective = (uint32_t)(wanted >> 32), .permitted = (uint32_t)(wanted >> 32)},
	};

	return (int)syscall(SYS_capset, &header, data);
}

/* Whoever is not root stays who he is, but keeps no capability that he may have had from his parent either. */
static int become_nobody(uint64_t capabilities)
{
	if (geteuid() == 0 && (prctl(PR_SET_KEEPCAPS, capabilities != 0, 0, 0, 0) || setgroups(0, NULL) ||
			       setresgid(NOBODY, NOBODY, NOBODY) || setresuid(NOBODY, NOBODY, NOBODY)))
		return -1;
	if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0))
		return -1;
	return set_capabilities(capabilities);
}

/* Tried by a child, as there is no way back. */
static int lookup_needs_capability(int map)
{
	int status = 0;
	pid_t child = fork();

	if (child == 0) {
		uint64_t key = 0;
		uint8_t value[64];
		union bpf_attr attr;

		memset(&attr, 0, sizeof(attr));
		attr.map_fd = (uint32_t)map;
		attr.key = (uint64_t)(uintptr_t)&key;
		attr.value = (uint64_t)(uintptr_t)value;
		if (become_nobody(0))
			_exit(1);
		_exit(syscall(__NR_bpf, BPF_MAP_LOOKUP_ELEM, &attr, sizeof(attr)) && errno == EPERM);
	}
	if (child < 0 || waitpid(child, &status, 0) < 0)
		return 1;
	return !WIFEXITED(status) || WEXITSTATUS(status);
}

int privileges_drop(struct engine *engine, int keep_root)
{
	uint64_t capabilities = 0;

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		goto refused;
	if (keep_root)
		return 0;
	if (engine->mode == MODE_BULK && lookup_needs_capability(engine->fdb.map))
		capabilities = UINT64_C(1) << CAP_BPF;
	if (become_nobody(capabilities))
		goto refused;
	prctl(PR_SET_DUMPABLE, 0, 0, 0, 0); /* others who are nobody may not look into it */
	return 0;
refused:
	fprintf(stderr, "omni-native: privileges: cannot be dropped (%s)\n", strerror(errno));
	return -1;
}

static const int allowed[] __attribute__((unused)) = {
	/* the loop */
	SYS_read, SYS_write, SYS_writev, SYS_epoll_pwait, SYS_ppoll, SYS_recvfrom, SYS_recvmmsg, SYS_sendto, SYS_sendmsg,
	SYS_sendmmsg, SYS_clock_gettime, SYS_sched_yield, SYS_futex, SYS_restart_syscall,
	/* the Ganglion's calls */
	SYS_accept4, SYS_close, SYS_getsockname, SYS_getpid,
	/* memory, signals, the end */
	SYS_mmap, SYS_munmap, SYS_mremap, SYS_brk, SYS_madvise, SYS_mprotect, SYS_getrandom, SYS_rt_sigreturn,
	SYS_rt_sigaction, SYS_rt_sigprocmask, SYS_exit, SYS_exit_group, SYS_tgkill, SYS_gettid,
	SYS_rseq, SYS_set_robust_list, /* of a thread that is just beginning */
	SYS_dup3, /* standard error goes to /dev/null */
#ifdef __x86_64__
	SYS_epoll_wait, SYS_poll,
#endif
};

#define ALLOWED (sizeof(allowed) / sizeof(allowed[0]))

int privileges_filter(struct engine *engine)
{
#if SANITIZED || !defined(THIS_ARCH)
	(void)engine;
	return 0;
#else
	struct sock_filter code[ALLOWED * 2 + 16];
	struct sock_fprog program = {.filter = code};
	unsigned at = 0;
	const uint32_t refuse = SECCOMP_RET_ERRNO | EPERM;

	code[at++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch));
	code[at++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, THIS_ARCH, 1, 0);
	code[at++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, refuse);
	code[at++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
	for (unsigned i = 0; i < ALLOWED; i++) {
		code[at++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)allowed[i], 0, 1);
		code[at++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
	}
	if (engine->mode == MODE_BULK) { /* looks things up in maps, and nothing else */
		code[at++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_bpf, 0, 3);
		code[at++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[0]));
		code[at++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, BPF_MAP_LOOKUP_ELEM, 0, 1);
		code[at++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
	}
	code[at++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, refuse);
	program.len = (unsigned short)at;
	if (!syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &program))
		return 0;
	fprintf(stderr, "omni-native: seccomp: the filter is refused (%s)\n", strerror(errno));
	return -1;
#endif
}
