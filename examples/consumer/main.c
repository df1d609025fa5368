/* Decodes an archive's tensors in C. Prints their names and sizes, and writes their bytes to a file, one tensor behind
 * another. */
#include <stdio.h>
#include <stdlib.h>
#include <vaecomp.h>

static int decode(vaecomp_archive* archive, size_t tensor, FILE* output, vaecomp_error* error) {
    vaecomp_tensor_info info = VAECOMP_TENSOR_INFO_INIT;
    int code = vaecomp_tensor(archive, tensor, &info, error);
    if (code != VAECOMP_OK) return code;
    void* data = malloc(info.bytes > 0 ? info.bytes : 1);
    if (data == NULL) abort();
    code = vaecomp_decode(archive, tensor, data, info.bytes, error);
    if (code == VAECOMP_OK) {
        fwrite(data, 1, info.bytes, output);
        printf("%s %s %zu\n", info.name, vaecomp_dtype_name(info.dtype), info.bytes);
    }
    free(data);
    return code;
}

int main(int argc, char** argv) {
    if (argc != 3) {
        fputs("usage: consumer_c ARCHIVE OUTPUT\n", stderr);
        return 2;
    }
    vaecomp_error error = VAECOMP_ERROR_INIT;
    vaecomp_archive* archive = NULL;
    int code = vaecomp_open_file(argv[1], NULL, &archive, &error);
    if (code != VAECOMP_OK) {
        fprintf(stderr, "%s\n", error.message);
        return 1;
    }
    FILE* output = fopen(argv[2], "wb");
    if (output == NULL) {
        perror(argv[2]);
        vaecomp_close(archive);
        return 1;
    }
    for (size_t t = 0; t < vaecomp_tensor_count(archive) && code == VAECOMP_OK; ++t) {
        code = decode(archive, t, output, &error);
    }
    if (code != VAECOMP_OK) fprintf(stderr, "%s\n", error.message);
    int unwritten = ferror(output);
    if (fclose(output) != 0 || unwritten) {
        fprintf(stderr, "cannot write %s\n", argv[2]);
        code = VAECOMP_IO;
    }
    vaecomp_close(archive);
    return code == VAECOMP_OK ? 0 : 1;
}
