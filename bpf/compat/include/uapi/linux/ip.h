#include_next <linux/ip.h>
