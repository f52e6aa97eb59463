/* bcc sizes ring buffers in pages. The compiler step says the machine's page size (-DPAGE_SIZE). */
#ifndef PAGE_SIZE
#define PAGE_SIZE 4096
#endif
