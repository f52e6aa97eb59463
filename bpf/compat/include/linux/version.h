/* The oldest kernel that the programs are written for, so that they come out the same on every machine. */
#ifndef OMNI_COMPAT_VERSION_H
#define OMNI_COMPAT_VERSION_H

#define KERNEL_VERSION(a, b, c) (((a) << 16) + ((b) << 8) + ((c) > 255 ? 255 : (c)))
#define LINUX_VERSION_CODE KERNEL_VERSION(5, 15, 0)

#endif
