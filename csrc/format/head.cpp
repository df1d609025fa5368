#include "format/head.hpp"

namespace vaecomp::core {

std::uint64_t read_head_bytes(ByteReader& reader, std::uint64_t section_bytes) {
    const std::uint64_t bytes = reader.varint("head's size");
    if (bytes > section_bytes - (reader.offset() - reader.first_offset())) {
        reader.fail("head's size", "exceeds the section");
    }
    return bytes;
}

Bytes checked_bytes(SectionKind kind, Bytes section) {
    if (!has_head(kind)) return section;
    ByteReader reader(section, 0, "section");
    const std::uint64_t bytes = read_head_bytes(reader, section.size());
    return section.first(static_cast<std::size_t>(reader.offset() + bytes));
}

}  // namespace vaecomp::core
