// Sections whose blocks are read apart begin with a head (docs/format.md, Sections).
#pragma once

#include <cstdint>

#include "core/bytes.hpp"
#include "format/layout.hpp"

namespace vaecomp::core {

constexpr bool has_head(SectionKind kind) {
    return kind == SectionKind::quantized || kind == SectionKind::lossless || kind == SectionKind::differences;
}

// Reads the size of the head that follows. A section has `section_bytes` from the reader's first one on.
std::uint64_t read_head_bytes(ByteReader& reader, std::uint64_t section_bytes);

// Those of a section's bytes that the index's checksum covers: all of them, or its head and the head's size.
Bytes checked_bytes(SectionKind kind, Bytes section);

}  // namespace vaecomp::core
