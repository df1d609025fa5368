#include "encode/byte_writer.hpp"

#include <algorithm>

namespace vaecomp::core {
namespace {

void require_text(std::string_view text) {
    if (is_utf8(bytes_of(text))) return;
    throw Error(ErrorCode::invalid_argument, "a name or metadata string must be valid UTF-8; rename it");
}

}  // namespace

void ByteWriter::varint(std::uint64_t value) {
    for (; value >= 0x80; value >>= 7) bytes_.push_back(static_cast<std::uint8_t>(value | 0x80));
    bytes_.push_back(static_cast<std::uint8_t>(value));
}

void ByteWriter::zigzag(std::int64_t value) {
    varint((static_cast<std::uint64_t>(value) << 1) ^ static_cast<std::uint64_t>(value >> 63));
}

void ByteWriter::string(std::string_view text) {
    require_text(text);
    varint(text.size());
    append(bytes_of(text));
}

void ByteWriter::front_coded(std::string_view text, std::string_view previous) {
    require_text(text);
    const auto [differs, rest] = std::mismatch(text.begin(), text.end(), previous.begin(), previous.end());
    const auto shared = static_cast<std::size_t>(differs - text.begin());
    varint(shared);
    varint(text.size() - shared);
    append(bytes_of(text.substr(shared)));
}

}  // namespace vaecomp::core
