#include_next <linux/in.h>
