// The C interface as a program sees it: arguments, errors, sources, memory, threads.
#include <array>
#include <atomic>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>

#include "encode/byte_writer.hpp"
#include "tests/c_interface.hpp"
#include "tests/seal.hpp"
#include "tests/small_archive.hpp"
#include "tests/small_fleet.hpp"
#include "tests/support.hpp"
#include "vaecomp.h"

namespace vaecomp::core {
namespace {

namespace fs = std::filesystem;
using testing::expect_code;
using testing::expect_failure;
using testing::expect_refused;
using testing::Handle;
using testing::make_small_archive;
using testing::open;
using testing::sample;
using testing::SmallArchive;

// What decoding a tensor gives; `data` becomes its bytes.
int decode(vaecomp_archive* archive, std::size_t tensor, Vector<std::uint8_t>& data) {
    vaecomp_tensor_info info = VAECOMP_TENSOR_INFO_INIT;
    EXPECT_EQ(vaecomp_tensor(archive, tensor, &info, nullptr), VAECOMP_OK);
    data.assign(info.bytes, 0xaa);
    return vaecomp_decode(archive, tensor, data.data(), data.size(), nullptr);
}

bool decodes(vaecomp_archive* archive, const SmallArchive& expected) {
    for (std::size_t t = 0; t < expected.tensors.size(); ++t) {
        Vector<std::uint8_t> data;
        if (decode(archive, t, data) != VAECOMP_OK || data != expected.data[t]) return false;
    }
    return true;
}

// A file of the test's own, removed with its directory.
class TemporaryFile {
  public:
    explicit TemporaryFile(Bytes bytes) {
        std::string name = (fs::temp_directory_path() / "vaecomp-abi-XXXXXX").string();
        EXPECT_NE(mkdtemp(name.data()), nullptr);
        directory_ = name;
        std::ofstream(path(), std::ios::binary)
            .write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
    }
    ~TemporaryFile() { fs::remove_all(directory_); }
    TemporaryFile(const TemporaryFile&) = delete;
    TemporaryFile& operator=(const TemporaryFile&) = delete;

    [[nodiscard]] std::string path() const { return (directory_ / "archive").string(); }
    [[nodiscard]] std::string directory() const { return directory_.string(); }

  private:
    fs::path directory_;
};

// A reader over memory that fails from its read number `fails_at` on, and says how often it was called.
struct Reader {
    Bytes file;
    std::size_t fails_at = SIZE_MAX;
    std::atomic<std::size_t> reads{0};

    vaecomp_reader interface(std::size_t request_bytes = 1) {
        return {this, file.size(), request_bytes,
                [](void* context, std::uint64_t offset, void* data, std::size_t size) {
                    auto& own = *static_cast<Reader*>(context);
                    if (own.reads++ >= own.fails_at) return -1;
                    EXPECT_LE(offset + size, own.file.size());
                    std::memcpy(data, own.file.data() + offset, size);
                    return 0;
                }};
    }
};

TEST(Abi, NamesItsNumbers) {
    EXPECT_STRNE(vaecomp_version(), "");
    EXPECT_EQ(vaecomp_abi_version(), static_cast<std::uint32_t>(VAECOMP_ABI_VERSION));
    EXPECT_EQ(vaecomp_format_version(), 1u);
    EXPECT_STREQ(vaecomp_dtype_name(VAECOMP_BFLOAT16), "bfloat16");
    EXPECT_STREQ(vaecomp_dtype_name(VAECOMP_COMPLEX128), "complex128");
    EXPECT_EQ(vaecomp_dtype_bytes(VAECOMP_COMPLEX128), 16u);
    EXPECT_STREQ(vaecomp_dtype_name(VAECOMP_FLOAT4_E2M1FN_X2), "float4_e2m1fn_x2");
    EXPECT_STREQ(vaecomp_dtype_name(VAECOMP_COMPLEX32), "complex32");
    EXPECT_EQ(vaecomp_dtype_bytes(VAECOMP_COMPLEX32), 4u);
    EXPECT_STREQ(vaecomp_dtype_name(VAECOMP_INT1), "int1");
    EXPECT_STREQ(vaecomp_dtype_name(VAECOMP_UINT7), "uint7");
    EXPECT_EQ(vaecomp_dtype_bytes(VAECOMP_UINT7), 1u);
    EXPECT_STREQ(vaecomp_code_name(VAECOMP_OK), "ok");
    EXPECT_STREQ(vaecomp_code_name(VAECOMP_OUT_OF_MEMORY), "out of memory");
    EXPECT_STREQ(vaecomp_code_name(VAECOMP_INTERNAL), "internal");
    for (const std::int32_t unknown : {-1, VAECOMP_UINT7 + 1, 1 << 30}) {
        EXPECT_EQ(vaecomp_dtype_name(unknown), nullptr);
        EXPECT_EQ(vaecomp_dtype_bytes(unknown), 0u);
        EXPECT_EQ(vaecomp_code_name(unknown), nullptr);
    }
    EXPECT_EQ(vaecomp_code_name(10), nullptr);
}

TEST(Abi, RefusesNullArguments) {
    const Handle archive = open(sample().file);
    const Bytes file = sample().file;
    vaecomp_archive* out = nullptr;
    const vaecomp_reader no_function{nullptr, 0, 0, nullptr};
    std::uint64_t bytes = 0;
    std::size_t number = 0;
    vaecomp_tensor_info info = VAECOMP_TENSOR_INFO_INIT;
    vaecomp_accounting accounting = VAECOMP_ACCOUNTING_INIT;
    vaecomp_string text{};
    const auto* const null = static_cast<vaecomp_archive*>(nullptr);
    auto* const missing = static_cast<vaecomp_archive*>(nullptr);
    const vaecomp_options* const defaults = nullptr;
    std::uint8_t byte = 0;
    expect_refused("path", vaecomp_open_file, nullptr, defaults, &out);
    expect_refused("archive", vaecomp_open_file, "x", defaults, nullptr);
    expect_refused("data", vaecomp_open_memory, nullptr, 1, defaults, &out);
    expect_refused("archive", vaecomp_open_memory, file.data(), file.size(), defaults, nullptr);
    expect_refused("reader", vaecomp_open_reader, nullptr, defaults, &out);
    expect_refused("reader", vaecomp_open_reader, &no_function, defaults, &out);
    expect_refused("header", vaecomp_file_bytes, nullptr, &bytes);
    expect_refused("bytes", vaecomp_file_bytes, file.data(), nullptr);
    expect_refused("archive", vaecomp_tensor, null, 0, &info);
    expect_refused("info", vaecomp_tensor, archive.get(), 0, nullptr);
    expect_refused("archive", vaecomp_find, null, "raw", &number);
    expect_refused("name", vaecomp_find, archive.get(), nullptr, &number);
    expect_refused("tensor", vaecomp_find, archive.get(), "raw", nullptr);
    expect_refused("archive", vaecomp_metadata, null, 0, &text, &text);
    expect_refused("key", vaecomp_metadata, archive.get(), 0, nullptr, &text);
    expect_refused("value", vaecomp_metadata, archive.get(), 0, &text, nullptr);
    expect_refused("archive", vaecomp_account, missing, &accounting);
    expect_refused("accounting", vaecomp_account, archive.get(), nullptr);
    expect_refused("archive", vaecomp_chunk_groups, missing, nullptr, &number);
    expect_refused("count", vaecomp_chunk_groups, archive.get(), nullptr, nullptr);
    number = 1;
    expect_refused("groups", vaecomp_chunk_groups, archive.get(), nullptr, &number);
    expect_refused("archive", vaecomp_decode, missing, 0, &byte, 1);
    expect_refused("data", vaecomp_decode, archive.get(), 0, nullptr, 12);
    expect_refused("archive", vaecomp_decode_rows, missing, 0, 0, 0, &byte, 0);
    expect_refused("data", vaecomp_decode_rows, archive.get(), 0, 0, 1, nullptr, 4);
    expect_refused("archive", vaecomp_decode_many, missing, nullptr, 0);
    expect_refused("outputs", vaecomp_decode_many, archive.get(), nullptr, 1);
    expect_refused("archive", vaecomp_verify, missing);
    expect_refused("archive", vaecomp_hash, missing, &byte);
    expect_refused("hash", vaecomp_hash, archive.get(), nullptr);
    expect_refused("members", vaecomp_decode_members, nullptr, 1);
    EXPECT_EQ(vaecomp_decode_members(nullptr, 0, nullptr), VAECOMP_OK);
    EXPECT_EQ(vaecomp_pack_hash(nullptr), nullptr);
    vaecomp_close(nullptr);
    EXPECT_EQ(vaecomp_tensor_count(nullptr), 0u);
    EXPECT_EQ(vaecomp_metadata_count(nullptr), 0u);
    EXPECT_EQ(vaecomp_archive_version(nullptr), 0u);
}

TEST(Abi, RefusesWrongArguments) {
    const Handle archive = open(sample().file);
    vaecomp_archive* const own = archive.get();
    vaecomp_tensor_info info = VAECOMP_TENSOR_INFO_INIT;
    vaecomp_string text{};
    std::size_t number = 0;
    std::array<std::uint8_t, 64> data{};
    expect_refused("no such tensor", vaecomp_tensor, own, 7, &info);
    expect_refused("no tensor 'absent'", vaecomp_find, own, "absent", &number);
    expect_refused("no such entry", vaecomp_metadata, own, 1, &text, &text);
    expect_refused("no such tensor", vaecomp_decode, own, 7, data.data(), 12);
    expect_refused("size", vaecomp_decode, own, 0, data.data(), 11);
    expect_refused("size", vaecomp_decode, own, 0, data.data(), 13);
    expect_refused("fewer rows", vaecomp_decode_rows, own, 0, 0, 4, data.data(), 16);
    expect_refused("fewer rows", vaecomp_decode_rows, own, 0, 4, 0, data.data(), 0);
    expect_refused("fewer rows", vaecomp_decode_rows, own, 0, 2, SIZE_MAX, data.data(), 4);
    expect_refused("no rows", vaecomp_decode_rows, own, testing::scalar_tensor, 0, 1, data.data(), 2);
    expect_refused("no such tensor", vaecomp_decode_rows, own, 7, 0, 1, data.data(), 4);
    vaecomp_output output{0, 5, 2, data.data(), 4};
    expect_refused("not as many elements", vaecomp_decode_many, own, &output, 1);
    output = {0, SIZE_MAX, 2, data.data(), 4};
    expect_refused("not as many elements", vaecomp_decode_many, own, &output, 1);
    output = {7, 0, 2, data.data(), 4};
    expect_refused("no such tensor", vaecomp_decode_many, own, &output, 1);
    const vaecomp_output twice[] = {{0, 0, 1, data.data(), 2}, {0, 1, 1, data.data() + 2, 2}};
    expect_refused("two destinations", vaecomp_decode_many, own, twice, 2);
    EXPECT_TRUE(decodes(own, sample()));
}

TEST(Abi, RefusesHalfAnAllocator) {
    const Bytes file = sample().file;
    vaecomp_options options = VAECOMP_OPTIONS_INIT;
    vaecomp_archive* out = nullptr;
    options.allocator.allocate = [](void*, std::size_t, std::size_t) -> void* { return nullptr; };
    expect_refused("both functions", vaecomp_open_memory, file.data(), file.size(), &options, &out);
}

// A message that ends inside a character would be no text.
TEST(Abi, CutsLongMessagesBetweenCharacters) {
    const Handle archive = open(sample().file);
    for (std::size_t before = 0; before < 3; ++before) {
        std::string name(before, 'x');
        for (int i = 0; i < 300; ++i) name += "\xe2\x82\xac";
        vaecomp_error error = VAECOMP_ERROR_INIT;
        std::size_t tensor = 0;
        EXPECT_EQ(vaecomp_find(archive.get(), name.c_str(), &tensor, &error), VAECOMP_INVALID_ARGUMENT);
        const std::string message = error.message;
        EXPECT_TRUE(is_utf8(bytes_of(message)));
        EXPECT_GT(message.size(), sizeof(error.message) - 4);
    }
}

TEST(Abi, DescribesTensorsAndMetadata) {
    const Handle archive = open(sample().file);
    ASSERT_EQ(vaecomp_tensor_count(archive.get()), 7u);
    vaecomp_tensor_info info = VAECOMP_TENSOR_INFO_INIT;
    ASSERT_EQ(vaecomp_tensor(archive.get(), testing::tied_tensor, &info, nullptr), VAECOMP_OK);
    EXPECT_STREQ(info.name, "tied");
    EXPECT_EQ(info.name_bytes, 4u);
    ASSERT_EQ(info.rank, 2u);
    EXPECT_EQ(info.shape[0], 2000u);
    EXPECT_EQ(info.shape[1], 100u);
    EXPECT_EQ(info.elements, 200000u);
    EXPECT_EQ(info.bytes, 800000u);
    EXPECT_EQ(info.dtype, VAECOMP_FLOAT32);
    EXPECT_EQ(info.codec, VAECOMP_ALIAS);
    EXPECT_EQ(info.same_data_as, testing::quantized_tensor);
    std::size_t found = 0;
    EXPECT_EQ(vaecomp_find(archive.get(), "latent", &found, nullptr), VAECOMP_OK);
    EXPECT_EQ(found, testing::latent_tensor);
    vaecomp_string key{}, value{};
    ASSERT_EQ(vaecomp_metadata_count(archive.get()), 1u);
    EXPECT_EQ(vaecomp_metadata(archive.get(), 0, &key, &value, nullptr), VAECOMP_OK);
    EXPECT_STREQ(key.data, "key");
    EXPECT_EQ(value.bytes, 5u);
    EXPECT_EQ(vaecomp_archive_version(archive.get()), 1u);
    std::uint64_t bytes = 0;
    EXPECT_EQ(vaecomp_file_bytes(sample().file.data(), &bytes, nullptr), VAECOMP_OK);
    EXPECT_EQ(bytes, sample().file.size());
    std::size_t count = 0;
    EXPECT_EQ(vaecomp_chunk_groups(archive.get(), nullptr, &count, nullptr), VAECOMP_OK);
    EXPECT_EQ(count, 1u);
    vaecomp_chunks groups[2] = {VAECOMP_CHUNKS_INIT, VAECOMP_CHUNKS_INIT};
    count = 2;
    EXPECT_EQ(vaecomp_chunk_groups(archive.get(), groups, &count, nullptr), VAECOMP_OK);
    EXPECT_EQ(count, 1u);
    EXPECT_EQ(groups[0].chunk_length, 3u);
    EXPECT_EQ(groups[0].padding, 1u);
    vaecomp_accounting part = VAECOMP_ACCOUNTING_INIT;
    EXPECT_EQ(vaecomp_account(archive.get(), &part, nullptr), VAECOMP_OK);
    EXPECT_EQ(part.container + part.decoder + part.latents + part.weights + part.tables + part.passthrough,
              sample().file.size());
}

TEST(Abi, ReadsTheSameFromFileMemoryAndReader) {
    const TemporaryFile file(sample().file);
    Reader reader{sample().file};
    const vaecomp_reader interface = reader.interface(1 << 16);
    for (const int way : {0, 1, 2}) {
        vaecomp_archive* archive = nullptr;
        const Bytes bytes = sample().file;
        const int code = way == 0   ? vaecomp_open_file(file.path().c_str(), nullptr, &archive, nullptr)
                         : way == 1 ? vaecomp_open_memory(bytes.data(), bytes.size(), nullptr, &archive, nullptr)
                                    : vaecomp_open_reader(&interface, nullptr, &archive, nullptr);
        const Handle handle(archive);
        ASSERT_EQ(code, VAECOMP_OK);
        EXPECT_TRUE(decodes(archive, sample()));
        EXPECT_EQ(vaecomp_verify(archive, nullptr), VAECOMP_OK);
    }
}

TEST(Abi, NamesFilesThatItCanNotRead) {
    const TemporaryFile file(Bytes(sample().file).first(100));
    vaecomp_archive* out = nullptr;
    const vaecomp_options* const defaults = nullptr;
    expect_failure(VAECOMP_IO, "absent", vaecomp_open_file, (file.path() + "absent").c_str(), defaults, &out);
    expect_failure(VAECOMP_IO, "no regular file", vaecomp_open_file, file.directory().c_str(), defaults, &out);
    expect_failure(VAECOMP_MALFORMED, "file size at offset 16", vaecomp_open_file, file.path().c_str(), defaults, &out);
    expect_failure(VAECOMP_MALFORMED, "magic", vaecomp_open_memory, nullptr, 0, defaults, &out);
    EXPECT_EQ(out, nullptr);
}

TEST(Abi, TellsKindsOfFailureApart) {
    vaecomp_archive* out = nullptr;
    const vaecomp_options* const defaults = nullptr;
    Vector<std::uint8_t> file = sample().file;
    file[8] = 2;
    expect_failure(VAECOMP_UNSUPPORTED_VERSION, "version 2", vaecomp_open_memory, file.data(), file.size(), defaults,
                   &out);
    file = sample().file;
    file[40] ^= 1;
    expect_failure(VAECOMP_CHECKSUM, "offset 24", vaecomp_open_memory, file.data(), file.size(), defaults, &out);
    file = sample().file;
    file[file.size() - 1] ^= 1;  // of the latents
    const Handle archive = open(file);
    float latent[5];
    expect_failure(VAECOMP_CHECKSUM, "section 4", vaecomp_decode, archive.get(), testing::latent_tensor, latent,
                   sizeof(latent));
    expect_failure(VAECOMP_CHECKSUM, "section 4", vaecomp_verify, archive.get());
    std::int16_t raw[6];
    EXPECT_EQ(vaecomp_decode(archive.get(), testing::raw_tensor, raw, sizeof(raw), nullptr), VAECOMP_OK);
}

TEST(Abi, DecodesRowsOfEveryTensor) {
    const Handle archive = open(sample().file);
    for (std::size_t t = 0; t < sample().tensors.size(); ++t) {
        vaecomp_tensor_info info = VAECOMP_TENSOR_INFO_INIT;
        ASSERT_EQ(vaecomp_tensor(archive.get(), t, &info, nullptr), VAECOMP_OK);
        if (info.rank == 0) continue;
        const std::size_t rows = info.shape[0], row = rows == 0 ? 0 : info.bytes / rows;
        for (const std::size_t first : {std::size_t{0}, rows / 3, rows}) {
            const std::size_t count = (rows - first) / 2;
            Vector<std::uint8_t> data(count * row);
            EXPECT_EQ(vaecomp_decode_rows(archive.get(), t, first, count, data.data(), data.size(), nullptr),
                      VAECOMP_OK);
            EXPECT_TRUE(std::equal(data.begin(), data.end(), sample().data[t].data() + first * row)) << info.name;
        }
    }
}

TEST(Abi, DecodesSeveralPartsAtOnce) {
    const Handle archive = open(sample().file);
    std::int16_t raw[2];
    Vector<float> quantized(1000);
    Vector<std::uint8_t> planes(sample().data[testing::planes_tensor].size());
    const vaecomp_output outputs[] = {{testing::raw_tensor, 3, 2, raw, sizeof(raw)},
                                      {testing::tied_tensor, 150000, 1000, quantized.data(), 4000},
                                      {testing::planes_tensor, 0, planes.size() / 2, planes.data(), planes.size()},
                                      {testing::empty_tensor, 0, 0, nullptr, 0}};
    ASSERT_EQ(vaecomp_decode_many(archive.get(), outputs, 4, nullptr), VAECOMP_OK);
    EXPECT_EQ(raw[0], -4);
    EXPECT_EQ(raw[1], 5);
    EXPECT_EQ(std::memcmp(quantized.data(), sample().data[testing::quantized_tensor].data() + 600000, 4000), 0);
    EXPECT_EQ(planes, sample().data[testing::planes_tensor]);
    EXPECT_EQ(vaecomp_decode_many(archive.get(), nullptr, 0, nullptr), VAECOMP_OK);
    // An alias and its target are the same data.
    const vaecomp_output both[] = {{testing::quantized_tensor, 0, 1, quantized.data(), 4},
                                   {testing::tied_tensor, 1, 1, quantized.data() + 1, 4}};
    expect_refused("two destinations", vaecomp_decode_many, archive.get(), both, 2);
}

// Whichever read fails, the error says so; the archive can be used again when the reader can.
TEST(Abi, SurvivesAReaderThatFailsAtAnyTime) {
    const SmallArchive small = make_small_archive(4);
    Reader reader{small.file};
    const vaecomp_reader interface = reader.interface();
    bool opened = false, done = false;
    for (reader.fails_at = 0; !done; ++reader.fails_at) {
        ASSERT_LT(reader.fails_at, 1000u);
        reader.reads = 0;
        vaecomp_archive* archive = nullptr;
        vaecomp_error error = VAECOMP_ERROR_INIT;
        int code = vaecomp_open_reader(&interface, nullptr, &archive, &error);
        const Handle handle(archive);
        opened = code == VAECOMP_OK;
        if (opened) code = vaecomp_verify(archive, &error);
        done = code == VAECOMP_OK;
        if (done) break;
        expect_code(VAECOMP_IO, "the reader failed to read", code, error);
        if (!opened) continue;
        const std::size_t fails_at = reader.fails_at;
        reader.fails_at = SIZE_MAX;
        EXPECT_TRUE(decodes(archive, small));
        reader.fails_at = fails_at;
    }
    EXPECT_GT(reader.fails_at, 5u);
}

// Counts the memory that is taken, and checks that it comes back in the same pieces.
class CountingAllocator {
  public:
    [[nodiscard]] vaecomp_allocator interface() {
        return {this,
                [](void* context, std::size_t size, std::size_t alignment) {
                    return static_cast<CountingAllocator*>(context)->allocate(size, alignment);
                },
                [](void* context, void* data, std::size_t size, std::size_t alignment) {
                    static_cast<CountingAllocator*>(context)->deallocate(data, size, alignment);
                }};
    }
    [[nodiscard]] std::size_t used() const { return used_; }
    [[nodiscard]] std::size_t max() const { return max_; }
    [[nodiscard]] std::size_t calls() const { return calls_; }

  private:
    void* allocate(std::size_t size, std::size_t alignment) {
        EXPECT_NE(alignment, 0u);
        EXPECT_EQ(alignment & (alignment - 1), 0u);
        void* const data = ::operator new(size, std::align_val_t(alignment));
        const std::scoped_lock lock(mutex_);
        taken_[data] = {size, alignment};
        used_ += size;
        max_ = std::max(max_, used_);
        ++calls_;
        return data;
    }
    void deallocate(void* data, std::size_t size, std::size_t alignment) {
        const std::scoped_lock lock(mutex_);
        EXPECT_EQ(taken_.at(data), std::pair(size, alignment));
        taken_.erase(data);
        used_ -= size;
        ::operator delete(data, std::align_val_t(alignment));
    }

    std::mutex mutex_;
    std::map<void*, std::pair<std::size_t, std::size_t>> taken_;
    std::size_t used_ = 0, max_ = 0, calls_ = 0;
};

TEST(Abi, TakesItsMemoryFromTheCallersAllocatorAndGivesItBack) {
    CountingAllocator allocator;
    vaecomp_options options = VAECOMP_OPTIONS_INIT;
    options.allocator = allocator.interface();
    options.threads = 3;
    {
        const Handle archive = open(sample().file, options);
        EXPECT_GT(allocator.used(), 0u);
        EXPECT_TRUE(decodes(archive.get(), sample()));
        const std::size_t held = allocator.used();
        EXPECT_TRUE(decodes(archive.get(), sample()));
        EXPECT_EQ(allocator.used(), held);
        EXPECT_EQ(vaecomp_verify(archive.get(), nullptr), VAECOMP_OK);
        EXPECT_EQ(allocator.used(), held);
        // The tensors that verifying decoded were in this memory.
        EXPECT_GT(allocator.max(), 800000u);
        vaecomp_accounting accounting = VAECOMP_ACCOUNTING_INIT;
        EXPECT_EQ(vaecomp_account(archive.get(), &accounting, nullptr), VAECOMP_OK);
    }
    EXPECT_EQ(allocator.used(), 0u);
}

TEST(Abi, GivesMemoryBackAlsoAfterFailures) {
    CountingAllocator allocator;
    vaecomp_options options = VAECOMP_OPTIONS_INIT;
    options.allocator = allocator.interface();
    const SmallArchive small = make_small_archive(4);
    Vector<std::uint8_t> file = small.file;
    for (std::size_t at = 0; at < file.size(); ++at) {
        file[at] ^= 0x55;
        vaecomp_archive* archive = nullptr;
        int code = vaecomp_open_memory(file.data(), file.size(), &options, &archive, nullptr);
        if (code == VAECOMP_OK) code = vaecomp_verify(archive, nullptr);
        EXPECT_NE(code, VAECOMP_OK) << at;
        vaecomp_close(archive);
        EXPECT_EQ(allocator.used(), 0u) << at;
        file[at] ^= 0x55;
    }
}

// Less memory than needed is an error, down to one byte. What fits goes on working.
TEST(Abi, StaysWithinTheMemoryLimit) {
    bool opened = false, verified = false, fitted = false;
    for (std::uint64_t limit = 1; !verified; limit *= 2) {
        ASSERT_LT(limit, std::uint64_t{1} << 30);
        CountingAllocator allocator;
        vaecomp_options options = VAECOMP_OPTIONS_INIT;
        options.allocator = allocator.interface();
        options.memory_limit = limit;
        options.threads = 1;
        vaecomp_archive* archive = nullptr;
        vaecomp_error error = VAECOMP_ERROR_INIT;
        int code = vaecomp_open_memory(sample().file.data(), sample().file.size(), &options, &archive, &error);
        const Handle handle(archive);
        opened = code == VAECOMP_OK;
        if (opened) code = vaecomp_verify(archive, &error);
        verified = code == VAECOMP_OK;
        if (!verified) expect_code(VAECOMP_MEMORY_LIMIT, "raise memory_limit", code, error);
        std::int16_t raw[6];
        if (opened && !verified && vaecomp_decode(archive, 0, raw, sizeof(raw), nullptr) == VAECOMP_OK) fitted = true;
        EXPECT_LE(allocator.max(), limit);
    }
    EXPECT_TRUE(fitted);
}

TEST(Abi, ReportsAnAllocatorThatHasNothing) {
    vaecomp_options options = VAECOMP_OPTIONS_INIT;
    options.allocator = {nullptr, [](void*, std::size_t, std::size_t) -> void* { return nullptr; },
                         [](void*, void*, std::size_t, std::size_t) { ADD_FAILURE(); }};
    vaecomp_archive* archive = nullptr;
    const Bytes file = sample().file;
    expect_failure(VAECOMP_OUT_OF_MEMORY, "out of memory", vaecomp_open_memory, file.data(), file.size(), &options,
                   &archive);
    EXPECT_EQ(archive, nullptr);
}

// Runs each task on a thread of its own, and none from `skipped_from` on.
struct ThreadRunner {
    std::size_t skipped_from = SIZE_MAX;
    std::atomic<std::size_t> runs{0};

    vaecomp_runner interface() {
        return {this, [](void* context, std::size_t tasks, void (*task)(void*, std::size_t), void* work) {
                    auto& own = *static_cast<ThreadRunner*>(context);
                    ++own.runs;
                    std::vector<std::thread> threads;
                    for (std::size_t i = tasks; i-- > 0;) {
                        if (i < own.skipped_from) threads.emplace_back(task, work, i);
                    }
                    for (std::thread& thread : threads) thread.join();
                }};
    }
};

TEST(Abi, SharesWorkThroughTheCallersRunner) {
    ThreadRunner runner;
    CountingAllocator allocator;
    vaecomp_options options = VAECOMP_OPTIONS_INIT;
    options.runner = runner.interface();
    options.allocator = allocator.interface();
    {
        const Handle archive = open(sample().file, options);
        EXPECT_TRUE(decodes(archive.get(), sample()));
        EXPECT_EQ(vaecomp_verify(archive.get(), nullptr), VAECOMP_OK);
    }
    EXPECT_GT(runner.runs, 2u);
    EXPECT_EQ(allocator.used(), 0u);
}

TEST(Abi, NoticesARunnerThatSkipsTasks) {
    ThreadRunner runner;
    vaecomp_options options = VAECOMP_OPTIONS_INIT;
    options.runner = runner.interface();
    const Handle archive = open(sample().file, options);
    Vector<float> data(200000);
    for (runner.skipped_from = 0; runner.skipped_from < 2; ++runner.skipped_from) {
        expect_failure(VAECOMP_INTERNAL, "did not run every task", vaecomp_decode, archive.get(),
                       testing::quantized_tensor, data.data(), 800000);
    }
    runner.skipped_from = SIZE_MAX;
    EXPECT_TRUE(decodes(archive.get(), sample()));
}

TEST(Abi, CarriesFailuresOutOfTheRunner) {
    Vector<std::uint8_t> file = sample().file;
    const MemorySource source(file);
    const Section quantized = read_index(source).sections[2];
    file[static_cast<std::size_t>(quantized.end() - 1)] ^= 1;  // of the last block
    ThreadRunner runner;
    vaecomp_options options = VAECOMP_OPTIONS_INIT;
    options.runner = runner.interface();
    const Handle archive = open(file, options);
    Vector<float> data(200000);
    expect_failure(VAECOMP_CHECKSUM, "section 2: block at offset", vaecomp_decode, archive.get(),
                   testing::quantized_tensor, data.data(), 800000);
}

void run_threads(std::size_t count, const std::function<void(std::size_t)>& body) {
    std::vector<std::thread> threads;
    for (std::size_t i = 0; i < count; ++i) threads.emplace_back(body, i);
    for (std::thread& thread : threads) thread.join();
}

TEST(Abi, DecodesOneArchiveFromManyThreads) {
    const Handle archive = open(sample().file);
    std::atomic<int> failures{0};
    run_threads(8, [&](std::size_t) {
        for (int repeat = 0; repeat < 3; ++repeat) {
            if (!decodes(archive.get(), sample()) || vaecomp_verify(archive.get(), nullptr) != VAECOMP_OK) ++failures;
        }
    });
    EXPECT_EQ(failures, 0);
}

TEST(Abi, DecodesManyArchivesFromManyThreads) {
    std::atomic<int> failures{0};
    std::array<SmallArchive, 8> archives;
    for (std::size_t i = 0; i < archives.size(); ++i) archives[i] = make_small_archive(1 + 400 * i);
    run_threads(archives.size(), [&](std::size_t i) {
        for (int repeat = 0; repeat < 3; ++repeat) {
            if (!decodes(open(archives[i].file).get(), archives[i])) ++failures;
        }
    });
    EXPECT_EQ(failures, 0);
}

vaecomp_options with_pack(const Handle& pack) {
    vaecomp_options options = VAECOMP_OPTIONS_INIT;
    options.pack = pack.get();
    return options;
}

TEST(AbiFleet, AMemberNeedsItsPack) {
    const testing::SmallMember member(5);
    vaecomp_archive* archive = nullptr;
    const vaecomp_options* const defaults = nullptr;
    const Bytes file = member.file;
    const std::string hash = hex(testing::sha256(testing::small_pack().file));
    expect_failure(VAECOMP_MISSING_PACK, hash.c_str(), vaecomp_open_memory, file.data(), file.size(), defaults,
                   &archive);
    const Handle pack = open(testing::small_pack().file), other = open(sample().file);
    const vaecomp_options wrong = with_pack(other);
    expect_failure(VAECOMP_MISSING_PACK, hash.c_str(), vaecomp_open_memory, file.data(), file.size(), &wrong, &archive);
    EXPECT_EQ(archive, nullptr);
    // A file that is no member needs none.
    EXPECT_TRUE(decodes(open(sample().file, with_pack(pack)).get(), sample()));
    EXPECT_NE(open(file, with_pack(pack)), nullptr);
}

TEST(AbiFleet, NamesFilesByTheirHash) {
    const testing::SmallMember member(5);
    const Handle pack = open(testing::small_pack().file), archive = open(member.file, with_pack(pack));
    const Sha256 expected = testing::sha256(testing::small_pack().file);
    Sha256 hash{};
    EXPECT_EQ(vaecomp_hash(pack.get(), hash.data(), nullptr), VAECOMP_OK);
    EXPECT_EQ(hash, expected);
    EXPECT_EQ(vaecomp_pack_hash(pack.get()), nullptr);
    ASSERT_NE(vaecomp_pack_hash(archive.get()), nullptr);
    EXPECT_EQ(std::memcmp(vaecomp_pack_hash(archive.get()), expected.data(), VAECOMP_HASH_BYTES), 0);
}

bool decodes(vaecomp_archive* archive, const testing::SmallMember& member) {
    Vector<std::uint8_t> weight, bias;
    return decode(archive, 0, weight) == VAECOMP_OK && decode(archive, 1, bias) == VAECOMP_OK &&
           std::memcmp(weight.data(), member.values.data(), weight.size()) == 0 &&
           std::memcmp(bias.data(), testing::small_pack().bias.data(), bias.size()) == 0;
}

TEST(AbiFleet, AMemberOutlivesTheHandleOfItsPack) {
    const testing::SmallMember member(5);
    CountingAllocator allocator;
    vaecomp_options options = VAECOMP_OPTIONS_INIT;
    options.allocator = allocator.interface();
    {
        Handle pack = open(testing::small_pack().file, options);
        const Handle archive = open(member.file, with_pack(pack)), again = open(member.file, with_pack(pack));
        pack.reset();
        EXPECT_TRUE(decodes(archive.get(), member));
        const std::size_t held = allocator.used();
        EXPECT_TRUE(decodes(again.get(), member));  // what the pack has decoded is there
        EXPECT_EQ(allocator.used(), held);
        EXPECT_EQ(vaecomp_verify(archive.get(), nullptr), VAECOMP_OK);
    }
    EXPECT_EQ(allocator.used(), 0u);
}

TEST(AbiFleet, DecodesManyMembersAtOnce) {
    const Handle pack = open(testing::small_pack().file);
    Vector<std::unique_ptr<testing::SmallMember>> members;
    Vector<Handle> archives;
    Vector<Vector<float>> weights;
    Vector<vaecomp_output> outputs;
    Vector<vaecomp_member_outputs> wanted;
    for (unsigned m = 0; m < 30; ++m) {
        members.push_back(std::make_unique<testing::SmallMember>(m));
        archives.push_back(open(members.back()->file, with_pack(pack)));
        weights.emplace_back(testing::elements);
    }
    for (Vector<float>& weight : weights) {
        outputs.push_back({0, 0, weight.size(), weight.data(), weight.size() * sizeof(float)});
    }
    for (std::size_t m = 0; m < members.size(); ++m) wanted.push_back({archives[m].get(), &outputs[m], 1});
    EXPECT_EQ(vaecomp_decode_members(wanted.data(), wanted.size(), nullptr), VAECOMP_OK);
    for (std::size_t m = 0; m < members.size(); ++m) {
        EXPECT_EQ(std::memcmp(weights[m].data(), members[m]->values.data(), outputs[m].bytes), 0) << m;
    }

    const auto* const first = wanted.data();
    outputs[0].count = 1;
    outputs[0].bytes = sizeof(float);
    expect_refused("whole tensors", vaecomp_decode_members, first, 1);
    outputs[0] = {7, 0, 0, nullptr, 0};
    expect_refused("no such tensor", vaecomp_decode_members, first, 1);
    wanted[0] = {pack.get(), nullptr, 0};
    expect_refused("no member", vaecomp_decode_members, first, 1);
    wanted[0] = {nullptr, nullptr, 0};
    expect_refused("no member", vaecomp_decode_members, first, 1);
    wanted[1] = {archives[1].get(), nullptr, 1};
    expect_refused("outputs", vaecomp_decode_members, first + 1, 1);
    // Another open pack, though of the same file.
    const Handle again = open(testing::small_pack().file), stranger = open(members[3]->file, with_pack(again));
    wanted[3].member = stranger.get();
    expect_refused("different packs", vaecomp_decode_members, first + 2, 2);
}

constexpr std::uint64_t terabyte = std::uint64_t{1} << 40;

// A file with a section whose contents claim what is not there. All else is right.
Vector<std::uint8_t> claim(SectionKind kind, std::optional<Codec> codec, std::initializer_list<std::uint64_t> numbers) {
    ByteWriter section;
    for (const std::uint64_t number : numbers) section.varint(number);
    section.bytes().resize(700);
    const NewSection sections[] = {{kind, section.bytes()}};
    Vector<Tensor> tensors;
    if (codec) {
        tensors.push_back(make_small_archive(1).tensors[testing::latent_tensor]);
        tensors[0].section = 0;
        tensors[0].codec = *codec;
    }
    return write_archive({}, sections, tensors);
}

void expect_cheap_failure(const Vector<std::uint8_t>& file) {
    ASSERT_LT(file.size(), 2048u);
    CountingAllocator allocator;
    vaecomp_options options = VAECOMP_OPTIONS_INIT;
    options.allocator = allocator.interface();
    vaecomp_archive* archive = nullptr;
    vaecomp_error error = VAECOMP_ERROR_INIT;
    int code = vaecomp_open_memory(file.data(), file.size(), &options, &archive, &error);
    if (code == VAECOMP_OK) code = vaecomp_verify(archive, &error);
    vaecomp_close(archive);
    EXPECT_EQ(code, VAECOMP_MALFORMED) << error.message;
    EXPECT_LT(allocator.max(), 65536u) << error.message;
}

TEST(Abi, TakesNoMemoryForClaims) {
    // The file's size, and a section's and a tensor's in its index.
    Vector<std::uint8_t> file = make_small_archive(1).file;
    store_le(file.data() + 16, terabyte);
    testing::reseal_header(file);
    expect_cheap_failure(file);
    for (const bool of_section : {true, false}) {
        ByteWriter index;
        index.varint(0);
        index.varint(1);
        index.fixed(static_cast<std::uint8_t>(of_section ? SectionKind::raw : SectionKind::lossless));
        index.fixed(std::uint8_t{0});
        index.varint(of_section ? terabyte : 0);
        index.fixed(std::uint32_t{0});
        index.varint(1);
        index.front_coded("x", "");
        index.fixed(static_cast<std::uint8_t>(of_section ? Codec::raw : Codec::lossless));
        index.fixed(static_cast<std::uint8_t>(DType::u8));
        index.fixed(std::uint8_t{1});
        index.varint(terabyte);
        index.varint(0);
        index.fixed(std::uint64_t{0});
        ByteWriter writer;
        writer.append(magic);
        writer.fixed(format_version);
        writer.fixed(std::uint16_t{0});
        writer.fixed(static_cast<std::uint32_t>(index.size()));
        writer.fixed(std::uint64_t{header_bytes + index.size()});
        writer.fixed(std::uint64_t{0});  // the checksums
        writer.append(index.bytes());
        testing::reseal(writer.bytes());
        expect_cheap_failure(writer.bytes());
    }
    // Chunks, a decoder's weights, a matrix's exponents, a plane's symbols.
    expect_cheap_failure(claim(SectionKind::latents, Codec::latent, {0, 3, std::uint64_t{1} << 32, 65536, 1}));
    expect_cheap_failure(claim(SectionKind::integer_decoder, std::nullopt, {8, 1 << 20, 1 << 20}));
    expect_cheap_failure(claim(SectionKind::integer_decoder, std::nullopt, {1, 1, 1 << 28}));
    expect_cheap_failure(claim(SectionKind::fleet, std::nullopt, {0, 0, 65536, 0, 1 << 28, 256}));
    expect_cheap_failure(claim(SectionKind::quantized, Codec::quantized, {500, 0, 0x80, 1, 0, terabyte}));
    expect_cheap_failure(claim(SectionKind::lossless, Codec::lossless, {500, 1, terabyte}));
}

}  // namespace
}  // namespace vaecomp::core
