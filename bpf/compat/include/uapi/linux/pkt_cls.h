#include_next <linux/pkt_cls.h>
