// A block of rANS symbols with bits behind them (docs/format.md, Differences and Lossless).
#pragma once

#include "core/bytes.hpp"
#include "core/endian.hpp"
#include "core/error.hpp"
#include "decode/bit_reader.hpp"
#include "entropy/rans.hpp"

namespace vaecomp::core {

struct BitsBlock {
    BitsBlock(Bytes bytes, std::size_t lanes) : symbols(take_coded(bytes), lanes), bits(bytes) {}

    BlockReader symbols;
    BitReader bits;

  private:
    // Leaves the bits in `bytes`.
    static Bytes take_coded(Bytes& bytes) {
        if (bytes.size() < 4) throw Error(ErrorCode::malformed, "a block ends inside its symbols' size");
        const std::size_t size = load_le<std::uint32_t>(bytes.data());
        if (size > bytes.size() - 4) throw Error(ErrorCode::malformed, "a block's symbols exceed it");
        const Bytes coded = bytes.subspan(4, size);
        bytes = bytes.subspan(4 + size);
        return coded;
    }
};

}  // namespace vaecomp::core
