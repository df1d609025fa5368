// The bits behind a block's symbols (docs/kernels.md, 8).
#pragma once

#include <cstdint>
#include <limits>
#include <utility>

#include "core/containers.hpp"

namespace vaecomp::core {

// Numbers of a few bits each, the lowest first.
class BitWriter {
  public:
    void put(std::uint64_t value, unsigned bits) {
        if (bits > half) {
            put(value & (std::numeric_limits<std::uint64_t>::max() >> half), half);
            value >>= half;
            bits -= half;
        }
        pending_ |= value << filled_;
        for (filled_ += bits; filled_ >= 8; filled_ -= 8, pending_ >>= 8) {
            bytes_.push_back(static_cast<std::uint8_t>(pending_));
        }
    }
    // All of them, the last byte filled up with zeros.
    Vector<std::uint8_t> finish() {
        if (filled_ > 0) bytes_.push_back(static_cast<std::uint8_t>(pending_));
        return std::move(bytes_);
    }

  private:
    static constexpr unsigned half = 32;
    Vector<std::uint8_t> bytes_;
    std::uint64_t pending_ = 0;
    unsigned filled_ = 0;  // bits of `pending_`, fewer than 8
};

}  // namespace vaecomp::core
