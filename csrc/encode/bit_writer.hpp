// The bits behind a block's symbols (docs/kernels.md, 8).
#pragma once

#include <cstdint>
#include <limits>
#include <utility>

#include "core/containers.hpp"
#include "core/endian.hpp"

namespace vaecomp::core {

// Numbers of a few bits each, the lowest bit first.
class BitWriter {
  public:
    BitWriter() : bytes_(spare) {}
    // Puts the bits behind these bytes.
    BitWriter(Vector<std::uint8_t> before, std::size_t expected_bytes)
        : bytes_(std::move(before)), size_(bytes_.size()) {
        bytes_.resize(size_ + expected_bytes + spare);
    }

    void put(std::uint64_t value, unsigned bits) {
        if (bits > most) {
            put(value & (std::numeric_limits<std::uint64_t>::max() >> (64 - most)), most);
            value >>= most;
            bits -= most;
        }
        pending_ |= value << filled_;
        filled_ += bits;
        if (size_ + spare > bytes_.size()) bytes_.resize(2 * bytes_.size());
        // Eight bytes are written each time, of which the whole ones stay: no branch.
        store_le(bytes_.data() + size_, pending_);
        size_ += filled_ / 8;
        pending_ >>= filled_ / 8 * 8;
        filled_ %= 8;
    }
    // All bits. The last byte is filled up with zeros.
    Vector<std::uint8_t> finish() {
        bytes_.resize(size_ + (filled_ > 0));
        return std::move(bytes_);
    }

    // Of the bits that are put at once.
    static constexpr unsigned most = 56;

  private:
    static constexpr std::size_t spare = 8;
    Vector<std::uint8_t> bytes_;
    std::size_t size_ = 0;
    std::uint64_t pending_ = 0;
    unsigned filled_ = 0;  // bits of `pending_`, fewer than 8
};

}  // namespace vaecomp::core
