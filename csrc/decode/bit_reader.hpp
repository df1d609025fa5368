// The bits behind a block's symbols (docs/kernels.md, 8).
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "core/bytes.hpp"
#include "core/endian.hpp"
#include "core/error.hpp"

namespace vaecomp::core {

// Numbers of a few bits each, the lowest first.
class BitReader {
  public:
    explicit BitReader(Bytes bytes) : bytes_(bytes) {}

    // At most 63 bits.
    std::uint64_t take(unsigned bits) {
        const std::size_t byte = at_ / 8;
        const auto offset = static_cast<unsigned>(at_ % 8);
        if (bits > 8 * bytes_.size() - at_) throw Error(ErrorCode::malformed, "a block's bits end before its symbols");
        at_ += bits;
        std::uint64_t low = 0, high = 0;
        if (bytes_.size() - byte > 8) {
            low = load_le<std::uint64_t>(bytes_.data() + byte);
            high = bytes_[byte + 8];
        } else {
            std::array<std::uint8_t, 8> last{};
            std::copy(bytes_.begin() + static_cast<std::ptrdiff_t>(byte), bytes_.end(), last.begin());
            low = load_le<std::uint64_t>(last.data());
        }
        // The ninth byte begins 64 - offset bits behind, which may be all 64.
        const std::uint64_t value = low >> offset | high << (63 - offset) << 1;
        return value & ((std::uint64_t{1} << bits) - 1);
    }

    // The next numbers, of at most 63 bits each.
    template <typename Number>
    void take_all(unsigned bits, std::span<Number> numbers) {
        std::size_t i = 0;
        // Where eight bytes hold a number from any bit of the first on, and are there, in one read.
        if (bits <= 56 && bytes_.size() >= 8) {
            const std::uint64_t mask = (std::uint64_t{1} << bits) - 1;
            const std::size_t last = 8 * (bytes_.size() - 8);
            if (bits <= 7) {  // eight at once
                for (; i + 8 <= numbers.size() && at_ <= last; i += 8, at_ += 8 * bits) {
                    const std::uint64_t word = load_le<std::uint64_t>(bytes_.data() + at_ / 8) >> at_ % 8;
                    for (unsigned e = 0; e < 8; ++e) numbers[i + e] = static_cast<Number>(word >> e * bits & mask);
                }
            }
            for (; i < numbers.size() && at_ <= last; ++i, at_ += bits) {
                const auto word = load_le<std::uint64_t>(bytes_.data() + at_ / 8);
                numbers[i] = static_cast<Number>(word >> at_ % 8 & mask);
            }
        }
        for (; i < numbers.size(); ++i) numbers[i] = static_cast<Number>(take(bits));
    }

    void expect_end() const {
        const std::size_t left = 8 * bytes_.size() - at_;
        if (left >= 8 || (left > 0 && bytes_.back() >> (8 - left) != 0)) {
            throw Error(ErrorCode::malformed, "a block has bits behind its last symbol");
        }
    }

  private:
    Bytes bytes_;
    std::size_t at_ = 0;
};

}  // namespace vaecomp::core
