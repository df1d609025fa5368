// Binary logarithms of integers in units of 1/256, rounded down: the same on every machine.
#pragma once

#include <bit>
#include <cstdint>

namespace vaecomp::core {

// `value` is above 0. Of its binary digits the first 32 count.
inline std::uint32_t logarithm(std::uint64_t value) {
    auto result = static_cast<std::uint32_t>(std::bit_width(value) - 1);
    std::uint64_t mantissa = result < 32 ? value << (31 - result) : value >> (result - 31);  // in [2^31, 2^32)
    for (int digit = 0; digit < 8; ++digit) {  // every squaring gives one more digit
        mantissa = mantissa * mantissa >> 31;
        const auto bit = static_cast<std::uint32_t>(mantissa >> 32);
        mantissa >>= bit;
        result = 2 * result + bit;
    }
    return result;
}

}  // namespace vaecomp::core
