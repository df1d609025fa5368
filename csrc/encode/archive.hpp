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

// The whole file. Of each tensor all fields but `first` count; the result is read back through read_index, so that
// nothing is ever written that the reader refuses.
using Metadata = std::span<const std::pair<std::string, std::string>>;
Vector<std::uint8_t> write_archive(Metadata metadata, std::span<const NewSection> sections,
                                   std::span<const Tensor> tensors);

// A member of a pack. Of each tensor, in the order of the pack's (aliases too), codec, section and digest count.
Vector<std::uint8_t> write_member(const PackIndex& pack, Metadata metadata, std::span<const NewSection> sections,
                                  std::span<const Tensor> tensors);

}  // namespace vaecomp::core
