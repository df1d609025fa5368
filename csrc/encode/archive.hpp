// Sections and tensors to a file.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <utility>

#include "core/containers.hpp"
#include "encode/payload.hpp"
#include "format/index.hpp"

namespace vaecomp::core {

struct NewSection {
    SectionKind kind;
    Bytes bytes;
};

// The whole file. All fields of a tensor but `first` count. The result is read back through read_index, so that nothing
// is ever written that the reader refuses.
using Metadata = std::span<const std::pair<std::string, std::string>>;
void write_archive(Metadata metadata, std::span<const NewSection> sections, std::span<const Tensor> tensors,
                   std::size_t threads, Place place);
Vector<std::uint8_t> write_archive(Metadata metadata, std::span<const NewSection> sections,
                                   std::span<const Tensor> tensors);

// A member of a pack. The tensors are in the pack's order, aliases too. Only their codec, section and digest count.
Vector<std::uint8_t> write_member(const PackIndex& pack, Metadata metadata, std::span<const NewSection> sections,
                                  std::span<const Tensor> tensors);

}  // namespace vaecomp::core
