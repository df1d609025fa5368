// Encoding symbols of an interleaved rANS block (docs/kernels.md, 5).
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>

#include "kernels/rans/rans.hpp"

namespace vaecomp::core {

// The slots of a symbol, laid out for encoding: a state x becomes q * table_total + x - q * frequency + start, where
// q = x / frequency. Without a division, q is x * reciprocal / 2^(32 + shift) or one less than that, and the sign of
// what that leaves of x says which.
struct RansInterval {
    // A reciprocal of 1 would have 33 bits. One less makes q too small by 1, for which the addend makes up.
    constexpr RansInterval(std::uint32_t start, std::uint32_t frequency) {
        if (frequency <= 1) {
            reciprocal = 0xffffffff;
            packed = (start + rans::table_total - 1) << addend_shift;
            return;
        }
        const auto shift = static_cast<unsigned>(std::bit_width(frequency - 1) - 1);
        const std::uint64_t whole = std::uint64_t{1} << (32 + shift);
        reciprocal = static_cast<std::uint32_t>((whole + frequency - 1) / frequency);
        packed = (frequency - 1) | start << addend_shift | shift << shift_shift;
    }

    // Of the packed fields: frequency - 1, what is added, and the quotient's shift.
    static constexpr unsigned addend_shift = rans::table_bits, shift_shift = 2 * rans::table_bits + 1;
    static constexpr std::uint32_t frequency_mask = rans::table_total - 1, addend_mask = 2 * rans::table_total - 1;

    std::uint32_t reciprocal, packed;
};

// Where encoding of a block stands. A word is put before `word`, and as many as rans_words_ahead before that may be
// overwritten.
struct RansEncoding {
    alignas(64) std::uint32_t lanes[rans::max_lanes];
    std::uint16_t* word;
};
inline constexpr std::size_t rans_words_ahead = 8;

// Encodes symbols [first, first + count) of a block, last to first; symbol i belongs to lane i mod lane_count (a power
// of two) and has interval entries[i - first].
using RansEncode = void(const RansInterval* intervals, const std::uint32_t* entries, std::size_t lane_count,
                        std::size_t first, std::size_t count, RansEncoding& state);

namespace scalar {
RansEncode rans_encode;
}
namespace avx2 {
RansEncode rans_encode;
}

}  // namespace vaecomp::core
