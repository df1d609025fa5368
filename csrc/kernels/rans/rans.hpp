// Decoding one run of symbols of an interleaved rANS block (docs/kernels.md, 5).
#pragma once

#include <cstddef>
#include <cstdint>

namespace vaecomp::core {

namespace rans {
inline constexpr unsigned table_bits = 12;
inline constexpr std::uint32_t table_total = 1u << table_bits, lowest_state = 1u << 16;
inline constexpr std::size_t max_lanes = 64;

// What a slot (the low bits of a state) means: slot - start, above it frequency - 1, and in the highest byte
// symbol - least, so that one read is enough.
namespace slot {
inline constexpr unsigned frequency_shift = table_bits, symbol_shift = 2 * table_bits;
inline constexpr std::uint32_t symbols = 1u << (32 - symbol_shift);
}  // namespace slot
}  // namespace rans

// A table of so few symbols that searching them in registers is faster than reading memory. Symbol i of `count`,
// counted from `first` on, has the slots starts[i] .. starts[i] + frequencies[i] - 1.
struct RansAlphabet {
    static constexpr std::size_t most = 32;
    alignas(64) std::uint16_t starts[most];
    alignas(64) std::uint16_t frequencies[most];
    std::size_t count;
    std::int32_t first;
};

// Tables as decoding reads them: table_total slots for each, one table behind another. The low bits of a state are its
// slot.
struct RansTables {
    const std::uint32_t* slots;
    const std::int32_t* symbols;  // of each slot; null if all of them lie in least .. least + slot::symbols - 1
    std::int32_t least;
    const RansAlphabet* alphabet;  // of the first table; null if it has more than RansAlphabet::most symbols
};

// Where decoding of a block stands: the lanes' states and the words that are left.
struct RansState {
    alignas(64) std::uint32_t lanes[rans::max_lanes];
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
namespace avx512 {
RansDecode rans_decode;
}

}  // namespace vaecomp::core
