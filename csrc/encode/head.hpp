// Sections that begin with a head.
#pragma once

#include <cstdint>

#include "core/containers.hpp"
#include "encode/byte_writer.hpp"

namespace vaecomp::core {

// The head's size, the head and what follows it.
Vector<std::uint8_t> join_head(ByteWriter& head, ByteWriter& payload);

}  // namespace vaecomp::core
