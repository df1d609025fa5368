// The bits behind a block's symbols (docs/kernels.md, 8).
#pragma once

#include <cstdint>
#include <limits>
#include <span>
#include <utility>

#include "core/containers.hpp"
#include "core/endian.hpp"

namespace vaecomp::core {

// Numbers of a few bits each, the lowest bit first.
class BitWriter {
  public:
    explicit BitWriter(std::size_t expected_bytes = 0) : bytes_(expected_bytes + spare) {}

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
    template <typename Number>
    void put_all(std::span<const Number> numbers, unsigned bits) {
        std::size_t i = 0;
        if (bits <= most / 8) {  // eight at once
            for (; i + 8 <= numbers.size(); i += 8) {
                std::uint64_t together = 0;
                for (unsigned e = 0; e < 8; ++e) together |= std::uint64_t{numbers[i + e]} << e * bits;
                put(together, 8 * bits);
            }
        }
        for (; i < numbers.size(); ++i) put(numbers[i], bits);
    }
    // All bits. The last byte is filled up with zeros.
    Vector<std::uint8_t> finish() {
        bytes_.resize(size_ + (filled_ > 0));
        return std::move(bytes_);
    }

  private:
    static constexpr unsigned most = 56;
    static constexpr std::size_t spare = 8;
    Vector<std::uint8_t> bytes_;
    std::size_t size_ = 0;
    std::uint64_t pending_ = 0;
    unsigned filled_ = 0;  // bits of `pending_`, fewer than 8
};

}  // namespace vaecomp::core
