/* The kernel's short names on top of the system's __u8 ... __u64. */
#ifndef OMNI_COMPAT_TYPES_H
#define OMNI_COMPAT_TYPES_H

/* Before linux/stddef.h of the UAPI, where it only means "inline". */
#undef __always_inline
#define __always_inline inline __attribute__((__always_inline__))

#include_next <linux/types.h>

typedef __u8 u8;
typedef __u16 u16;
typedef __u32 u32;
typedef __u64 u64;
typedef __s8 s8;
typedef __s16 s16;
typedef __s32 s32;
typedef __s64 s64;

/* Not from stddef.h and its like: bcc brings no compiler headers, and the C library's must not come in. */
typedef __SIZE_TYPE__ size_t;
typedef __UINTPTR_TYPE__ uintptr_t;
typedef _Bool bool;
#define true 1
#define false 0
#ifndef NULL
#define NULL ((void *)0)
#endif
#define offsetof(type, member) __builtin_offsetof(type, member)

#endif
