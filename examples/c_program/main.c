/* Lists the tensors of an archive, or decodes one of them or some of its rows. See README.md. */
#define _POSIX_C_SOURCE 200809L
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "counted.h"
#include "statistics.h"

/* The request of the command line. */
typedef struct {
    const char *path, *name, *output; /* without a name: all tensors; without an output: print statistics */
    size_t first, count;
    int rows; /* whether `first` and `count` are given */
} Request;

static int fail(vaecomp_error* error, int code, const char* message) {
    snprintf(error->message, sizeof(error->message), "%s", message);
    return error->code = code;
}

static void print_tensor(const vaecomp_tensor_info* info) {
    printf("%s\t%s\t[", info->name, vaecomp_dtype_name(info->dtype));
    for (size_t i = 0; i < info->rank; ++i) printf("%s%zu", i > 0 ? ", " : "", info->shape[i]);
    printf("]\n");
}

static int list(const vaecomp_archive* archive, vaecomp_error* error) {
    for (size_t i = 0; i < vaecomp_tensor_count(archive); ++i) {
        vaecomp_tensor_info info = VAECOMP_TENSOR_INFO_INIT;
        int code = vaecomp_tensor(archive, i, &info, error);
        if (code != VAECOMP_OK) return code;
        print_tensor(&info);
    }
    return VAECOMP_OK;
}

static int print_statistics(const void* data, size_t count, int32_t dtype, vaecomp_error* error) {
    Statistics values;
    if (count == 0) return fail(error, VAECOMP_INVALID_ARGUMENT, "there are no elements to describe");
    if (describe(data, count, dtype, &values) != 0) {
        return fail(error, VAECOMP_INVALID_ARGUMENT, "no statistics of this dtype; write its bytes with -o");
    }
    printf("elements %zu\nminimum %.9g\nmaximum %.9g\nmean %.9g\ndeviation %.9g\n", count, values.minimum,
           values.maximum, values.mean, values.deviation);
    return VAECOMP_OK;
}

static int write_bytes(const char* path, const void* data, size_t bytes, vaecomp_error* error) {
    FILE* file = fopen(path, "wb");
    size_t written = file != NULL ? fwrite(data, 1, bytes, file) : 0;
    if (file == NULL || fclose(file) != 0 || written != bytes) {
        return fail(error, VAECOMP_IO, "the output cannot be written");
    }
    return VAECOMP_OK;
}

/* The library checks names and rows. The caller allocates the memory for them. */
static int decode(vaecomp_archive* archive, const Request* request, vaecomp_error* error) {
    size_t tensor;
    vaecomp_tensor_info info = VAECOMP_TENSOR_INFO_INIT;
    int code = vaecomp_find(archive, request->name, &tensor, error);
    if (code == VAECOMP_OK) code = vaecomp_tensor(archive, tensor, &info, error);
    if (code != VAECOMP_OK) return code;
    size_t bytes = info.bytes;
    if (request->rows) {
        if (info.rank == 0 || request->count > info.shape[0]) {
            return fail(error, VAECOMP_INVALID_ARGUMENT, "the tensor has fewer rows");
        }
        bytes = info.shape[0] > 0 ? info.bytes / info.shape[0] * request->count : 0;
    }
    void* data = malloc(bytes > 0 ? bytes : 1);
    if (data == NULL) return fail(error, VAECOMP_OUT_OF_MEMORY, "no memory for the tensor");
    code = request->rows ? vaecomp_decode_rows(archive, tensor, request->first, request->count, data, bytes, error)
                         : vaecomp_decode(archive, tensor, data, bytes, error);
    if (code == VAECOMP_OK) {
        code = request->output != NULL
                   ? write_bytes(request->output, data, bytes, error)
                   : print_statistics(data, bytes / vaecomp_dtype_bytes(info.dtype), info.dtype, error);
    }
    free(data);
    return code;
}

static int parse_size(const char* text, size_t* value) {
    char* end;
    *value = strtoull(text, &end, 10);
    return *text >= '0' && *text <= '9' && *end == '\0' ? 0 : -1;
}

static int parse(int argc, char** argv, Request* request) {
    int option;
    while ((option = getopt(argc, argv, "o:")) != -1) {
        if (option != 'o') return -1;
        request->output = optarg;
    }
    char** left = argv + optind;
    switch (argc - optind) {
        case 4:
            request->rows = 1;
            if (parse_size(left[2], &request->first) != 0 || parse_size(left[3], &request->count) != 0) return -1;
            /* fallthrough */
        case 2: request->name = left[1]; /* fallthrough */
        case 1: request->path = left[0]; return request->output != NULL && request->name == NULL ? -1 : 0;
        default: return -1;
    }
}

int main(int argc, char** argv) {
    Request request = {0};
    if (parse(argc, argv, &request) != 0) {
        fputs("usage: tensors [-o OUTPUT] ARCHIVE [NAME [FIRST_ROW ROWS]]\n", stderr);
        return 2;
    }
    Counted counted = {.descriptor = -1};
    vaecomp_error error = VAECOMP_ERROR_INIT;
    vaecomp_archive* archive = NULL;
    int code = open_counted(request.path, &counted, &archive, &error);
    if (code == VAECOMP_OK) {
        code = request.name != NULL ? decode(archive, &request, &error) : list(archive, &error);
    }
    vaecomp_close(archive); /* null after a failure, which is allowed */
    if (counted.descriptor >= 0) close(counted.descriptor);
    if (code != VAECOMP_OK) {
        fprintf(stderr, "tensors: %s: %s (%s)\n", request.path, error.message, vaecomp_code_name(code));
        return 1;
    }
    fprintf(stderr, "read %llu bytes, held %zu at most\n", (unsigned long long)counted.read, counted.peak_held);
    return 0;
}
