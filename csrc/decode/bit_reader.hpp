// The bits behind a block's symbols (docs/kernels.md, 8).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "core/bytes.hpp"
#include "core/endian.hpp"

namespace vaecomp::core {

// Numbers of a few bits each, the lowest first.
class BitReader {
  public:
    explicit BitReader(Bytes bytes) : bytes_(bytes) {}

    // At most 63 bits.
    std::uint64_t take(unsigned bits);

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

    void expect_end() const;

  private:
    Bytes bytes_;
    std::size_t at_ = 0;
};

}  // namespace vaecomp::core
