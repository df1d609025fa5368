// Structures that begin with their size, as a program has them that was compiled with another header.
#include <algorithm>
#include <cstring>
#include <vector>

#include "abi/structures.hpp"
#include "tests/c_interface.hpp"

namespace vaecomp::core {

// A structure of these tests, in a header's first version and in a later one.
struct First {
    std::size_t size;
    std::uint64_t value;
};
struct Later {
    std::size_t size;
    std::uint64_t value, added;
};
template <>
inline constexpr Sized sized<First>{"FIRST_INIT", sizeof(First)};
template <>
inline constexpr Sized sized<Later>{"LATER_INIT", sizeof(First)};

namespace {

using testing::expect_code;
using testing::Handle;
using testing::open;
using testing::sample;

// A structure of a program that was compiled with another header: exactly `bytes` bytes, which begin with that number.
// Bytes that this header has no members for are `tail`.
template <typename Structure>
class Foreign {
  public:
    Foreign(const Structure& initialized, std::size_t bytes, std::uint8_t tail = 0) : memory_(bytes, tail) {
        std::memcpy(memory_.data(), &initialized, std::min(bytes, sizeof(Structure)));
        claim(bytes);
    }

    void claim(std::size_t bytes) { std::memcpy(memory_.data(), &bytes, sizeof(bytes)); }
    Structure* get() { return reinterpret_cast<Structure*>(memory_.data()); }
    [[nodiscard]] bool has_tail(std::uint8_t tail) const {
        return std::all_of(memory_.begin() + sizeof(Structure), memory_.end(),
                           [&](std::uint8_t byte) { return byte == tail; });
    }

  private:
    std::vector<std::uint8_t> memory_;
};

const Handle& archive() {
    static const Handle opened = open(sample().file);
    return opened;
}

// For each structure, its initial contents and a function that takes it.
template <typename Structure>
struct Use;
template <>
struct Use<vaecomp_options> {
    static constexpr vaecomp_options initial = VAECOMP_OPTIONS_INIT;
    static int call(vaecomp_options* options, vaecomp_error* error) {
        vaecomp_archive* opened = nullptr;
        const int code = vaecomp_open_memory(sample().file.data(), sample().file.size(), options, &opened, error);
        EXPECT_EQ(opened != nullptr, code == VAECOMP_OK);
        vaecomp_close(opened);
        return code;
    }
};
template <>
struct Use<vaecomp_tensor_info> {
    static constexpr vaecomp_tensor_info initial = VAECOMP_TENSOR_INFO_INIT;
    static int call(vaecomp_tensor_info* info, vaecomp_error* error) {
        const int code = vaecomp_tensor(archive().get(), testing::latent_tensor, info, error);
        EXPECT_EQ(info->elements, code == VAECOMP_OK ? 5u : 0u);
        return code;
    }
};
template <>
struct Use<vaecomp_accounting> {
    static constexpr vaecomp_accounting initial = VAECOMP_ACCOUNTING_INIT;
    static int call(vaecomp_accounting* accounting, vaecomp_error* error) {
        const int code = vaecomp_account(archive().get(), accounting, error);
        EXPECT_EQ(accounting->passthrough > 0, code == VAECOMP_OK);
        return code;
    }
};
template <>
struct Use<vaecomp_chunks> {
    static constexpr vaecomp_chunks initial = VAECOMP_CHUNKS_INIT;
    static int call(vaecomp_chunks* groups, vaecomp_error* error) {
        std::size_t count = 1;
        const int code = vaecomp_chunk_groups(archive().get(), groups, &count, error);
        EXPECT_EQ(groups->padding, code == VAECOMP_OK ? 1u : 0u);
        return code;
    }
};

template <typename Structure>
class AbiStructure : public ::testing::Test {
  protected:
    static Foreign<Structure> make(std::size_t bytes) { return {Use<Structure>::initial, bytes}; }
    static void expect(int code, const char* part, Foreign<Structure> given) {
        vaecomp_error error = VAECOMP_ERROR_INIT;
        expect_code(code, part, Use<Structure>::call(given.get(), &error), error);
    }
};
using Structures = ::testing::Types<vaecomp_options, vaecomp_tensor_info, vaecomp_accounting, vaecomp_chunks>;
TYPED_TEST_SUITE(AbiStructure, Structures);

TYPED_TEST(AbiStructure, MayHaveItsFirstSize) {
    this->expect(VAECOMP_OK, "", this->make(sized<TypeParam>.first_bytes));
}

TYPED_TEST(AbiStructure, IsRefusedInASizeThatNoVersionHas) {
    for (const std::size_t bytes : {std::size_t{0}, sized<TypeParam>.first_bytes - sizeof(std::size_t),
                                    sized<TypeParam>.first_bytes + 1, max_structure_bytes + 8, SIZE_MAX}) {
        Foreign<TypeParam> given = this->make(sizeof(TypeParam));
        given.claim(bytes);
        this->expect(VAECOMP_INVALID_ARGUMENT, sized<TypeParam>.initializer, given);
    }
}

TYPED_TEST(AbiStructure, MayBeLongerThanTheLibrarys) {
    for (const std::size_t bytes : {sizeof(TypeParam) + 8, max_structure_bytes}) {
        this->expect(VAECOMP_OK, "", this->make(bytes));
    }
}

TEST(AbiOptions, MayNotAskForWhatTheLibraryDoesNotHave) {
    Foreign<vaecomp_options> given(VAECOMP_OPTIONS_INIT, sizeof(vaecomp_options) + 16);
    reinterpret_cast<std::uint8_t*>(given.get())[sizeof(vaecomp_options) + 15] = 1;
    vaecomp_error error = VAECOMP_ERROR_INIT;
    const int code = Use<vaecomp_options>::call(given.get(), &error);
    expect_code(VAECOMP_INVALID_ARGUMENT, "update the library", code, error);
}

template <typename Structure>
class AbiOutput : public ::testing::Test {};
using Outputs = ::testing::Types<vaecomp_tensor_info, vaecomp_accounting, vaecomp_chunks>;
TYPED_TEST_SUITE(AbiOutput, Outputs);

TYPED_TEST(AbiOutput, KeepsWhatTheLibraryDoesNotHave) {
    Foreign<TypeParam> given(Use<TypeParam>::initial, sizeof(TypeParam) + 16, 0xaa);
    EXPECT_EQ(Use<TypeParam>::call(given.get(), nullptr), VAECOMP_OK);
    EXPECT_EQ(given.get()->size, sizeof(TypeParam) + 16);
    EXPECT_TRUE(given.has_tail(0xaa));
}

int fail(vaecomp_error* error) { return vaecomp_open_file("absent", nullptr, nullptr, error); }

TEST(AbiError, IsWrittenInItsFirstSizeAndLonger) {
    for (const std::size_t bytes : {sized<vaecomp_error>.first_bytes, sizeof(vaecomp_error) + 8}) {
        Foreign<vaecomp_error> error(VAECOMP_ERROR_INIT, bytes, 0xaa);
        EXPECT_EQ(fail(error.get()), VAECOMP_INVALID_ARGUMENT);
        EXPECT_EQ(error.get()->size, bytes);
        EXPECT_EQ(error.get()->code, VAECOMP_INVALID_ARGUMENT);
        EXPECT_STREQ(error.get()->message, "archive: null");
        EXPECT_TRUE(error.has_tail(0xaa));
    }
}

// There is nowhere to say what is wrong with it.
TEST(AbiError, IsLeftAloneInASizeThatNoVersionHas) {
    for (const std::size_t bytes :
         {std::size_t{0}, sizeof(vaecomp_error) - 8, sizeof(vaecomp_error) + 1, max_structure_bytes + 8, SIZE_MAX}) {
        vaecomp_error error = VAECOMP_ERROR_INIT;
        error.size = bytes;
        EXPECT_EQ(fail(&error), VAECOMP_INVALID_ARGUMENT);
        EXPECT_EQ(error.code, VAECOMP_OK);
        EXPECT_STREQ(error.message, "");
    }
}

// docs/versioning.md promises them.
TEST(AbiFirstSizes, NeverChange) {
    if (sizeof(void*) != 8) GTEST_SKIP() << "the numbers are those of 64-bit systems";
    EXPECT_EQ(sized<vaecomp_error>.first_bytes, 512u);
    EXPECT_EQ(sized<vaecomp_options>.first_bytes, 72u);
    EXPECT_EQ(sized<vaecomp_tensor_info>.first_bytes, 72u);
    EXPECT_EQ(sized<vaecomp_accounting>.first_bytes, 56u);
    EXPECT_EQ(sized<vaecomp_chunks>.first_bytes, 40u);
}

// A program that was compiled with the first header, on a library with the later one.
TEST(AbiGrown, ReadsDefaultsForWhatTheProgramLacks) {
    Foreign<Later> given({0, 7, 8}, sizeof(First));
    const Later read = read_structure(*given.get(), Later{sizeof(Later), 1, 2});
    EXPECT_EQ(read.value, 7u);
    EXPECT_EQ(read.added, 2u);
}

TEST(AbiGrown, WritesNothingBehindTheProgramsStructure) {
    Foreign<Later> given({0, 1, 2}, sizeof(Later));
    given.claim(sizeof(First));
    write_structure(*given.get(), Later{sizeof(Later), 7, 8});
    EXPECT_EQ(given.get()->size, sizeof(First));
    EXPECT_EQ(given.get()->value, 7u);
    EXPECT_EQ(given.get()->added, 2u);
}

TEST(AbiGrown, TakesTheStepsOfTheProgramsArray) {
    Foreign<Later> given({0, 1, 2}, 2 * sizeof(Later));
    given.claim(sizeof(First));
    EXPECT_EQ(reinterpret_cast<char*>(behind(given.get())) - reinterpret_cast<char*>(given.get()), sizeof(First));
}

}  // namespace
}  // namespace vaecomp::core
