#include "core/digest.hpp"
#include "kernels/crc32c/checksum.hpp"
#include "kernels/kernels.hpp"
#include "tests/support.hpp"

namespace vaecomp::core {
namespace {

Bytes bytes_of(std::string_view text) { return {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()}; }

TEST(Crc32c, MatchesPublishedValues) {
    testing::for_every_isa([](Isa) {
        const Bytes digits = bytes_of("123456789");
        EXPECT_EQ(kernels().crc32c(digits.data(), digits.size()), 0xe3069283u);
        const Vector<std::uint8_t> zeros(32);
        EXPECT_EQ(kernels().crc32c(zeros.data(), zeros.size()), 0x8a9136aau);  // RFC 3720, B.4
    });
}

TEST(Xxh64, MatchesPublishedValues) {
    EXPECT_EQ(xxh64({}), 0xef46db3751d8e999u);
    EXPECT_EQ(xxh64(bytes_of("abc")), 0x44bc2cf5ad770999u);
}

TEST(Checksum, OfPartsIsThatOfTheWhole) {
    const auto bytes = testing::random_integers<std::uint8_t>((std::size_t{5} << 19) + 77, 0, 255, 2);
    for (const std::size_t size : {std::size_t{0}, std::size_t{9}, std::size_t{1} << 20, (std::size_t{1} << 20) + 1,
                                   std::size_t{1} << 21, bytes.size()}) {
        const Bytes part = Bytes(bytes).first(size);
        const std::uint32_t whole = scalar::crc32c(part.data(), part.size());
        testing::for_every_isa([&](Isa) {
            EXPECT_EQ(checksum(MemorySource(part), 0, part.size(), 1), whole) << size;
            EXPECT_EQ(checksum(MemorySource(part), 0, part.size(), 3), whole) << size;
        });
    }
}

TEST(Digest, DoesNotDependOnThreadsAndSeesEveryLeaf) {
    Vector<float> values = testing::random_floats(100000, 1);
    const std::uint64_t digest = tensor_digest({values.data(), values.size(), DType::f32}, 1);
    EXPECT_EQ(tensor_digest({values.data(), values.size(), DType::f32}, 3), digest);
    for (const std::size_t changed : {std::size_t{0}, std::size_t{16384}, values.size() - 1}) {
        values[changed] += 1.0f;
        EXPECT_NE(tensor_digest({values.data(), values.size(), DType::f32}, 1), digest);
        values[changed] -= 1.0f;
    }
}

}  // namespace
}  // namespace vaecomp::core
