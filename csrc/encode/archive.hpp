// Sections and tensors to a file.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <utility>

#include "core/containers.hpp"
#include "format/index.hpp"

namespace vaecomp::core {

struct NewSection {
    SectionKind kind;
    Bytes bytes;
};

// What the index says of a section.
struct SectionEntry {
    SectionKind kind;
    std::uint64_t size;
    std::uint32_t crc;
};
SectionEntry entry_of(const NewSection& section);

// A file without its sections: header and index, and where each section begins. Between them stand zeros.
struct Front {
    Vector<std::uint8_t> bytes;
    Vector<std::uint64_t> begins;
    std::uint64_t file_bytes;
};

// All fields of a tensor but `first` count. The result is read back through read_index, so that nothing is ever written
// that the reader refuses.
using Metadata = std::span<const std::pair<std::string, std::string>>;
Front write_front(Metadata metadata, std::span<const SectionEntry> sections, std::span<const Tensor> tensors);

// The whole file.
Vector<std::uint8_t> write_archive(Metadata metadata, std::span<const NewSection> sections,
                                   std::span<const Tensor> tensors);

// A member of a pack. The tensors are in the pack's order, aliases too. Only their codec, section and digest count.
Vector<std::uint8_t> write_member(const PackIndex& pack, Metadata metadata, std::span<const NewSection> sections,
                                  std::span<const Tensor> tensors);

}  // namespace vaecomp::core
