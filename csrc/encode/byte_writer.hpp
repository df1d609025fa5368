// Writing the format's primitives.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "core/bytes.hpp"

namespace vaecomp::core {

class ByteWriter {
  public:
    template <std::integral T>
    void fixed(T value) {
        const std::size_t at = bytes_.size();
        bytes_.resize(at + sizeof(T));
        store_le(bytes_.data() + at, value);
    }
    void varint(std::uint64_t value);
    void zigzag(std::int64_t value);
    void string(std::string_view text);
    void front_coded(std::string_view text, std::string_view previous);
    void append(Bytes bytes) { bytes_.insert(bytes_.end(), bytes.begin(), bytes.end()); }

    [[nodiscard]] std::size_t size() const { return bytes_.size(); }
    [[nodiscard]] Vector<std::uint8_t>& bytes() { return bytes_; }

  private:
    Vector<std::uint8_t> bytes_;
};

}  // namespace vaecomp::core
