#include "core/bytes.hpp"

namespace vaecomp::core {

// Well-formed UTF-8 by the Unicode standard's table 3-7: no overlong forms, no surrogates.
bool is_utf8(Bytes text) {
    std::size_t i = 0;
    while (i < text.size()) {
        const std::uint8_t lead = text[i++];
        if (lead < 0x80) continue;
        int following = 0;
        std::uint8_t low = 0x80, high = 0xbf;
        if (lead >= 0xc2 && lead <= 0xdf) {
            following = 1;
        } else if (lead >= 0xe0 && lead <= 0xef) {
            following = 2;
            if (lead == 0xe0) low = 0xa0;
            if (lead == 0xed) high = 0x9f;
        } else if (lead >= 0xf0 && lead <= 0xf4) {
            following = 3;
            if (lead == 0xf0) low = 0x90;
            if (lead == 0xf4) high = 0x8f;
        } else {
            return false;
        }
        for (; following > 0; --following, low = 0x80, high = 0xbf) {
            if (i == text.size() || text[i] < low || text[i] > high) return false;
            ++i;
        }
    }
    return true;
}

std::size_t fitting(std::string_view text, std::size_t max) {
    if (text.size() <= max) return text.size();
    while (max > 0 && (text[max] & 0xc0) == 0x80) --max;
    return max;
}

void ByteReader::fail(std::string_view field, std::string_view problem) const {
    throw Error(ErrorCode::malformed, part_ + ": " + std::string(field) + " at offset " +
                                          std::to_string(field_offset_) + ": " + std::string(problem));
}

Bytes ByteReader::take(std::uint64_t size, std::string_view field) {
    field_offset_ = offset();
    if (size > remaining()) {
        fail(field, "needs " + std::to_string(size) + " bytes, " + std::to_string(remaining()) + " left");
    }
    const Bytes result = bytes_.subspan(position_, static_cast<std::size_t>(size));
    position_ += static_cast<std::size_t>(size);
    return result;
}

std::uint64_t ByteReader::varint(std::string_view field, std::uint64_t min, std::uint64_t max) {
    field_offset_ = offset();
    std::uint64_t value = 0;
    for (unsigned shift = 0;; shift += 7) {
        if (remaining() == 0) fail(field, "the bytes end inside the number");
        const std::uint8_t byte = bytes_[position_++];
        if (shift == 63 && byte > 1) fail(field, "the number exceeds 64 bits");
        value |= static_cast<std::uint64_t>(byte & 0x7f) << shift;
        if (byte < 0x80) {
            if (byte == 0 && shift > 0) fail(field, "the number is not in its shortest form");
            break;
        }
    }
    if (value < min || value > max) {
        fail(field, std::to_string(value) + " is outside " + std::to_string(min) + " to " + std::to_string(max));
    }
    return value;
}

std::int64_t ByteReader::zigzag(std::string_view field) {
    const std::uint64_t value = varint(field);
    return static_cast<std::int64_t>(value >> 1) ^ -static_cast<std::int64_t>(value & 1);
}

String ByteReader::string(std::string_view field) {
    const Bytes text = take(varint(field), field);
    if (!is_utf8(text)) fail(field, "is not valid UTF-8");
    return {text.begin(), text.end()};
}

String ByteReader::front_coded(std::string_view field, std::string_view previous, std::uint64_t max) {
    const auto shared = static_cast<std::size_t>(varint(field, 0, previous.size()));
    const Bytes rest = take(varint(field), field);
    // Shared bytes cost the file nothing.
    if (rest.size() + shared > max) fail(field, "the names have together more than 2^26 bytes");
    String text(previous.substr(0, shared));
    text.append(rest.begin(), rest.end());
    if (!is_utf8(bytes_of(text))) fail(field, "is not valid UTF-8");
    return text;
}

void ByteReader::expect_end(std::string_view field) const {
    if (remaining() == 0) return;
    throw Error(ErrorCode::malformed, part_ + ": " + std::string(field) + " at offset " + std::to_string(offset()) +
                                          ": " + std::to_string(remaining()) + " bytes too many");
}

}  // namespace vaecomp::core
