/* A file and memory of one's own, which count what the library takes of them. */
#ifndef COUNTED_H
#define COUNTED_H

#include <stdatomic.h>
#include <stdint.h>
#include <vaecomp.h>

/* What the library asked for, in bytes. Threads of the library add to it at the same time. */
typedef struct {
    int descriptor;
    atomic_uint_least64_t read;
    atomic_size_t held, most_held;
} Counted;

/* Opens an archive that reads its file and takes its memory through `counted`, which must stay where it is until the
 * archive is closed; then close its descriptor. Returns a code of vaecomp_code. */
int open_counted(const char* path, Counted* counted, vaecomp_archive** archive, vaecomp_error* error);

#endif
