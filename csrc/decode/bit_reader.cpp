#include "decode/bit_reader.hpp"

#include <algorithm>
#include <array>

#include "core/error.hpp"

namespace vaecomp::core {

std::uint64_t BitReader::take(unsigned bits) {
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

void BitReader::expect_end() const {
    const std::size_t left = 8 * bytes_.size() - at_;
    if (left >= 8 || (left > 0 && bytes_.back() >> (8 - left) != 0)) {
        throw Error(ErrorCode::malformed, "a block has bits behind its last symbol");
    }
}

}  // namespace vaecomp::core
