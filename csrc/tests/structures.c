/* Uses every structure that begins with its size, on the archive of its argument, and prints what it learns. A test
 * compiles it against this header and a later one, and runs it on the libraries of both. */
#include <stdio.h>
#include <vaecomp.h>

#define MOST_GROUPS 8

int main(int argc, char** argv) {
    /* What lies behind the first one must stay as it is. */
    vaecomp_error errors[2] = {VAECOMP_ERROR_INIT, VAECOMP_ERROR_INIT};
    vaecomp_tensor_info infos[2] = {VAECOMP_TENSOR_INFO_INIT, VAECOMP_TENSOR_INFO_INIT};
    vaecomp_accounting accountings[2] = {VAECOMP_ACCOUNTING_INIT, VAECOMP_ACCOUNTING_INIT};
    vaecomp_chunks groups[MOST_GROUPS];
    vaecomp_options options = VAECOMP_OPTIONS_INIT;
    vaecomp_archive* archive = NULL;
    size_t tensor = 0, count = MOST_GROUPS;
#ifdef LATER
    options.later = LATER;
#endif
    if (argc != 2) return 2;
    if (vaecomp_open_file(argv[1], &options, &archive, errors) != VAECOMP_OK) {
        printf("%s: %s\n", vaecomp_code_name(errors[0].code), errors[0].message);
        return 1;
    }
    if (vaecomp_find(archive, "absent", &tensor, errors) != VAECOMP_OK) printf("%s\n", errors[0].message);
    if (vaecomp_tensor(archive, 0, infos, NULL) == VAECOMP_OK) printf("%s %zu\n", infos[0].name, infos[0].elements);
    if (vaecomp_account(archive, accountings, NULL) == VAECOMP_OK) {
        printf("%llu bytes\n",
               (unsigned long long)(accountings[0].container + accountings[0].decoder + accountings[0].latents +
                                    accountings[0].weights + accountings[0].tables + accountings[0].passthrough));
    }
    for (size_t i = 0; i < MOST_GROUPS; ++i) groups[i] = (vaecomp_chunks)VAECOMP_CHUNKS_INIT;
    if (vaecomp_chunk_groups(archive, groups, &count, NULL) == VAECOMP_OK) {
        for (size_t i = 0; i < count && i < MOST_GROUPS; ++i) {
            printf("%llu chunks\n", (unsigned long long)groups[i].chunks);
        }
    }
    if (errors[1].size == sizeof(vaecomp_error) && infos[1].size == sizeof(vaecomp_tensor_info) &&
        accountings[1].size == sizeof(vaecomp_accounting)) {
        puts("untouched");
    }
    vaecomp_close(archive);
    return 0;
}
