#include_next <linux/tcp.h>
