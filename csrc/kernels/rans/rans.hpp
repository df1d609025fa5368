// Decoding one run of symbols of an interleaved rANS block (docs/kernels.md, 5).
#pragma once

#include <cstddef>
#include <cstdint>

namespace vaecomp {

namespace rans {
inline constexpr unsigned table_bits = 12;
inline constexpr std::uint32_t table_total = 1u << table_bits, lowest_state = 1u << 16;
inline constexpr std::size_t most_lanes = 32;
}  // namespace rans

// What a slot (the low bits of a state) means; table_total entries for each table, one table behind another.
struct RansTables {
    const std::uint32_t* steps;  // frequency | (slot - start) << 16
    const std::int32_t* symbols;
};

// Where decoding of a block stands: the lanes' states and the words that are left.
struct RansState {
    alignas(32) std::uint32_t lanes[rans::most_lanes];
    const std::uint8_t* word;
    const std::uint8_t* end;
};

// Decodes symbols [first, first + count) of the block; symbol i belongs to lane i mod lane_count (a power of two).
// `contexts` says which table each of them has; null: the first one for all. Returns false if the words end before the
// symbols.
using RansDecode = bool(const RansTables& tables, const std::uint8_t* contexts, std::size_t lane_count,
                        std::size_t first, std::size_t count, RansState& state, std::int32_t* out);

namespace scalar {
RansDecode rans_decode;
}
namespace avx2 {
RansDecode rans_decode;
}

}  // namespace vaecomp
