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
            if constexpr (sizeof(Number) == 2) {  // four at once
                for (; bits <= 14 && i + 4 <= numbers.size() && at_ <= last; i += 4, at_ += 4 * bits) {
                    const std::uint64_t four = load_le<std::uint64_t>(bytes_.data() + at_ / 8) >> at_ % 8;
                    const std::uint64_t pairs = (four & 0xffffffff) | four >> 2 * bits << 32;
                    const std::uint64_t even = pairs & mask * 0x0000000100000001;
                    const std::uint64_t odd = pairs >> bits & mask * 0x0000000100000001;
                    const std::uint64_t apart = even | odd << 16;
                    for (unsigned e = 0; e < 4; ++e) numbers[i + e] = static_cast<Number>(apart >> 16 * e);
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
