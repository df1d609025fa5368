// Every allocation fails once: the library's own, which go through operator new, and those of the caller's allocator.
#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdlib>
#include <memory>
#include <new>

#include "tests/small_archive.hpp"
#include "tests/small_fleet.hpp"
#include "tests/support.hpp"
#include "vaecomp.h"

namespace {

constexpr std::size_t never = SIZE_MAX;

// How many allocations succeed before one fails, and how many of operator new are not given back yet.
std::atomic<std::size_t> left{never};
std::atomic<std::ptrdiff_t> alive{0};
std::atomic<std::size_t> largest{0};

bool fails() { return left != never && left-- == 0; }

constexpr std::size_t usual = alignof(std::max_align_t);

void* take(std::size_t size, std::size_t alignment) {
    if (fails()) return nullptr;
    const std::size_t unit = std::max(usual, alignment);
    void* const data = std::aligned_alloc(unit, std::max(unit, (size + unit - 1) / unit * unit));
    if (data != nullptr) ++alive;
    return data;
}

void* take_and_note(std::size_t size, std::size_t alignment) {
    if (largest < size) largest = size;
    return take(size, alignment);
}

void* take_or_throw(std::size_t size, std::size_t alignment) {
    if (void* const data = take_and_note(size, alignment)) return data;
    throw std::bad_alloc();
}

void give(void* data) noexcept {
    if (data != nullptr) --alive;
    std::free(data);
}

}  // namespace

void* operator new(std::size_t size) { return take_or_throw(size, usual); }
void* operator new(std::size_t size, std::align_val_t alignment) {
    return take_or_throw(size, static_cast<std::size_t>(alignment));
}
void* operator new(std::size_t size, const std::nothrow_t&) noexcept { return take_and_note(size, usual); }
void* operator new(std::size_t size, std::align_val_t alignment, const std::nothrow_t&) noexcept {
    return take_and_note(size, static_cast<std::size_t>(alignment));
}
void operator delete(void* data) noexcept { give(data); }
void operator delete(void* data, std::size_t) noexcept { give(data); }
void operator delete(void* data, std::align_val_t) noexcept { give(data); }
void operator delete(void* data, std::size_t, std::align_val_t) noexcept { give(data); }

namespace vaecomp::core {
namespace {

using testing::make_small_archive;
using testing::SmallArchive;

// Small enough to be decoded once for every allocation, and still of two blocks.
const SmallArchive& sample() {
    static const SmallArchive archive = make_small_archive(1400);
    return archive;
}

// The caller's own memory, which counts as well.
vaecomp_allocator own_allocator() {
    return {nullptr, [](void*, std::size_t size, std::size_t alignment) { return take(size, alignment); },
            [](void*, void* data, std::size_t, std::size_t) { give(data); }};
}

// The caller's buffers, which are there before.
struct Buffers {
    std::array<std::uint8_t, 1400 * 400> data{};
    std::array<vaecomp_chunks, 1> groups{VAECOMP_CHUNKS_INIT};
};

// A file, or a pack and a member of it.
struct Files {
    const Vector<std::uint8_t>& file;
    const Vector<std::uint8_t>* pack = nullptr;
};

Files sample_alone() { return {sample().file}; }
Files sample_member() {
    static const testing::SmallMember member(7);
    return {member.file, &testing::small_pack().file};
}
Files sample_differences_member() {
    static const testing::DifferenceMember member;
    return {member.file, &testing::small_pack().file};
}

// Asks an archive for everything, and returns the first failure.
int use(vaecomp_archive* archive, Buffers& buffers) {
    vaecomp_error error = VAECOMP_ERROR_INIT;
    for (std::size_t t = 0; t < vaecomp_tensor_count(archive); ++t) {
        vaecomp_tensor_info info = VAECOMP_TENSOR_INFO_INIT;
        if (const int code = vaecomp_tensor(archive, t, &info, &error)) return code;
        const std::size_t rows = info.rank == 0 ? 0 : info.shape[0];
        if (const int code = vaecomp_decode(archive, t, buffers.data.data(), info.bytes, &error)) return code;
        if (rows == 0) continue;
        const std::size_t row = info.bytes / rows;
        if (const int code = vaecomp_decode_rows(archive, t, 1, 1, buffers.data.data(), row, &error)) return code;
    }
    vaecomp_accounting accounting = VAECOMP_ACCOUNTING_INIT;
    std::size_t count = 1;
    if (const int code = vaecomp_account(archive, &accounting, &error)) return code;
    if (const int code = vaecomp_chunk_groups(archive, buffers.groups.data(), &count, &error)) return code;
    return vaecomp_verify(archive, &error);
}

int open_and_use(const vaecomp_options& options, const Files& files, Buffers& buffers) {
    vaecomp_archive *pack = nullptr, *archive = nullptr;
    vaecomp_error error = VAECOMP_ERROR_INIT;
    vaecomp_options own = options;
    int code = VAECOMP_OK;
    if (files.pack != nullptr) {
        code = vaecomp_open_memory(files.pack->data(), files.pack->size(), &options, &pack, &error);
        own.pack = pack;
    }
    if (code == VAECOMP_OK) {
        code = vaecomp_open_memory(files.file.data(), files.file.size(), &own, &archive, &error);
    }
    if (code == VAECOMP_OK) code = use(archive, buffers);
    if (code == VAECOMP_OK && pack != nullptr) {
        const vaecomp_output output = {0, 0, testing::elements, buffers.data.data(), testing::elements * sizeof(float)};
        const vaecomp_member_outputs all = {archive, &output, 1};
        code = vaecomp_decode_members(&all, 1, &error);
    }
    vaecomp_close(archive);
    vaecomp_close(pack);
    return code;
}

// Lets one allocation after another fail until nothing fails any more. Returns how many there are.
std::size_t fail_each(const vaecomp_options& options, const Files& files, bool count_leaks) {
    const auto buffers = std::make_unique<Buffers>();
    for (std::size_t n = 0;; ++n) {
        const std::ptrdiff_t before = alive;
        left = n;
        const int code = open_and_use(options, files, *buffers);
        const bool failed = left.exchange(never) > n;  // it went below zero
        EXPECT_TRUE(!count_leaks || alive == before) << "allocation " << n << " leaves " << alive - before;
        if (!failed) {
            EXPECT_EQ(code, VAECOMP_OK);
            return n;
        }
        EXPECT_EQ(code, VAECOMP_OUT_OF_MEMORY) << "allocation " << n;
    }
}

void fail_each_twice(const vaecomp_options& options, const Files& files) {
    // The first round makes what stays for the process's life. Failures in it must leave nothing half made.
    fail_each(options, files, false);
    EXPECT_GT(fail_each(options, files, true), 100u);
}

TEST(Allocation, MayFailAtAnyTime) {
    vaecomp_options options = VAECOMP_OPTIONS_INIT;
    options.threads = 1;
    fail_each_twice(options, sample_alone());
}

TEST(Allocation, OfTheCallerMayFailAtAnyTime) {
    vaecomp_options options = VAECOMP_OPTIONS_INIT;
    options.threads = 1;
    options.allocator = own_allocator();
    for (const Files& files : {sample_alone(), sample_member(), sample_differences_member()})
        fail_each_twice(options, files);
}

TEST(Allocation, MayFailInAnyThread) {
    vaecomp_options options = VAECOMP_OPTIONS_INIT;
    options.threads = 3;
    options.allocator = own_allocator();
    for (const Files& files : {sample_alone(), sample_member(), sample_differences_member()})
        fail_each_twice(options, files);
}

// Beside the caller's allocator there are the handle, a few pointers and messages.
TEST(Allocation, TakesNothingLargeElsewhere) {
    vaecomp_options options = VAECOMP_OPTIONS_INIT;
    options.allocator = own_allocator();
    const auto buffers = std::make_unique<Buffers>();
    for (const Files& files : {sample_alone(), sample_member(), sample_differences_member()}) {
        largest = 0;
        EXPECT_EQ(open_and_use(options, files, *buffers), VAECOMP_OK);
        EXPECT_LT(largest, 2048u);
    }
}

}  // namespace
}  // namespace vaecomp::core
