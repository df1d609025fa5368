// The checksums of blocks, which stand in the heads of their sections.
#pragma once

#include "format/index.hpp"
#include "fuzz/parts.hpp"

namespace vaecomp::core::fuzz {

// Puts the checksums right in one section, as far as its head can be read.
void seal_blocks(const Index& index, std::size_t section, SectionPart& part);

}  // namespace vaecomp::core::fuzz
