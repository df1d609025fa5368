#define _POSIX_C_SOURCE 200809L
#include "counted.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int read_range(void* context, uint64_t offset, void* data, size_t size) {
    Counted* counted = context;
    char* to = data;
    atomic_fetch_add(&counted->read, size);
    while (size > 0) {
        ssize_t count = pread(counted->descriptor, to, size, (off_t)offset);
        if (count < 0 && errno == EINTR) continue;
        if (count <= 0) return -1;
        to += count;
        offset += (uint64_t)count;
        size -= (size_t)count;
    }
    return 0;
}

static void* allocate(void* context, size_t size, size_t alignment) {
    Counted* counted = context;
    void* data = NULL;
    if (posix_memalign(&data, alignment < sizeof(void*) ? sizeof(void*) : alignment, size) != 0) return NULL;
    size_t held = atomic_fetch_add(&counted->held, size) + size;
    size_t peak = atomic_load(&counted->peak_held);
    while (held > peak && !atomic_compare_exchange_weak(&counted->peak_held, &peak, held)) continue;
    return data;
}

static void deallocate(void* context, void* data, size_t size, size_t alignment) {
    Counted* counted = context;
    (void)alignment;
    atomic_fetch_sub(&counted->held, size);
    free(data);
}

int open_counted(const char* path, Counted* counted, vaecomp_archive** archive, vaecomp_error* error) {
    struct stat status;
    counted->descriptor = open(path, O_RDONLY);
    if (counted->descriptor < 0 || fstat(counted->descriptor, &status) != 0) {
        snprintf(error->message, sizeof(error->message), "%s", strerror(errno));
        return error->code = VAECOMP_IO;
    }
    vaecomp_reader reader = {counted, (uint64_t)status.st_size, 1 << 18, read_range};
    vaecomp_options options = VAECOMP_OPTIONS_INIT;
    options.allocator = (vaecomp_allocator){counted, allocate, deallocate};
    return vaecomp_open_reader(&reader, &options, archive, error);
}
