#include <bit>
#include <cstring>

#include "kernels/chunk/convert.hpp"

namespace vaecomp::core::scalar {
namespace {

constexpr std::uint32_t quiet_nan = 0x7fc00000u, infinity = 0x7f800000u;

struct NarrowFormat {
    int exponent_bits, mantissa_bits;
    bool has_infinity;
    std::uint32_t nan;  // what a NaN narrows to, without its sign

    [[nodiscard]] constexpr int bias() const { return (1 << (exponent_bits - 1)) - 1; }
    [[nodiscard]] constexpr std::uint32_t magnitude_mask() const { return (1u << (exponent_bits + mantissa_bits)) - 1; }
    // The first magnitude that is no finite number.
    [[nodiscard]] constexpr std::uint32_t not_finite() const {
        return has_infinity ? magnitude_mask() >> mantissa_bits << mantissa_bits : magnitude_mask();
    }
};

constexpr NarrowFormat f16{5, 10, true, 0x7e00}, bf16{8, 7, true, 0x7fc0}, e5m2{5, 2, true, 0x7e},
    e4m3fn{4, 3, false, 0x7f};

template <NarrowFormat format>
std::uint32_t widen(std::uint32_t bits) {
    constexpr int up = 23 - format.mantissa_bits;
    const std::uint32_t sign = bits >> (format.exponent_bits + format.mantissa_bits) << 31;
    std::uint32_t magnitude = bits & format.magnitude_mask();
    if (magnitude >= format.not_finite()) {
        const std::uint32_t mantissa = magnitude & ((1u << format.mantissa_bits) - 1);
        if (format.has_infinity && mantissa == 0) return sign | infinity;
        return sign | quiet_nan | mantissa << up;
    }
    if (magnitude == 0) return sign;
    int exponent = static_cast<int>(magnitude >> format.mantissa_bits);
    if (exponent == 0) {
        // A subnormal: shift its leading one to the implicit place.
        const int shift = std::countl_zero(magnitude) - (31 - format.mantissa_bits);
        magnitude <<= shift;
        exponent = 1 - shift;
    }
    exponent += 127 - format.bias();
    const std::uint32_t mantissa = (magnitude & ((1u << format.mantissa_bits) - 1)) << up;
    if (exponent <= 0) {
        // Only bfloat16 reaches here: its subnormals are float32's.
        return sign | (mantissa | 0x800000u) >> (1 - exponent);
    }
    return sign | static_cast<std::uint32_t>(exponent) << 23 | mantissa;
}

template <NarrowFormat format>
std::uint32_t narrow(std::uint32_t bits) {
    constexpr int down = 23 - format.mantissa_bits;
    const std::uint32_t sign = bits >> 31 << (format.exponent_bits + format.mantissa_bits);
    const std::uint32_t magnitude = bits & 0x7fffffffu;
    if (magnitude > infinity) return sign | format.nan;
    // `significand * 2^-drop` in units of the narrow format's last place, rounded to nearest even.
    int exponent = static_cast<int>(magnitude >> 23) - 127 + format.bias();
    int drop = down;
    std::uint32_t significand = magnitude;
    if (exponent < 1) {
        if (magnitude >> 23 != 0) significand = (magnitude & 0x7fffffu) | 0x800000u;
        // float32 subnormals share the exponent of the smallest normal number.
        drop += 1 - exponent - (magnitude >> 23 == 0 ? 1 : 0);
        if (drop > 25) return sign;
    } else {
        significand = static_cast<std::uint32_t>(exponent) << 23 | (magnitude & 0x7fffffu);
    }
    std::uint32_t rounded;
    if (exponent >= (1 << format.exponent_bits)) {
        rounded = format.not_finite();
    } else if (drop == 0) {
        rounded = significand;
    } else {
        const std::uint32_t half = 1u << (drop - 1);
        rounded = (significand + half - 1 + (significand >> drop & 1)) >> drop;
    }
    if (rounded < format.not_finite()) return sign | rounded;
    return sign | (format.has_infinity ? format.not_finite() : format.nan);
}

template <NarrowFormat format, typename Word>
void widen_run(const std::uint8_t* from, float* to, std::size_t count) {
    for (std::size_t i = 0; i < count; ++i) {
        Word word;
        std::memcpy(&word, from + i * sizeof(Word), sizeof(Word));
        to[i] = std::bit_cast<float>(widen<format>(word));
    }
}

template <NarrowFormat format, typename Word>
void narrow_run(const float* from, std::uint8_t* to, std::size_t count) {
    for (std::size_t i = 0; i < count; ++i) {
        const auto word = static_cast<Word>(narrow<format>(std::bit_cast<std::uint32_t>(from[i])));
        std::memcpy(to + i * sizeof(Word), &word, sizeof(Word));
    }
}

}  // namespace

void from_f16(const std::uint8_t* from, float* to, std::size_t count) {
    widen_run<f16, std::uint16_t>(from, to, count);
}
void from_bf16(const std::uint8_t* from, float* to, std::size_t count) {
    widen_run<bf16, std::uint16_t>(from, to, count);
}
void from_f8_e4m3fn(const std::uint8_t* from, float* to, std::size_t count) {
    widen_run<e4m3fn, std::uint8_t>(from, to, count);
}
void from_f8_e5m2(const std::uint8_t* from, float* to, std::size_t count) {
    widen_run<e5m2, std::uint8_t>(from, to, count);
}
void from_f32(const std::uint8_t* from, float* to, std::size_t count) { std::memcpy(to, from, count * sizeof(float)); }

void from_f64(const std::uint8_t* from, float* to, std::size_t count) {
    for (std::size_t i = 0; i < count; ++i) {
        std::uint64_t bits;
        std::memcpy(&bits, from + i * 8, 8);
        const auto sign = static_cast<std::uint32_t>(bits >> 63 << 31);
        const bool is_nan = (bits & 0x7fffffffffffffffu) > 0x7ff0000000000000u;
        to[i] = is_nan ? std::bit_cast<float>(sign | quiet_nan | static_cast<std::uint32_t>(bits >> 29 & 0x7fffffu))
                       : static_cast<float>(std::bit_cast<double>(bits));
    }
}

void to_f16(const float* from, std::uint8_t* to, std::size_t count) { narrow_run<f16, std::uint16_t>(from, to, count); }
void to_bf16(const float* from, std::uint8_t* to, std::size_t count) {
    narrow_run<bf16, std::uint16_t>(from, to, count);
}
void to_f8_e4m3fn(const float* from, std::uint8_t* to, std::size_t count) {
    narrow_run<e4m3fn, std::uint8_t>(from, to, count);
}
void to_f8_e5m2(const float* from, std::uint8_t* to, std::size_t count) {
    narrow_run<e5m2, std::uint8_t>(from, to, count);
}
void to_f32(const float* from, std::uint8_t* to, std::size_t count) { std::memcpy(to, from, count * sizeof(float)); }

void to_f64(const float* from, std::uint8_t* to, std::size_t count) {
    for (std::size_t i = 0; i < count; ++i) {
        const auto bits = std::bit_cast<std::uint32_t>(from[i]);
        const bool is_nan = (bits & 0x7fffffffu) > infinity;
        const std::uint64_t wide = is_nan ? static_cast<std::uint64_t>(bits >> 31) << 63 | 0x7ff8000000000000u |
                                                static_cast<std::uint64_t>(bits & 0x7fffffu) << 29
                                          : std::bit_cast<std::uint64_t>(static_cast<double>(from[i]));
        std::memcpy(to + i * 8, &wide, 8);
    }
}

}  // namespace vaecomp::core::scalar
