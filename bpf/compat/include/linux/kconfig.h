/* The build configuration that bcc asks for: it refuses to compile without CONFIG_BPF_SYSCALL. */
#ifndef OMNI_COMPAT_KCONFIG_H
#define OMNI_COMPAT_KCONFIG_H

#define CONFIG_BPF_SYSCALL 1

#endif
