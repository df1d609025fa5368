// Floats as integers in the order of their values, and symbols of their differences (docs/kernels.md, 8).
#pragma once

#include <bit>
#include <concepts>
#include <cstdint>
#include <limits>

#include "core/dtype.hpp"

namespace vaecomp::core {

// Those whose differences are coded.
constexpr bool is_ordered(DType dtype) { return dtype >= DType::f16 && dtype <= DType::f64; }

// Of a float, or of either part of a complex number.
constexpr unsigned mantissa_bits(DType dtype) {
    switch (dtype) {
        case DType::c32:
        case DType::f16: return 10;
        case DType::bf16: return 7;
        case DType::c64:
        case DType::f32: return 23;
        default: return 52;
    }
}

template <std::unsigned_integral Word>
constexpr bool is_negative(Word bits) {
    return bits >> (std::numeric_limits<Word>::digits - 1) != 0;
}

// A float's bits as a two's complement integer that grows with the value, or the inverse.
template <std::unsigned_integral Word>
constexpr Word ordered(Word bits) {
    const auto magnitude = static_cast<Word>(std::numeric_limits<Word>::max() >> 1);
    return is_negative(bits) ? static_cast<Word>(bits ^ magnitude) : bits;
}

// From what was predicted to what is, counted away from zero.
template <std::unsigned_integral Word>
constexpr std::int64_t difference(Word bits, Word predicted) {
    const auto distance = static_cast<Word>(ordered(bits) - ordered(predicted));
    const auto outward = is_negative(predicted) ? static_cast<Word>(0 - distance) : distance;
    return static_cast<std::make_signed_t<Word>>(outward);
}

// The inverse; of the difference the low bits count.
template <std::unsigned_integral Word>
constexpr Word moved(Word predicted, std::uint64_t difference) {
    const std::uint64_t distance = is_negative(predicted) ? 0 - difference : difference;
    return ordered(static_cast<Word>(ordered(predicted) + distance));
}

inline constexpr unsigned max_detail = 3;

// A difference as its symbol, which has its sign, its length and the `detail` bits below the leading one, and the bits
// below these.
struct SplitDifference {
    std::int32_t symbol;
    unsigned raw_bits;
    std::uint64_t raw;
};

constexpr SplitDifference split(std::int64_t difference, unsigned detail) {
    const auto bits = static_cast<std::uint64_t>(difference);
    const std::uint64_t magnitude = difference < 0 ? 0 - bits : bits;
    const auto length = static_cast<unsigned>(std::bit_width(magnitude));
    const unsigned raw_bits = length > detail + 1 ? length - detail - 1 : 0;
    const auto symbol = static_cast<std::int32_t>((raw_bits << detail) + (magnitude >> raw_bits));
    return {difference < 0 ? -symbol : symbol, raw_bits, magnitude & ((std::uint64_t{1} << raw_bits) - 1)};
}

// How many bits follow a symbol: at most 63.
constexpr unsigned raw_bits(std::int32_t symbol, unsigned detail) {
    const auto magnitude = static_cast<std::uint32_t>(symbol < 0 ? -symbol : symbol);
    return magnitude >> (detail + 1) == 0 ? 0 : (magnitude >> detail) - 1;
}

constexpr std::uint64_t join(std::int32_t symbol, unsigned detail, unsigned raw_bits, std::uint64_t raw) {
    const auto magnitude = static_cast<std::uint64_t>(symbol < 0 ? -symbol : symbol);
    const std::uint64_t joined = (magnitude - (std::uint64_t{raw_bits} << detail)) << raw_bits | raw;
    return symbol < 0 ? 0 - joined : joined;
}

// The greatest symbol, that of a difference of 2^63.
constexpr std::int32_t max_symbol(unsigned detail) { return static_cast<std::int32_t>((64 - detail) << detail); }

}  // namespace vaecomp::core
