#include_next <linux/udp.h>
