// Reading the format's primitives. Every read names the field, so that an error can say what is wrong and at which
// offset of the file.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <string_view>

#include "core/containers.hpp"
#include "core/endian.hpp"
#include "core/error.hpp"

namespace vaecomp::core {

static_assert(sizeof(std::size_t) == 8, "sizes are checked as 64-bit numbers; build for a 64-bit target");

using Bytes = std::span<const std::uint8_t>;

bool is_utf8(Bytes text);
// How many bytes of a text are at most `max` and end between characters, so that it stays UTF-8.
std::size_t fitting(std::string_view text, std::size_t max);
inline Bytes bytes_of(std::string_view text) {
    return {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()};
}

class ByteReader {
  public:
    // `offset` is where `bytes` begin in the file; `part` ("index", "section 3") goes into messages.
    ByteReader(Bytes bytes, std::uint64_t offset, std::string part)
        : bytes_(bytes), base_(offset), part_(std::move(part)) {}

    [[noreturn]] void fail(std::string_view field, std::string_view problem) const;

    template <std::integral T>
    T fixed(std::string_view field) {
        return load_le<T>(take(sizeof(T), field).data());
    }
    std::uint64_t varint(std::string_view field, std::uint64_t min = 0,
                         std::uint64_t max = std::numeric_limits<std::uint64_t>::max());
    std::int64_t zigzag(std::string_view field);
    String string(std::string_view field);
    // A name of at most `max` bytes. The file has only what follows the beginning that it shares with `previous`.
    String front_coded(std::string_view field, std::string_view previous, std::uint64_t max);
    Bytes take(std::uint64_t size, std::string_view field);
    void expect_end(std::string_view field) const;

    [[nodiscard]] Bytes bytes() const { return bytes_; }
    [[nodiscard]] std::uint64_t first_offset() const { return base_; }
    [[nodiscard]] std::size_t remaining() const { return bytes_.size() - position_; }
    [[nodiscard]] std::uint64_t offset() const { return base_ + position_; }

  private:
    Bytes bytes_;
    std::size_t position_ = 0;
    std::uint64_t base_;
    std::string part_;
    // The offset at which the field now being read begins, for messages.
    std::uint64_t field_offset_ = 0;
};

}  // namespace vaecomp::core
