/* Decoding latent archives (.vaec), for C and everything that can call it. vaecomp.hpp wraps it for C++.
 *
 * Functions return VAECOMP_OK or another code of vaecomp_code, and describe a failure in `error` unless that is null.
 * After a failure, output buffers have undefined contents and output pointers are null. No function throws, and none
 * ends the process whatever the archive's bytes are. Different archives may be used from different threads, and one
 * archive from several at once, but for vaecomp_close. Structures begin with their size, so that later versions can add
 * members behind the present ones: initialize them with their _INIT macro. Numbers of codes, dtypes and codecs never
 * change their meaning.
 */
#ifndef VAECOMP_H
#define VAECOMP_H

#include <stddef.h>
#include <stdint.h>

#if defined(__GNUC__)
#define VAECOMP_API __attribute__((visibility("default")))
#else
#define VAECOMP_API
#endif

/* Grows when a program compiled against an older header could no longer use the library. */
#define VAECOMP_ABI_VERSION 1

#ifdef __cplusplus
extern "C" {
#endif

enum vaecomp_code {
    VAECOMP_OK = 0,
    VAECOMP_INVALID_ARGUMENT = 1,    /* the caller's fault: null, unknown tensor, buffer of another size */
    VAECOMP_MALFORMED = 2,           /* bytes that the format does not allow */
    VAECOMP_UNSUPPORTED_VERSION = 3, /* a format version that this library does not read */
    VAECOMP_CHECKSUM = 4,            /* bytes or decoded values that do not match their checksum */
    VAECOMP_MISSING_PACK = 5,        /* a member is opened without its pack, or with another one */
    VAECOMP_IO = 6,                  /* a file, or a caller's reader, that failed */
    VAECOMP_OUT_OF_MEMORY = 7,       /* the allocator, or the system, has no more */
    VAECOMP_MEMORY_LIMIT = 8,        /* more memory would be needed than the options allow */
    VAECOMP_INTERNAL = 9             /* a defect of the library, or a runner that did not run every task */
};

enum vaecomp_dtype {
    VAECOMP_BOOL = 0,
    VAECOMP_UINT8 = 1,
    VAECOMP_INT8 = 2,
    VAECOMP_UINT16 = 3,
    VAECOMP_INT16 = 4,
    VAECOMP_UINT32 = 5,
    VAECOMP_INT32 = 6,
    VAECOMP_UINT64 = 7,
    VAECOMP_INT64 = 8,
    VAECOMP_FLOAT16 = 9,
    VAECOMP_BFLOAT16 = 10,
    VAECOMP_FLOAT32 = 11,
    VAECOMP_FLOAT64 = 12,
    VAECOMP_FLOAT8_E4M3FN = 13,
    VAECOMP_FLOAT8_E5M2 = 14,
    VAECOMP_COMPLEX64 = 15,
    VAECOMP_COMPLEX128 = 16,
    VAECOMP_FLOAT8_E4M3FNUZ = 17,
    VAECOMP_FLOAT8_E5M2FNUZ = 18,
    VAECOMP_FLOAT8_E8M0FNU = 19,
    VAECOMP_FLOAT4_E2M1FN_X2 = 20, /* two values a byte */
    VAECOMP_COMPLEX32 = 21,        /* two float16 */
    /* A byte an element, whatever its bits. */
    VAECOMP_INT1 = 22,
    VAECOMP_INT2 = 23,
    VAECOMP_INT3 = 24,
    VAECOMP_INT4 = 25,
    VAECOMP_INT5 = 26,
    VAECOMP_INT6 = 27,
    VAECOMP_INT7 = 28,
    VAECOMP_UINT1 = 29,
    VAECOMP_UINT2 = 30,
    VAECOMP_UINT3 = 31,
    VAECOMP_UINT4 = 32,
    VAECOMP_UINT5 = 33,
    VAECOMP_UINT6 = 34,
    VAECOMP_UINT7 = 35
};

enum vaecomp_codec {
    VAECOMP_RAW = 0,
    VAECOMP_LATENT = 1,
    VAECOMP_ALIAS = 2,
    VAECOMP_QUANTIZED = 3,
    VAECOMP_LOSSLESS = 4,
    VAECOMP_MEMBER = 5,     /* of a member: the pack's tensor and what the pack's decoder adds */
    VAECOMP_SHARED = 6,     /* of a member: the pack's tensor */
    VAECOMP_DIFFERENCES = 7 /* of a member: bit for bit, as a difference from what the pack predicts */
};

/* What went wrong, in one line that names the field and its offset in the file where there is one. */
typedef struct vaecomp_error {
    size_t size;
    int32_t code;
    char message[500];
} vaecomp_error;
#define VAECOMP_ERROR_INIT \
    { sizeof(vaecomp_error), VAECOMP_OK, "" }

/* Memory for everything that an archive holds and decodes with, output apart. Called from any thread. `allocate`
 * returns null if there is none; `alignment` is a power of two. */
typedef struct vaecomp_allocator {
    void* context;
    void* (*allocate)(void* context, size_t size, size_t alignment);
    void (*deallocate)(void* context, void* data, size_t size, size_t alignment);
} vaecomp_allocator;

/* Runs task(work, i) once for each i in [0, tasks), on any threads in any order, and returns when all have ended. */
typedef struct vaecomp_runner {
    void* context;
    void (*run)(void* context, size_t tasks, void (*task)(void* work, size_t i), void* work);
} vaecomp_runner;

typedef struct vaecomp_archive vaecomp_archive;

typedef struct vaecomp_options {
    size_t size;
    uint32_t threads;            /* 0: as many as the process may use; without a meaning if there is a runner */
    uint32_t verify;             /* not 0: compare every tensor with its digest */
    uint64_t memory_limit;       /* bytes that the archive may hold at a time, output apart; 0: no limit */
    vaecomp_allocator allocator; /* null functions: malloc and free */
    vaecomp_runner runner;       /* null function: the library's own threads */
    const vaecomp_archive* pack; /* of a member: its pack, open; may be closed before the member */
} vaecomp_options;
#define VAECOMP_OPTIONS_INIT \
    { sizeof(vaecomp_options), 0, 1, 0, {NULL, NULL, NULL}, {NULL, NULL}, NULL }

/* A file that the caller reads: fills `data` with exactly `size` bytes from `offset` on and returns 0, or anything else
 * if it can not. Called from several threads at once. Bytes that lie side by side are asked for together, up to about
 * `request_bytes`. */
typedef struct vaecomp_reader {
    void* context;
    uint64_t file_bytes;
    size_t request_bytes;
    int (*read)(void* context, uint64_t offset, void* data, size_t size);
} vaecomp_reader;

/* Strings and shape live as long as the archive. Strings are UTF-8, may contain zeros, and have another zero behind
 * them. */
typedef struct vaecomp_tensor_info {
    size_t size;
    const char* name;
    size_t name_bytes;
    const size_t* shape;
    size_t rank;
    size_t elements;
    size_t bytes;        /* what a buffer for it must have */
    int32_t dtype;       /* vaecomp_dtype */
    int32_t codec;       /* vaecomp_codec */
    size_t same_data_as; /* of an alias: the tensor with which it shares its data; of others: themselves */
} vaecomp_tensor_info;
#define VAECOMP_TENSOR_INFO_INIT \
    { sizeof(vaecomp_tensor_info), NULL, 0, NULL, 0, 0, 0, 0, 0, 0 }

typedef struct vaecomp_string {
    const char* data;
    size_t bytes;
} vaecomp_string;

/* Where a file's bytes go; they add up to the file's size. */
typedef struct vaecomp_accounting {
    size_t size;
    uint64_t container, decoder, latents, weights, tables, passthrough;
} vaecomp_accounting;
#define VAECOMP_ACCOUNTING_INIT \
    { sizeof(vaecomp_accounting), 0, 0, 0, 0, 0, 0 }

/* The chunks that one latents section makes. */
typedef struct vaecomp_chunks {
    size_t size;
    uint64_t chunks, chunk_length, latent, padding;
} vaecomp_chunks;
#define VAECOMP_CHUNKS_INIT \
    { sizeof(vaecomp_chunks), 0, 0, 0, 0 }

/* Elements of a tensor, `count` from `first` on in row-major order, to `data`: host byte order, `bytes` as many as they
 * take. */
typedef struct vaecomp_output {
    size_t tensor;
    size_t first, count;
    void* data;
    size_t bytes;
} vaecomp_output;

/* Opening reads and checks the index. `options` null: the defaults. Memory, and what `reader` needs, must stay until
 * vaecomp_close, those of a pack until its members are closed as well. */
VAECOMP_API int vaecomp_open_file(const char* path, const vaecomp_options* options, vaecomp_archive** archive,
                                  vaecomp_error* error);
VAECOMP_API int vaecomp_open_memory(const void* data, size_t bytes, const vaecomp_options* options,
                                    vaecomp_archive** archive, vaecomp_error* error);
VAECOMP_API int vaecomp_open_reader(const vaecomp_reader* reader, const vaecomp_options* options,
                                    vaecomp_archive** archive, vaecomp_error* error);
/* Null is fine. */
VAECOMP_API void vaecomp_close(vaecomp_archive* archive);

/* How many bytes the archive has whose first 32 are `header`: what to read from a stream. */
#define VAECOMP_HEADER_BYTES 32
VAECOMP_API int vaecomp_file_bytes(const void* header, uint64_t* bytes, vaecomp_error* error);

VAECOMP_API size_t vaecomp_tensor_count(const vaecomp_archive* archive);
VAECOMP_API int vaecomp_tensor(const vaecomp_archive* archive, size_t tensor, vaecomp_tensor_info* info,
                               vaecomp_error* error);
/* The tensor of a name that ends with a zero. */
VAECOMP_API int vaecomp_find(const vaecomp_archive* archive, const char* name, size_t* tensor, vaecomp_error* error);
VAECOMP_API size_t vaecomp_metadata_count(const vaecomp_archive* archive);
VAECOMP_API int vaecomp_metadata(const vaecomp_archive* archive, size_t entry, vaecomp_string* key,
                                 vaecomp_string* value, vaecomp_error* error);
/* Both read the latents' headers and tables. */
VAECOMP_API int vaecomp_account(vaecomp_archive* archive, vaecomp_accounting* accounting, vaecomp_error* error);
/* `*count` is the length of `groups` before, the number of latents sections after; those that fit are written. */
VAECOMP_API int vaecomp_chunk_groups(vaecomp_archive* archive, vaecomp_chunks* groups, size_t* count,
                                     vaecomp_error* error);
/* SHA-256 of the file, by which members name their pack; reads the whole file once. */
#define VAECOMP_HASH_BYTES 32
VAECOMP_API int vaecomp_hash(vaecomp_archive* archive, uint8_t* hash, vaecomp_error* error);
/* Of a member: the 32 bytes of its pack's hash, which live as long as the archive; of other archives null. */
VAECOMP_API const uint8_t* vaecomp_pack_hash(const vaecomp_archive* archive);
VAECOMP_API uint32_t vaecomp_archive_version(const vaecomp_archive* archive);

/* A whole tensor; `bytes` must be those of its info. */
VAECOMP_API int vaecomp_decode(vaecomp_archive* archive, size_t tensor, void* data, size_t bytes, vaecomp_error* error);
/* Rows [first, first + count) of a tensor's first dimension. */
VAECOMP_API int vaecomp_decode_rows(vaecomp_archive* archive, size_t tensor, size_t first, size_t count, void* data,
                                    size_t bytes, vaecomp_error* error);
/* Several at once, which is faster than one by one. No two of the same data. */
VAECOMP_API int vaecomp_decode_many(vaecomp_archive* archive, const vaecomp_output* outputs, size_t count,
                                    vaecomp_error* error);
/* Whole tensors of several members of one pack, which is faster than member by member. Memory comes from where the
 * pack's does, threads and verification are those that the first member was opened with. */
typedef struct vaecomp_member_outputs {
    vaecomp_archive* member;
    const vaecomp_output* outputs;
    size_t count;
} vaecomp_member_outputs;
VAECOMP_API int vaecomp_decode_members(const vaecomp_member_outputs* members, size_t count, vaecomp_error* error);
/* Checks every byte of the file and every tensor. */
VAECOMP_API int vaecomp_verify(vaecomp_archive* archive, vaecomp_error* error);

/* "1.2.3"; the ABI version that the library has; the newest format version that it reads. */
VAECOMP_API const char* vaecomp_version(void);
VAECOMP_API uint32_t vaecomp_abi_version(void);
VAECOMP_API uint32_t vaecomp_format_version(void);
/* Names as NumPy, ml_dtypes or torch have them ("bfloat16"), bytes an element, and names such as "checksum"; null or 0
 * for a number that is unknown. */
VAECOMP_API const char* vaecomp_dtype_name(int32_t dtype);
VAECOMP_API size_t vaecomp_dtype_bytes(int32_t dtype);
VAECOMP_API const char* vaecomp_code_name(int32_t code);

#ifdef __cplusplus
}
#endif

#endif
