/**
 * @file
 * Decoding latent archives (.vaec), for C and everything that can call it. vaecomp.hpp wraps it for C++.
 *
 * Functions return VAECOMP_OK or another code of vaecomp_code, and describe a failure in `error`, which may be null.
 * After a failure, output buffers have undefined contents and output pointers are null. No function throws, and none
 * ends the process whatever the archive's bytes are. Different archives may be used from different threads, and one
 * archive from several at once, but for vaecomp_close. Numbers of codes, dtypes and codecs never change their meaning.
 *
 * Structures with a member `size` begin with it, so that later versions can add members behind the present ones:
 * initialize them with their _INIT macro. A program may be older or newer than the library that it runs on. Members
 * that the program does not know have their defaults. Those that the library does not know stay as the program
 * initialized them in an output, and must be zero in an input. All other structures never change.
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

/** Grows when a program compiled against an older header could no longer use the library. */
#define VAECOMP_ABI_VERSION 1

#ifdef __cplusplus
extern "C" {
#endif

/** What functions return. */
enum vaecomp_code {
    VAECOMP_OK = 0,                  /**< success */
    VAECOMP_INVALID_ARGUMENT = 1,    /**< the caller's fault: null, unknown tensor, buffer of another size */
    VAECOMP_MALFORMED = 2,           /**< bytes that the format does not allow */
    VAECOMP_UNSUPPORTED_VERSION = 3, /**< a format version that this library does not read */
    VAECOMP_CHECKSUM = 4,            /**< bytes or decoded values that do not match their checksum */
    VAECOMP_MISSING_PACK = 5,        /**< a member is opened without its pack, or with another one */
    VAECOMP_IO = 6,                  /**< a file, or a caller's reader, that failed */
    VAECOMP_OUT_OF_MEMORY = 7,       /**< the allocator, or the system, has no more */
    VAECOMP_MEMORY_LIMIT = 8,        /**< more memory would be needed than the options allow */
    VAECOMP_INTERNAL = 9             /**< a defect of the library, or a runner that did not run every task */
};

/** Types of elements; vaecomp_dtype_name has the names that NumPy, ml_dtypes or torch give them. */
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
    VAECOMP_FLOAT4_E2M1FN_X2 = 20, /**< two values a byte */
    VAECOMP_COMPLEX32 = 21,        /**< two float16 */
    VAECOMP_INT1 = 22,             /**< these and the rest take a byte an element, whatever its bits */
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

/** How a tensor is stored (docs/format.md). */
enum vaecomp_codec {
    VAECOMP_RAW = 0,        /**< as it is */
    VAECOMP_LATENT = 1,     /**< what a decoder makes of latents */
    VAECOMP_ALIAS = 2,      /**< another name of an earlier tensor's data */
    VAECOMP_QUANTIZED = 3,  /**< rounded to few values, around what a decoder makes if there is one */
    VAECOMP_LOSSLESS = 4,   /**< bit for bit, compressed */
    VAECOMP_MEMBER = 5,     /**< of a member: the pack's tensor and what the pack's decoder adds */
    VAECOMP_SHARED = 6,     /**< of a member: the pack's tensor */
    VAECOMP_DIFFERENCES = 7 /**< of a member: bit for bit, as a difference from what the pack predicts */
};

/** What went wrong. Every function's `error` is one of these or null. */
typedef struct vaecomp_error {
    size_t size;       /**< of the structure; VAECOMP_ERROR_INIT sets it */
    int32_t code;      /**< the code that the function returned */
    char message[500]; /**< one line that names the field and its offset in the file where there is one */
} vaecomp_error;
#define VAECOMP_ERROR_INIT \
    { sizeof(vaecomp_error), VAECOMP_OK, "" }

/** Memory for everything that an archive holds and decodes with, output apart. Called from any thread. */
typedef struct vaecomp_allocator {
    void* context; /**< the caller's, passed to both functions */
    /** Gives `size` bytes at a multiple of `alignment`, a power of two, or null if there are none. */
    void* (*allocate)(void* context, size_t size, size_t alignment);
    /** Takes back what `allocate` gave for the same `size` and `alignment`. */
    void (*deallocate)(void* context, void* data, size_t size, size_t alignment);
} vaecomp_allocator;

/** Threads of the caller's. */
typedef struct vaecomp_runner {
    void* context; /**< the caller's, passed to `run` */
    /** Runs task(work, i) once for each i in [0, tasks), on any threads in any order, and returns when all have ended.
     */
    void (*run)(void* context, size_t tasks, void (*task)(void* work, size_t i), void* work);
} vaecomp_runner;

/** An open archive. */
typedef struct vaecomp_archive vaecomp_archive;

/** How an archive is opened and decoded. */
typedef struct vaecomp_options {
    size_t size;                 /**< of the structure; VAECOMP_OPTIONS_INIT sets it */
    uint32_t threads;            /**< 0: as many as the process may use; without a meaning if there is a runner */
    uint32_t verify;             /**< not 0: compare every tensor with its digest */
    uint64_t memory_limit;       /**< bytes that the archive may hold at a time, output apart; 0: no limit */
    vaecomp_allocator allocator; /**< null functions: malloc and free */
    vaecomp_runner runner;       /**< null function: the library's own threads */
    const vaecomp_archive* pack; /**< of a member: its pack, open; may be closed before the member */
} vaecomp_options;
#define VAECOMP_OPTIONS_INIT \
    { sizeof(vaecomp_options), 0, 1, 0, {NULL, NULL, NULL}, {NULL, NULL}, NULL }

/** A file that the caller reads. */
typedef struct vaecomp_reader {
    void* context;        /**< the caller's, passed to `read` */
    uint64_t file_bytes;  /**< the file's size */
    size_t request_bytes; /**< bytes that lie side by side are asked for together, up to about this many */
    /** Fills `data` with exactly `size` bytes from `offset` on and returns 0, or anything else if it can not. Called
     * from several threads at once. */
    int (*read)(void* context, uint64_t offset, void* data, size_t size);
} vaecomp_reader;

/** A tensor as the index describes it. The name and the shape live as long as the archive. */
typedef struct vaecomp_tensor_info {
    size_t size;         /**< of the structure; VAECOMP_TENSOR_INFO_INIT sets it */
    const char* name;    /**< UTF-8; may contain zeros, and has another zero behind it */
    size_t name_bytes;   /**< the name's length, without the zero behind it */
    const size_t* shape; /**< the lengths of the dimensions */
    size_t rank;         /**< how many dimensions there are */
    size_t elements;     /**< the product of the lengths */
    size_t bytes;        /**< what a buffer for the whole tensor must have */
    int32_t dtype;       /**< of vaecomp_dtype */
    int32_t codec;       /**< of vaecomp_codec */
    size_t same_data_as; /**< of an alias: the tensor with which it shares its data; of others: themselves */
} vaecomp_tensor_info;
#define VAECOMP_TENSOR_INFO_INIT \
    { sizeof(vaecomp_tensor_info), NULL, 0, NULL, 0, 0, 0, 0, 0, 0 }

/** UTF-8 that lives as long as the archive. */
typedef struct vaecomp_string {
    const char* data; /**< may contain zeros, and has another zero behind it */
    size_t bytes;     /**< the length, without the zero behind it */
} vaecomp_string;

/** Where a file's bytes go; they add up to the file's size. */
typedef struct vaecomp_accounting {
    size_t size;          /**< of the structure; VAECOMP_ACCOUNTING_INIT sets it */
    uint64_t container;   /**< header, index and padding */
    uint64_t decoder;     /**< decoders, without their tables */
    uint64_t latents;     /**< latents, without their tables */
    uint64_t weights;     /**< the blocks of quantized tensors and of differences */
    uint64_t tables;      /**< frequency tables, and what else stands before those blocks */
    uint64_t passthrough; /**< raw and lossless tensors */
} vaecomp_accounting;
#define VAECOMP_ACCOUNTING_INIT \
    { sizeof(vaecomp_accounting), 0, 0, 0, 0, 0, 0 }

/** The chunks that one latents section makes. */
typedef struct vaecomp_chunks {
    size_t size;           /**< of the structure; VAECOMP_CHUNKS_INIT sets it */
    uint64_t chunks;       /**< how many there are */
    uint64_t chunk_length; /**< elements of a chunk */
    uint64_t latent;       /**< latents of a chunk */
    uint64_t padding;      /**< elements of the last chunk that belong to no tensor */
} vaecomp_chunks;
#define VAECOMP_CHUNKS_INIT \
    { sizeof(vaecomp_chunks), 0, 0, 0, 0 }

/** Elements that are asked for, and where they go. */
typedef struct vaecomp_output {
    size_t tensor; /**< the tensor's number */
    size_t first;  /**< the first element, in row-major order */
    size_t count;  /**< how many elements */
    void* data;    /**< receives them in host byte order */
    size_t bytes;  /**< what `data` has: exactly what the elements take */
} vaecomp_output;

/** Tensors that are asked for of one member of a pack. */
typedef struct vaecomp_member_outputs {
    vaecomp_archive* member;       /**< open */
    const vaecomp_output* outputs; /**< whole tensors */
    size_t count;                  /**< how many outputs */
} vaecomp_member_outputs;

/**
 * Opens an archive from a file: reads and checks its index.
 * @param path     the file's path, which ends with a zero
 * @param options  null: the defaults
 * @param archive  receives the open archive, for vaecomp_close
 * @param error    describes a failure
 */
VAECOMP_API int vaecomp_open_file(const char* path, const vaecomp_options* options, vaecomp_archive** archive,
                                  vaecomp_error* error);
/**
 * Opens an archive from memory.
 * @param data     the file's bytes; they stay until the archive is closed, those of a pack until its members are as
 * well
 * @param bytes    how many there are
 * @param options  null: the defaults
 * @param archive  receives the open archive, for vaecomp_close
 * @param error    describes a failure
 */
VAECOMP_API int vaecomp_open_memory(const void* data, size_t bytes, const vaecomp_options* options,
                                    vaecomp_archive** archive, vaecomp_error* error);
/**
 * Opens an archive from what a function of the caller's reads.
 * @param reader   is copied; what it needs stays until the archive is closed, for a pack until its members are as well
 * @param options  null: the defaults
 * @param archive  receives the open archive, for vaecomp_close
 * @param error    describes a failure
 */
VAECOMP_API int vaecomp_open_reader(const vaecomp_reader* reader, const vaecomp_options* options,
                                    vaecomp_archive** archive, vaecomp_error* error);
/**
 * Closes an archive.
 * @param archive  which no other thread uses any more; null is fine
 */
VAECOMP_API void vaecomp_close(vaecomp_archive* archive);

/** How many bytes of a file say how long it is. */
#define VAECOMP_HEADER_BYTES 32
/**
 * How many bytes an archive has: what to read from a stream.
 * @param header  the archive's first VAECOMP_HEADER_BYTES bytes
 * @param bytes   receives the size of the whole archive
 * @param error   describes a failure
 */
VAECOMP_API int vaecomp_file_bytes(const void* header, uint64_t* bytes, vaecomp_error* error);

/**
 * How many tensors an archive has; their numbers are 0 and up.
 * @param archive  null has none
 */
VAECOMP_API size_t vaecomp_tensor_count(const vaecomp_archive* archive);
/**
 * Describes a tensor.
 * @param archive  the open archive
 * @param tensor   the tensor's number
 * @param info     receives the description
 * @param error    describes a failure
 */
VAECOMP_API int vaecomp_tensor(const vaecomp_archive* archive, size_t tensor, vaecomp_tensor_info* info,
                               vaecomp_error* error);
/**
 * Finds a tensor by its name.
 * @param archive  the open archive
 * @param name     the whole name, which ends with a zero
 * @param tensor   receives the tensor's number
 * @param error    describes a failure
 */
VAECOMP_API int vaecomp_find(const vaecomp_archive* archive, const char* name, size_t* tensor, vaecomp_error* error);
/**
 * How many entries of metadata an archive has; their numbers are 0 and up.
 * @param archive  null has none
 */
VAECOMP_API size_t vaecomp_metadata_count(const vaecomp_archive* archive);
/**
 * An entry of the metadata.
 * @param archive  the open archive
 * @param entry    the entry's number
 * @param key      receives the key, which no other entry has
 * @param value    receives the value
 * @param error    describes a failure
 */
VAECOMP_API int vaecomp_metadata(const vaecomp_archive* archive, size_t entry, vaecomp_string* key,
                                 vaecomp_string* value, vaecomp_error* error);
/**
 * Says where the file's bytes go; reads the tables of all sections.
 * @param archive     the open archive
 * @param accounting  receives the numbers
 * @param error       describes a failure
 */
VAECOMP_API int vaecomp_account(vaecomp_archive* archive, vaecomp_accounting* accounting, vaecomp_error* error);
/**
 * Describes the chunks of each latents section; reads the tables of these.
 * @param archive  the open archive
 * @param groups   receives the descriptions, as many as it has room for; null if `*count` is 0
 * @param count    holds the length of `groups`, and receives the number of latents sections
 * @param error    describes a failure
 */
VAECOMP_API int vaecomp_chunk_groups(vaecomp_archive* archive, vaecomp_chunks* groups, size_t* count,
                                     vaecomp_error* error);
/** How many bytes a file's hash has. */
#define VAECOMP_HASH_BYTES 32
/**
 * SHA-256 of the file, by which members name their pack; reads the whole file once.
 * @param archive  the open archive
 * @param hash     receives VAECOMP_HASH_BYTES bytes
 * @param error    describes a failure
 */
VAECOMP_API int vaecomp_hash(vaecomp_archive* archive, uint8_t* hash, vaecomp_error* error);
/**
 * Of a member: the VAECOMP_HASH_BYTES bytes of its pack's hash, which live as long as the archive.
 * @param archive  of archives that are no members, and of null, null is returned
 */
VAECOMP_API const uint8_t* vaecomp_pack_hash(const vaecomp_archive* archive);
/**
 * The format version of an archive.
 * @param archive  of null, 0 is returned
 */
VAECOMP_API uint32_t vaecomp_archive_version(const vaecomp_archive* archive);

/**
 * Decodes a whole tensor.
 * @param archive  the open archive
 * @param tensor   the tensor's number
 * @param data     receives the elements in row-major order and host byte order
 * @param bytes    what `data` has: exactly what the tensor's info says
 * @param error    describes a failure
 */
VAECOMP_API int vaecomp_decode(vaecomp_archive* archive, size_t tensor, void* data, size_t bytes, vaecomp_error* error);
/**
 * Decodes rows of a tensor: parts of its first dimension.
 * @param archive  the open archive
 * @param tensor   the tensor's number; it has a dimension
 * @param first    the first row
 * @param count    how many rows
 * @param data     receives their elements in row-major order and host byte order
 * @param bytes    what `data` has: exactly what the rows take
 * @param error    describes a failure
 */
VAECOMP_API int vaecomp_decode_rows(vaecomp_archive* archive, size_t tensor, size_t first, size_t count, void* data,
                                    size_t bytes, vaecomp_error* error);
/**
 * Decodes several tensors or parts at once, which is faster than one by one.
 * @param archive  the open archive
 * @param outputs  what is asked for; no two of the same data
 * @param count    how many outputs
 * @param error    describes a failure
 */
VAECOMP_API int vaecomp_decode_many(vaecomp_archive* archive, const vaecomp_output* outputs, size_t count,
                                    vaecomp_error* error);
/**
 * Decodes tensors of several members of one pack at once, which is faster than member by member. Memory comes from
 * where the pack's does. Threads and verification are those that the first member was opened with.
 * @param members  what is asked for of each member
 * @param count    how many members
 * @param error    describes a failure
 */
VAECOMP_API int vaecomp_decode_members(const vaecomp_member_outputs* members, size_t count, vaecomp_error* error);
/**
 * Checks every byte of the file and every tensor.
 * @param archive  the open archive
 * @param error    describes a failure
 */
VAECOMP_API int vaecomp_verify(vaecomp_archive* archive, vaecomp_error* error);

/** The library's version: "1.2.3". */
VAECOMP_API const char* vaecomp_version(void);
/** The ABI version that the library has. */
VAECOMP_API uint32_t vaecomp_abi_version(void);
/** The newest format version that the library reads. */
VAECOMP_API uint32_t vaecomp_format_version(void);
/**
 * A dtype's name as NumPy, ml_dtypes or torch have it: "bfloat16".
 * @param dtype  of vaecomp_dtype; null is returned for another number
 */
VAECOMP_API const char* vaecomp_dtype_name(int32_t dtype);
/**
 * How many bytes an element takes.
 * @param dtype  of vaecomp_dtype; 0 is returned for another number
 */
VAECOMP_API size_t vaecomp_dtype_bytes(int32_t dtype);
/**
 * A code's name, such as "checksum".
 * @param code  of vaecomp_code; null is returned for another number
 */
VAECOMP_API const char* vaecomp_code_name(int32_t code);

#ifdef __cplusplus
}
#endif

#endif
