#include "kernels/kernels.hpp"

#include <bit>
#include <cstring>

#include "core/endian.hpp"
#include "kernels/chunk/chunk.hpp"
#include "kernels/decoder/decoder.hpp"
#include "kernels/noise/noise_variants.hpp"
#include "tests/support.hpp"

namespace vaecomp {
namespace {

using testing::for_every_isa;

// Every instruction set must give the bytes that `make` gives with the scalar kernels.
template <typename Make>
void expect_equal_on_every_isa(Make make) {
    set_isa("scalar");
    const auto expected = make();
    for_every_isa([&](Isa) {
        const auto found = make();
        ASSERT_EQ(found.size(), expected.size());
        EXPECT_EQ(std::memcmp(found.data(), expected.data(), found.size() * sizeof(found[0])), 0);
    });
}

TEST(Convert, EveryHalfWidensAlike) {
    for (const DType dtype : {DType::f16, DType::bf16}) {
        std::vector<std::uint16_t> bits(65536);
        for (std::size_t i = 0; i < bits.size(); ++i) bits[i] = static_cast<std::uint16_t>(i);
        expect_equal_on_every_isa([&] {
            std::vector<float> values(bits.size());
            kernels().to_float32[convertible_index(dtype)](reinterpret_cast<const std::uint8_t*>(bits.data()),
                                                           values.data(), bits.size());
            return values;
        });
    }
}

TEST(Convert, NarrowingUndoesWideningOfEveryFiniteValue) {
    for (const DType dtype : {DType::f16, DType::bf16, DType::f8_e4m3fn, DType::f8_e5m2}) {
        const std::size_t size = info(dtype).size, count = std::size_t{1} << (8 * size);
        std::vector<std::uint8_t> bits(count * size);
        for (std::size_t i = 0; i < count; ++i) {
            bits[i * size] = static_cast<std::uint8_t>(i);
            if (size == 2) store_le(bits.data() + 2 * i, static_cast<std::uint16_t>(i));
        }
        for_every_isa([&](Isa) {
            std::vector<float> values(count);
            std::vector<std::uint8_t> back(bits.size());
            kernels().to_float32[convertible_index(dtype)](bits.data(), values.data(), count);
            kernels().from_float32[convertible_index(dtype)](values.data(), back.data(), count);
            for (std::size_t i = 0; i < count; ++i) {
                if (values[i] != values[i]) continue;
                ASSERT_EQ(std::memcmp(back.data() + i * size, bits.data() + i * size, size), 0) << i;
            }
        });
    }
}

TEST(Convert, RandomFloat32BitsNarrowAlike) {
    std::mt19937 generator(3);
    std::vector<float> values(100003);
    for (float& value : values) value = std::bit_cast<float>(static_cast<std::uint32_t>(generator()));
    for (const DType dtype : convertible) {
        expect_equal_on_every_isa([&] {
            std::vector<std::uint8_t> narrow(values.size() * info(dtype).size);
            kernels().from_float32[convertible_index(dtype)](values.data(), narrow.data(), values.size());
            return narrow;
        });
    }
}

TEST(Flatten, ReadsStridesAndPads) {
    const std::vector<float> values = {1, 2, 3, 4, 5, 6};
    // A [2, 3] array seen transposed, and a reversed vector.
    const auto* data = reinterpret_cast<const std::uint8_t*>(values.data());
    const std::vector<TensorView> views = {{data, {3, 2}, {4, 12}, DType::f32, false},
                                           {data + 20, {6}, {-4}, DType::f32, false}};
    std::vector<float> out(16, -1.0f);
    flatten(views, out.data(), out.size(), 2);
    EXPECT_EQ(out, (std::vector<float>{1, 4, 2, 5, 3, 6, 6, 5, 4, 3, 2, 1, 0, 0, 0, 0}));
}

TEST(Noise, IsAlikeOnEveryIsaAndInEverySlice) {
    const std::vector<float> base = testing::random_floats(1003, 4);
    for (const double probability : {0.0, 0.1, 0.5, 1.0}) {
        const auto make = [&](std::size_t from, std::size_t count, std::uint64_t first) {
            std::vector<float> out(count);
            noise_variants({base.data() + from, count}, {1, probability, 0.3, 99, 7, first}, out.data(), 1);
            return out;
        };
        constexpr std::uint64_t far = (std::uint64_t{1} << 40) - 3;
        expect_equal_on_every_isa([&] { return make(0, base.size(), far); });
        const std::vector<float> whole = make(0, base.size(), far), part = make(137, 500, far + 137);
        EXPECT_TRUE(std::equal(part.begin(), part.end(), whole.begin() + 137));
    }
}

IntegerLayer integer_layer(std::size_t out, std::size_t in, bool last, unsigned seed) {
    IntegerLayer layer;
    layer.in = in;
    layer.out = out;
    layer.weight = testing::random_integers<std::int8_t>(out * in, -128, 127, seed);
    layer.bias = testing::random_integers<std::int32_t>(out, -2147483647, 2147483647, seed + 1);
    if (last) {
        layer.scale = testing::random_floats(out, seed + 2);
    } else {
        layer.multiplier = testing::random_integers<std::int32_t>(out, 0, 2147483647, seed + 3);
        layer.shift = testing::random_integers<std::uint8_t>(out, 0, 62, seed + 4);
    }
    return layer;
}

TEST(IntegerDecoder, IsAlikeOnEveryIsa) {
    for (const std::size_t width : {1u, 3u, 8u, 17u, 65u}) {
        for (const std::size_t rows : {1u, 7u, 8u, 33u}) {
            const auto latents = testing::random_integers<std::int8_t>(rows * 5, -128, 127, 5);
            expect_equal_on_every_isa([&] {
                const IntegerDecoder decoder(
                    {integer_layer(width, 5, false, 10), integer_layer(2 * width + 1, width, true, 20)});
                std::vector<float> values(rows * decoder.chunk_length());
                forward(decoder, latents.data(), rows, values.data(), 2);
                return values;
            });
        }
    }
}

TEST(Float32Decoder, IsAlikeOnEveryIsa) {
    for (const std::size_t width : {1u, 3u, 8u, 17u, 65u}) {
        const auto latents = testing::random_floats(33 * 5, 5);
        expect_equal_on_every_isa([&] {
            const Float32Decoder decoder(
                {{5, width, testing::random_floats(5 * width, 6), testing::random_floats(width, 7)},
                 {width, width + 2, testing::random_floats(width * (width + 2), 8),
                  testing::random_floats(width + 2, 9)}});
            std::vector<float> values(33 * decoder.chunk_length());
            forward(decoder, latents.data(), 33, values.data(), 2);
            return values;
        });
    }
}

TEST(IntegerDecoder, RefusesLayersThatDoNotFit) {
    testing::expect_error(ErrorCode::invalid_argument, "previous", [] {
        IntegerDecoder({integer_layer(4, 3, false, 1), integer_layer(4, 5, true, 2)});
    });
    testing::expect_error(ErrorCode::invalid_argument, "scales",
                          [] { IntegerDecoder({integer_layer(4, 3, false, 1)}); });
}

}  // namespace
}  // namespace vaecomp
