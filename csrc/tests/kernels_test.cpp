#include "kernels/kernels.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cfenv>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>

#include "core/endian.hpp"
#include "core/float_environment.hpp"
#include "kernels/chunk/flatten.hpp"
#include "kernels/decoder/decoder.hpp"
#include "kernels/encoder_kernels.hpp"
#include "kernels/noise/noise_variants.hpp"
#include "tests/support.hpp"

namespace vaecomp::core {
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
        ASSERT_TRUE(std::ranges::equal(std::as_bytes(std::span(found)), std::as_bytes(std::span(expected))));
    });
}

// Enough for whole vectors and a rest, from any beginning.
constexpr std::size_t max_count = 70;

struct LayerShape {
    std::size_t rows, out, in;
};

// Every count of rows to 50 and of outputs to 130, and inputs to 600, which is more than the kernels take at a time.
Vector<LayerShape> layer_shapes() {
    Vector<LayerShape> shapes;
    for (std::size_t i = 0; i < 130; ++i) shapes.push_back({1 + i % 50, 1 + i, 1 + i * i * 13 % 600});
    for (const std::size_t in : {1u, 2u, 3u, 4u, 5u, 7u, 511u, 512u, 513u, 514u, 599u, 600u}) {
        for (const std::size_t rows : {1u, 6u, 24u, 25u}) shapes.push_back({rows, 17, in});
    }
    return shapes;
}

Vector<float> floats_of(const Vector<std::uint32_t>& bits) {
    Vector<float> values(bits.size());
    std::memcpy(values.data(), bits.data(), bits.size() * sizeof(float));
    return values;
}

// Each float's upper half, with lower halves at and beside the ties of the narrower formats.
Vector<float> floats_around_ties() {
    Vector<std::uint32_t> bits;
    for (std::uint32_t upper = 0; upper < 65536; ++upper) {
        for (const std::uint32_t lower : {0x0000u, 0x0001u, 0x0fffu, 0x1000u, 0x1001u, 0x2fffu, 0x3000u, 0x3001u,
                                          0x7fffu, 0x8000u, 0x8001u, 0xffffu}) {
            bits.push_back(upper << 16 | lower);
        }
    }
    return floats_of(bits);
}

// Normal numbers, among them signed zeros, subnormals, huge numbers, infinities and NaNs.
Vector<float> floats_with_specials(std::size_t count, unsigned seed) {
    constexpr std::array<std::uint32_t, 10> specials = {0x00000000, 0x80000000, 0x00000001, 0x807fffff, 0x7f7fffff,
                                                        0x7f800000, 0xff800000, 0x7fc00001, 0xff812345, 0x7f800001};
    Vector<float> values = testing::random_floats(count, seed);
    for (std::size_t i = seed % 7; i < count; i += 7) values[i] = std::bit_cast<float>(specials[i % specials.size()]);
    return values;
}

TEST(Convert, EveryHalfWidensAlike) {
    for (const DType dtype : {DType::f16, DType::bf16}) {
        Vector<std::uint16_t> bits(65536);
        for (std::size_t i = 0; i < bits.size(); ++i) bits[i] = static_cast<std::uint16_t>(i);
        expect_equal_on_every_isa([&] {
            Vector<float> values(bits.size());
            kernels().to_float32[convertible_index(dtype)](reinterpret_cast<const std::uint8_t*>(bits.data()),
                                                           values.data(), bits.size());
            return values;
        });
    }
}

TEST(Convert, NarrowingUndoesWideningOfEveryFiniteValue) {
    for (const DType dtype : {DType::f16, DType::bf16, DType::f8_e4m3fn, DType::f8_e5m2}) {
        const std::size_t size = info(dtype).size, count = std::size_t{1} << (8 * size);
        Vector<std::uint8_t> bits(count * size);
        for (std::size_t i = 0; i < count; ++i) {
            bits[i * size] = static_cast<std::uint8_t>(i);
            if (size == 2) store_le(bits.data() + 2 * i, static_cast<std::uint16_t>(i));
        }
        for_every_isa([&](Isa) {
            Vector<float> values(count);
            Vector<std::uint8_t> back(bits.size());
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
    Vector<float> values(100003);
    for (float& value : values) value = std::bit_cast<float>(static_cast<std::uint32_t>(generator()));
    for (const DType dtype : convertible) {
        expect_equal_on_every_isa([&] {
            Vector<std::uint8_t> narrow(values.size() * info(dtype).size);
            kernels().from_float32[convertible_index(dtype)](values.data(), narrow.data(), values.size());
            return narrow;
        });
    }
}

TEST(Convert, EveryFloat32AroundATieNarrowsAlike) {
    const Vector<float> values = floats_around_ties();
    for (const DType dtype : convertible) {
        expect_equal_on_every_isa([&] {
            Vector<std::uint8_t> narrow(values.size() * info(dtype).size);
            kernels().from_float32[convertible_index(dtype)](values.data(), narrow.data(), values.size());
            return narrow;
        });
    }
}

TEST(Convert, Float64WidensAndRoundsAlike) {
    std::mt19937_64 generator(4);
    Vector<std::uint64_t> bits;
    for (int i = 0; i < 20000; ++i) bits.push_back(generator());
    // Ties of float32 and what is beside them, normal, subnormal and overflowing; infinities and NaNs.
    for (const std::uint64_t exponent : {0x369u, 0x36au, 0x37fu, 0x380u, 0x381u, 0x3ffu, 0x47eu, 0x47fu, 0x7ffu}) {
        for (const std::uint64_t upper : {0x0u, 0x1u, 0x2u, 0x3fffffu, 0x400000u, 0x7ffffeu, 0x7fffffu}) {
            for (const std::uint64_t lower : {0x0u, 0x1u, 0xfffffffu, 0x10000000u, 0x10000001u, 0x1fffffffu}) {
                bits.push_back(exponent << 52 | upper << 29 | lower);
                bits.push_back(bits.back() | std::uint64_t{1} << 63);
            }
        }
    }
    expect_equal_on_every_isa([&] {
        Vector<float> values(bits.size());
        kernels().to_float32[convertible_index(DType::f64)](reinterpret_cast<const std::uint8_t*>(bits.data()),
                                                            values.data(), bits.size());
        return values;
    });
}

TEST(Convert, EveryCountAndAlignmentIsAlike) {
    const auto bytes = testing::random_integers<std::uint8_t>(max_count * 8 + 1, 0, 255, 5);
    const Vector<float> values = floats_with_specials(max_count, 6);
    for (const DType dtype : convertible) {
        const std::size_t index = convertible_index(dtype), size = info(dtype).size;
        for (std::size_t count = 0; count <= max_count; ++count) {
            for (const std::size_t offset : {0u, 1u}) {
                // What lies behind the end stays as it is.
                expect_equal_on_every_isa([&] {
                    Vector<float> wide(max_count + 1, 7.0f);
                    kernels().to_float32[index](bytes.data() + offset, wide.data(), count);
                    return wide;
                });
                expect_equal_on_every_isa([&] {
                    Vector<std::uint8_t> narrow(max_count * size + 2, 7);
                    kernels().from_float32[index](values.data(), narrow.data() + offset, count);
                    return narrow;
                });
            }
        }
    }
}

TEST(Flatten, ReadsStridesAndPads) {
    const Vector<float> values = {1, 2, 3, 4, 5, 6};
    // A [2, 3] array seen transposed, and a reversed vector.
    const auto* data = reinterpret_cast<const std::uint8_t*>(values.data());
    const Vector<TensorView> views = {{data, {3, 2}, {4, 12}, DType::f32, false},
                                      {data + 20, {6}, {-4}, DType::f32, false}};
    Vector<float> out(16, -1.0f);
    flatten(views, out.data(), out.size(), 2);
    EXPECT_EQ(out, (Vector<float>{1, 4, 2, 5, 3, 6, 6, 5, 4, 3, 2, 1, 0, 0, 0, 0}));
}

TEST(Noise, IsAlikeOnEveryIsaAndInEverySlice) {
    const Vector<float> base = testing::random_floats(1003, 4);
    for (const double probability : {0.0, 0.1, 0.5, 1.0}) {
        const auto make = [&](std::size_t from, std::size_t count, std::uint64_t first) {
            Vector<float> out(count);
            noise_variants({base.data() + from, count}, {1, probability, 0.3, 99, 7, first}, out.data(), 1);
            return out;
        };
        constexpr std::uint64_t far = (std::uint64_t{1} << 40) - 3;
        expect_equal_on_every_isa([&] { return make(0, base.size(), far); });
        const Vector<float> whole = make(0, base.size(), far), part = make(137, 500, far + 137);
        EXPECT_TRUE(std::equal(part.begin(), part.end(), whole.begin() + 137));
    }
}

TEST(Noise, EveryThresholdAndPlaceIsAlike) {
    const Vector<float> base = testing::random_floats(300, 8);
    constexpr std::uint64_t last = std::numeric_limits<std::uint64_t>::max();
    // From none to all. At the middle ones many vectors of positions are partly noisy, at the small ones few are.
    constexpr std::array<std::uint32_t, 14> thresholds = {0,           1,           2,           1000,       0x10001,
                                                          0xffffff,    0x1000001,   0x6666666,   0x12345678, 0x40000000,
                                                          0x40000001u, 0x7ffffffeu, 0x7fffffffu, 0x80000000u};
    for (const std::uint32_t threshold : thresholds) {
        const NoiseParameters parameters = noise_parameters(0x123456789abcdef0, threshold, 0.7f);
        for (const std::size_t count : {0u, 1u, 3u, 4u, 15u, 16u, 17u, 63u, 64u, 65u, 67u, 127u, 128u, 130u, 299u}) {
            // In the last but one the lower half of the block's number wraps.
            for (const std::uint64_t first : {std::uint64_t{0}, std::uint64_t{1}, std::uint64_t{2}, std::uint64_t{3},
                                              0x3fffffff5u - count, 0x400000000u - count / 2, last - count + 1}) {
                expect_equal_on_every_isa([&] {
                    Vector<float> out(base.size() + 1, 7.0f);
                    encoder_kernels().noise_run(parameters, last - 5, first, base.data(), out.data(), count);
                    return out;
                });
            }
        }
    }
}

TEST(Noise, ManySeedsVariantsAndThresholdsAreAlike) {
    const Vector<float> base = floats_with_specials(517, 9);
    std::mt19937_64 draw(10);
    for (int i = 0; i < 500; ++i) {
        // Thresholds of every magnitude, and sigmas that make subnormals.
        const auto threshold = static_cast<std::uint32_t>((draw() >> 33) >> (draw() % 31));
        const float sigma = std::ldexp(1.0f, static_cast<int>(draw() % 260) - 140);
        const NoiseParameters parameters = noise_parameters(draw(), threshold, i % 2 == 0 ? sigma : -sigma);
        const std::uint64_t variant = draw(), first = draw();
        expect_equal_on_every_isa([&] {
            Vector<float> out(base.size());
            encoder_kernels().noise_run(parameters, variant, first, base.data(), out.data(), out.size());
            return out;
        });
    }
}

TEST(Noise, APositionIsNoisyBelowTheThresholdAlone) {
    // These are enough positions for a small threshold to select some. At a large one the noise next to the threshold
    // rounds to nothing.
    const Vector<float> base(200000);
    const auto noise_below = [&](std::uint32_t threshold) {
        Vector<float> out(base.size());
        encoder_kernels().noise_run(noise_parameters(1, threshold, 1.0f), 2, 0, base.data(), out.data(), out.size());
        return out;
    };
    std::uint32_t quiet = 1, noisy = 65536;
    const Vector<float> some = noise_below(noisy);
    const auto found = std::find_if(some.begin(), some.end(), [](float value) { return value != 0.0f; });
    ASSERT_NE(found, some.end());
    const auto position = static_cast<std::size_t>(found - some.begin());
    while (noisy - quiet > 1) {
        const std::uint32_t middle = quiet + (noisy - quiet) / 2;
        (noise_below(middle)[position] == 0.0f ? quiet : noisy) = middle;
    }
    for (const std::uint32_t threshold : {quiet, noisy}) {
        expect_equal_on_every_isa([&] { return noise_below(threshold); });
    }
}

TEST(AddCosts, IsAlikeOnEveryIsa) {
    constexpr std::size_t symbols = 50;
    const auto table = testing::random_integers<std::uint16_t>(symbols * cost_lanes, 0, 0xffff, 12);
    const auto entries = testing::random_integers<std::uint32_t>(40, 0, symbols - 1, 13);
    for (const std::size_t count : {0u, 1u, 2u, 7u, 40u}) {
        expect_equal_on_every_isa([&] {
            Vector<std::uint32_t> sums(cost_lanes, 3);
            encoder_kernels().add_costs(table.data(), entries.data(), count, sums.data());
            return sums;
        });
        expect_equal_on_every_isa([&] {
            Vector<std::uint32_t> sums(entries.size() * cost_lanes, 5);
            encoder_kernels().add_costs_apart(table.data(), entries.data(), count, sums.data());
            return sums;
        });
    }
}

TEST(RansEncode, AStateBecomesWhatTheDefinitionSays) {
    for (std::uint32_t frequency = 1; frequency <= rans::table_total; ++frequency) {
        const std::uint32_t start = (rans::table_total - frequency) / 3;
        const RansInterval interval(start, frequency);
        const std::uint64_t limit = std::uint64_t{frequency} << 20;
        for (const std::uint64_t x : {std::uint64_t{rans::lowest_state}, limit / 2 + 1, limit - frequency, limit - 1}) {
            if (x >= limit || x < rans::lowest_state) continue;
            RansEncoding state{};
            std::uint16_t words[rans_words_ahead + 1] = {};
            state.lanes[0] = static_cast<std::uint32_t>(x);
            state.word = words + rans_words_ahead + 1;
            const std::uint32_t entry = 0;
            scalar::rans_encode(&interval, &entry, 1, 0, 1, state);
            ASSERT_EQ(state.lanes[0], x / frequency * rans::table_total + x % frequency + start) << frequency;
            ASSERT_EQ(state.word, words + rans_words_ahead + 1);
        }
    }
}

TEST(RansEncode, IsAlikeForEveryPlaceAndFrequency) {
    constexpr std::size_t max_symbols = 400;
    Vector<RansInterval> intervals;
    for (std::uint32_t frequency = 1; frequency < rans::table_total; frequency += 1 + frequency / 5) {
        intervals.emplace_back(rans::table_total - frequency, frequency);
    }
    intervals.emplace_back(0, rans::table_total);
    const auto last = static_cast<std::uint32_t>(intervals.size() - 1);
    const auto entries = testing::random_integers<std::uint32_t>(max_symbols, 0, last, 30);
    for (std::size_t lanes = 1; lanes <= rans::max_lanes; lanes *= 2) {
        for (const std::size_t first : {0u, 3u, 8u, 64u, 77u}) {
            for (const std::size_t count : {0u, 1u, 7u, 8u, 31u, 200u, 400u}) {
                expect_equal_on_every_isa([&] {
                    Vector<std::uint16_t> words(rans_words_ahead + count);
                    RansEncoding state{};
                    std::fill_n(state.lanes, lanes, 0xfedcba98);
                    state.word = words.data() + words.size();
                    encoder_kernels().rans_encode(intervals.data(), entries.data(), lanes, first, count, state);
                    // Also which words, but not what is left before them.
                    Vector<std::uint32_t> made(state.word, words.data() + words.size());
                    made.insert(made.end(), state.lanes, state.lanes + lanes);
                    return made;
                });
            }
        }
    }
}

TEST(Crc32c, EveryLengthAndAlignmentIsAlike) {
    const auto bytes = testing::random_integers<std::uint8_t>(max_count + 8, 0, 255, 9);
    for (std::size_t count = 0; count <= max_count; ++count) {
        for (std::size_t offset = 0; offset < 8; ++offset) {
            expect_equal_on_every_isa(
                [&] { return Vector<std::uint32_t>{kernels().crc32c(bytes.data() + offset, count)}; });
        }
    }
}

// Slots of `tables` tables, each of symbols with random frequencies, as DecodingTables lays them out.
Vector<std::uint32_t> random_slots(std::size_t tables, unsigned seed) {
    Vector<std::uint32_t> slots;
    std::mt19937 generator(seed);
    for (std::size_t t = 0; t < tables; ++t) {
        std::uint32_t left = rans::table_total;
        for (std::uint32_t symbol = 0; left > 0; ++symbol) {
            const std::uint32_t wanted = 1u << generator() % 13;
            const std::uint32_t frequency = symbol + 1 == rans::slot::symbols ? left : std::min(left, wanted);
            for (std::uint32_t i = 0; i < frequency; ++i) {
                slots.push_back(symbol << rans::slot::symbol_shift | (frequency - 1) << rans::slot::frequency_shift |
                                i);
            }
            left -= frequency;
        }
    }
    return slots;
}

TEST(Rans, IsAlikeForEveryPlaceAndKindOfTable) {
    constexpr std::size_t table_count = 3, max_symbols = 400;
    const Vector<std::uint32_t> slots = random_slots(table_count, 30);
    const auto symbols = testing::random_integers<std::int32_t>(slots.size(), -2147483647 - 1, 2147483647, 31);
    const auto contexts = testing::random_integers<std::uint8_t>(max_symbols, 0, table_count - 1, 32);
    const auto words = testing::random_integers<std::uint8_t>(2 * max_symbols, 0, 255, 33);
    std::mt19937 generator(34);
    for (const std::size_t lanes : {1u, 2u, 4u, 8u, 16u, 32u}) {
        for (const std::size_t first : {0u, 1u, 7u, 8u, 17u, 31u}) {
            for (const std::size_t count : {0u, 1u, 8u, 15u, 33u, 64u, 100u, 399u}) {
                for (const unsigned kind : {0u, 1u, 2u, 3u}) {
                    const std::size_t word_count = generator() % 4 != 0 ? max_symbols : generator() % (count + 1);
                    RansState start{};
                    for (std::uint32_t& lane : start.lanes) {
                        lane = std::max(static_cast<std::uint32_t>(generator()), rans::lowest_state);
                    }
                    start.word = words.data();
                    start.end = start.word + 2 * word_count;
                    RansTables tables{};
                    tables.slots = slots.data();
                    tables.symbols = kind & 1 ? symbols.data() : nullptr;
                    tables.least = -5;
                    expect_equal_on_every_isa([&] {
                        RansState state = start;
                        Vector<std::int32_t> out(count + 1, 7);
                        const bool complete = kernels().rans_decode(tables, kind & 2 ? contexts.data() : nullptr, lanes,
                                                                    first, count, state, out.data());
                        if (!complete) return Vector<std::int32_t>{};
                        out.push_back(static_cast<std::int32_t>(state.word - start.word));
                        for (const std::uint32_t lane : state.lanes) out.push_back(static_cast<std::int32_t>(lane));
                        return out;
                    });
                }
            }
        }
    }
}

TEST(Dequantize, IsAlikeOnEveryIsa) {
    auto symbols = testing::random_integers<std::int32_t>(max_count, -32768, 32767, 10);
    for (std::size_t i = 0; i < symbols.size(); i += 5) {
        constexpr std::array<std::int32_t, 4> extremes = {std::numeric_limits<std::int32_t>::min(),
                                                          std::numeric_limits<std::int32_t>::max(), 16777217, 0};
        symbols[i] = extremes[i / 5 % extremes.size()];
    }
    for (const std::size_t scale_count : {1u, 2u, 3u, 507u}) {
        // From the smallest normal number to almost the largest; large symbols overflow.
        Vector<float> of(scale_count, 0x1p-126f);
        if (scale_count > 1) of[1] = std::bit_cast<float>(0x00b504f3u);
        for (std::size_t e = 2; e < scale_count; ++e) of[e] = 2.0f * of[e - 2];
        const Scales scales{of.data(), scale_count};
        const int max = static_cast<int>(scale_count) - 1;
        const auto columns = testing::random_integers<std::int16_t>(max_count, 0, max, 11);
        for (std::size_t count = 0; count <= max_count; ++count) {
            for (const bool has_columns : {false, true}) {
                expect_equal_on_every_isa([&] {
                    Vector<float> out(max_count + 1, 7.0f);
                    kernels().dequantize(symbols.data(), scales, has_columns ? 0 : max,
                                         has_columns ? columns.data() : nullptr, count, out.data());
                    return out;
                });
            }
        }
    }
}

TEST(AddBase, SumsAlikeAtAnyAlignmentAndInPlace) {
    const Vector<float> base = floats_with_specials(max_count, 3), values = floats_with_specials(max_count, 5);
    for (std::size_t count = 0; count <= max_count; ++count) {
        expect_equal_on_every_isa([&] {
            Vector<std::uint8_t> sums(max_count * sizeof(float) + 2, 7);
            kernels().add_base(base.data(), values.data(), count, sums.data() + 1);
            return sums;
        });
        expect_equal_on_every_isa([&] {
            Vector<float> sums = values;
            kernels().add_base(base.data(), sums.data(), count, reinterpret_cast<std::uint8_t*>(sums.data()));
            return sums;
        });
    }
}

TEST(AddBase, MakesEveryNanCanonical) {
    const float infinity = std::numeric_limits<float>::infinity();
    const Vector<float> base(33, infinity);
    Vector<float> values(33, -infinity);
    values[7] = std::bit_cast<float>(0xff812345u);
    for_every_isa([&](Isa) {
        Vector<std::uint32_t> bits(33);
        kernels().add_base(base.data(), values.data(), 33, reinterpret_cast<std::uint8_t*>(bits.data()));
        EXPECT_EQ(bits, Vector<std::uint32_t>(33, 0x7fc00000));
    });
}

// One layer's acc by the active kernels. Weights are packed, and biases moved for the inputs' offset.
Vector<std::int32_t> products(const LayerShape& shape, const Vector<std::int8_t>& weights,
                              const Vector<std::int32_t>& bias, const Vector<std::int8_t>& x) {
    const LinearI8Layout& layout = kernels().linear_i8_layout;
    Vector<std::int32_t> moved = bias;
    for (std::size_t o = 0; o < shape.out; ++o) {
        auto sum = static_cast<std::uint32_t>(bias[o]);
        for (std::size_t i = 0; i < shape.in; ++i) {
            sum -= static_cast<std::uint32_t>(layout.input_offset * weights[o * shape.in + i]);
        }
        moved[o] = static_cast<std::int32_t>(sum);
    }
    Vector<std::int32_t> acc(shape.rows * shape.out + 16, 7);
    kernels().linear_i8(layout.weights.pack(weights, shape.out, shape.in).data(), moved.data(), shape.out, shape.in,
                        x.data(), shape.rows, acc.data());
    return acc;
}

TEST(LinearI8, IsAlikeForManyShapes) {
    for (const LayerShape& shape : layer_shapes()) {
        const auto weights = testing::random_integers<std::int8_t>(shape.out * shape.in, -128, 127, 12);
        const auto bias = testing::random_integers<std::int32_t>(shape.out, -2147483647 - 1, 2147483647, 13);
        const auto x = testing::random_integers<std::int8_t>(shape.rows * shape.in, -128, 127, 14);
        expect_equal_on_every_isa([&] { return products(shape, weights, bias, x); });
    }
}

TEST(LinearI8, IsAlikeForExtremesAndWhereSumsWrap) {
    constexpr LayerShape shape{13, 67, 515};
    for (const std::int8_t weight : std::array<std::int8_t, 3>{-128, -127, 127}) {
        for (const std::int8_t input : std::array<std::int8_t, 2>{-128, 127}) {
            for (const std::int32_t start : {-2147483647 - 1, 0, 2147483647}) {
                const Vector<std::int8_t> weights(shape.out * shape.in, weight), x(shape.rows * shape.in, input);
                const Vector<std::int32_t> bias(shape.out, start);
                expect_equal_on_every_isa([&] { return products(shape, weights, bias, x); });
            }
        }
    }
}

TEST(Requantize, EveryShiftIsAlikeForExtremes) {
    constexpr std::array<std::int32_t, 12> sums = {-2147483647 - 1, -2147483647, -65536, -2, -1, 0, 1, 2, 127, 128,
                                                   2147483646,      2147483647};
    constexpr std::array<std::int32_t, 6> multipliers = {0, 1, 3, 0x40000000, 0x7ffffffe, 0x7fffffff};
    Vector<std::int32_t> acc, multiplier;
    Vector<std::uint8_t> shift;
    for (std::uint8_t s = 0; s <= 62; ++s) {
        for (const std::int32_t m : multipliers) {
            for (const std::int32_t sum : sums) {
                acc.push_back(sum);
                multiplier.push_back(m);
                shift.push_back(s);
            }
        }
    }
    expect_equal_on_every_isa([&] {
        Vector<std::int8_t> y(acc.size() + 1, 7);
        kernels().requantize(acc.data(), 1, acc.size(), multiplier.data(), shift.data(), y.data());
        return y;
    });
}

TEST(Requantize, IsAlikeForManyShapes) {
    for (std::size_t out = 1; out <= 130; ++out) {
        const std::size_t rows = 1 + out % 5;
        const auto acc = testing::random_integers<std::int32_t>(rows * out, -2147483647 - 1, 2147483647, 15);
        const auto multiplier = testing::random_integers<std::int32_t>(out, 0, 2147483647, 16);
        const auto shift = testing::random_integers<std::uint8_t>(out, 0, 62, 17);
        expect_equal_on_every_isa([&] {
            Vector<std::int8_t> y(rows * out + 16, 7);
            kernels().requantize(acc.data(), rows, out, multiplier.data(), shift.data(), y.data());
            return y;
        });
    }
}

TEST(ScaleOutput, IsAlikeForManyShapes) {
    for (std::size_t out = 1; out <= 130; ++out) {
        const std::size_t rows = 1 + out % 5;
        auto acc = testing::random_integers<std::int32_t>(rows * out, -2147483647 - 1, 2147483647, 18);
        acc.front() = 0;
        acc.back() = -2147483647 - 1;
        const Vector<float> scale = floats_with_specials(out, 19);
        expect_equal_on_every_isa([&] {
            Vector<float> y(rows * out + 16, 7.0f);
            kernels().scale_output(acc.data(), rows, out, scale.data(), y.data());
            return y;
        });
    }
}

// One layer's outputs by the active kernels.
Vector<float> values_of(const LayerShape& shape, const Vector<float>& weights, const Vector<float>& bias,
                        const Vector<float>& x, Activation activation) {
    Vector<float> y(shape.rows * shape.out + 16, 7.0f);
    kernels().linear_f32(kernels().linear_f32_layout.pack(weights, shape.out, shape.in).data(), bias.data(), shape.out,
                         shape.in, x.data(), shape.rows, activation, y.data());
    return y;
}

TEST(LinearF32, IsAlikeForManyShapes) {
    for (const LayerShape& shape : layer_shapes()) {
        const auto weights = testing::random_floats(shape.out * shape.in, 20),
                   bias = testing::random_floats(shape.out, 21);
        const auto x = testing::random_floats(shape.rows * shape.in, 22);
        for (const Activation activation : {Activation::relu, Activation::none}) {
            expect_equal_on_every_isa([&] { return values_of(shape, weights, bias, x, activation); });
        }
    }
}

TEST(LinearF32, IsAlikeForInfinitiesNansAndSubnormals) {
    for (std::size_t in = 1; in <= 12; ++in) {
        const LayerShape shape{15, 67, in};
        const auto weights = floats_with_specials(shape.out * in, 23), bias = floats_with_specials(shape.out, 24);
        const auto x = floats_with_specials(shape.rows * in, 25);
        for (const Activation activation : {Activation::relu, Activation::none}) {
            expect_equal_on_every_isa([&] { return values_of(shape, weights, bias, x, activation); });
        }
    }
}

// Flushes subnormals, makes NaNs alike and rounds upwards, as far as the processor does such things.
void set_unwanted_environment() {
    std::fesetround(FE_UPWARD);
#if defined(__x86_64__)
    _mm_setcsr(_mm_getcsr() | 0x8040);
#elif defined(__aarch64__)
    asm volatile("msr fpcr, %0" : : "r"(std::uint64_t{0x07480000}) : "memory");
#endif
}

TEST(FloatEnvironment, IsTheKernelsOwn) {
    const auto bits = testing::random_integers<std::uint16_t>(4000, 0, 65535, 26);
    const Vector<float> scale = floats_with_specials(100, 27);
    const auto sums = testing::random_integers<std::int32_t>(100, -2147483647 - 1, 2147483647, 28);
    const auto make = [&] {
        const FloatEnvironment environment;
        Vector<float> values(bits.size() + sums.size());
        kernels().to_float32[convertible_index(DType::f16)](reinterpret_cast<const std::uint8_t*>(bits.data()),
                                                            values.data(), bits.size());
        kernels().scale_output(sums.data(), 1, sums.size(), scale.data(), values.data() + bits.size());
        return values;
    };
    for_every_isa([&](Isa) {
        const Vector<float> expected = make();
        std::fenv_t before;
        std::fegetenv(&before);
        set_unwanted_environment();
        const Vector<float> found = make();
        const int rounding = std::fegetround();
        std::fesetenv(&before);
        EXPECT_EQ(std::memcmp(found.data(), expected.data(), found.size() * sizeof(float)), 0);
        EXPECT_EQ(rounding, FE_UPWARD);
    });
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
                Vector<float> values(rows * decoder.chunk_length());
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
            Vector<float> values(33 * decoder.chunk_length());
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
}  // namespace vaecomp::core
