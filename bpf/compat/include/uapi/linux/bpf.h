/* bcc has included its own copy before anything else; the system's may be older. */
#ifdef _UAPI__LINUX_BPF_H__
#define __LINUX_BPF_H__
#else
#include_next <linux/bpf.h>
#endif
