// The bits behind a block's symbols (docs/kernels.md, 8).
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <utility>

#include "core/containers.hpp"
#include "core/endian.hpp"

namespace vaecomp::core {

// Numbers of a few bits each, the lowest bit first.
class BitWriter {
  public:
    void put(std::uint64_t value, unsigned bits) {
        if (bits > half) {
            put(value & (std::numeric_limits<std::uint64_t>::max() >> half), half);
            value >>= half;
            bits -= half;
        }
        pending_ |= value << filled_;
        filled_ += bits;
        if (filled_ < half) return;
        const std::size_t size = bytes_.size();
        bytes_.resize(size + half / 8);
        store_le(bytes_.data() + size, static_cast<std::uint32_t>(pending_));
        pending_ >>= half;
        filled_ -= half;
    }
    // All bits. The last byte is filled up with zeros.
    Vector<std::uint8_t> finish() {
        for (; filled_ > 0; filled_ -= std::min(filled_, 8u), pending_ >>= 8) {
            bytes_.push_back(static_cast<std::uint8_t>(pending_));
        }
        return std::move(bytes_);
    }

  private:
    static constexpr unsigned half = 32;
    Vector<std::uint8_t> bytes_;
    std::uint64_t pending_ = 0;
    unsigned filled_ = 0;  // bits of `pending_`, fewer than 32
};

}  // namespace vaecomp::core
