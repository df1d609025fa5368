/* A file and an allocator of the program's own, which count the bytes that the library takes. */
#ifndef COUNTED_H
#define COUNTED_H

#include <stdatomic.h>
#include <stdint.h>
#include <vaecomp.h>

/* The bytes that the library asked for. Threads of the library add to them at the same time. */
typedef struct {
    int descriptor;
    atomic_uint_least64_t read;
    atomic_size_t held, peak_held;
} Counted;

/* Opens an archive that reads its file and takes its memory through `counted`. This must stay where it is until the
 * archive is closed. Close its descriptor after that. Returns a code of vaecomp_code. */
int open_counted(const char* path, Counted* counted, vaecomp_archive** archive, vaecomp_error* error);

#endif
