#include <algorithm>

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

TEST(Xxh64, IsTheSameOfManyInputs) {
    const auto bytes = testing::random_integers<std::uint8_t>(4096, 0, 255, 3);
    for (std::size_t size = 0; size <= 200; ++size) {
        Vector<const std::uint8_t*> inputs;
        Vector<std::uint64_t> expected;
        for (std::size_t i = 0; i < 19; ++i) {
            inputs.push_back(bytes.data() + 191 * i);
            expected.emplace_back();
            scalar::xxh64(&inputs.back(), 1, size, &expected.back());
        }
        testing::for_every_isa([&](Isa) {
            for (std::size_t count = 0; count <= inputs.size(); ++count) {
                Vector<std::uint64_t> hashes(inputs.size(), 7);
                kernels().xxh64(inputs.data(), count, size, hashes.data());
                ASSERT_TRUE(
                    std::equal(hashes.begin(), hashes.begin() + static_cast<std::ptrdiff_t>(count), expected.begin()))
                    << size;
                ASSERT_TRUE(count == hashes.size() || hashes[count] == 7);
            }
        });
    }
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

TEST(Digest, OfTensorsThatAreToldOfTileByTile) {
    // Leaves and a rest; a tile ends at a leaf's end, others do not.
    constexpr std::size_t count = 3 * digest_leaf_bytes / sizeof(float) + 100, tile = 1024, tensors = 11;
    Vector<Vector<float>> values(tensors, Vector<float>(count));
    Vector<DigestSource> sources;
    Vector<std::size_t> numbers;
    for (std::size_t t = 0; t < tensors; ++t) {
        sources.push_back({values[t].data(), count, DType::f32});
        numbers.push_back(t);
    }
    const auto fill = [&](std::size_t t) {
        std::ranges::copy(testing::random_floats(count, static_cast<unsigned>(t)), values[t].begin());
    };
    for (const std::size_t start : {std::size_t{0}, std::size_t{300}, digest_leaf_bytes / sizeof(float)}) {
        TensorDigests digests(sources);
        for (std::size_t t = 0; t < tensors; ++t) fill(t);
        for (std::size_t first = start; first < count; first += tile) {
            const std::size_t end = std::min(count, first + tile);
            digests.written(numbers, untold(start, first, DType::f32) * sizeof(float), end * sizeof(float));
        }
        // What has been told of is not read again.
        for (auto& own : values) own.back() += 1.0f;
        const Vector<std::uint64_t> found = digests.finish(2);
        for (std::size_t t = 0; t < tensors; ++t) {
            fill(t);
            EXPECT_EQ(found[t], tensor_digest(sources[t], 1)) << start;
        }
    }
}

}  // namespace
}  // namespace vaecomp::core
