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
Vector<std::uint8_t> write_archive(std::span<const std::pair<std::string, std::string>> metadata,
                                   std::span<const NewSection> sections, std::span<const Tensor> tensors);

}  // namespace vaecomp::core
