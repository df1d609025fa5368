// Sections that begin with a head.
#pragma once

#include <cstdint>

#include "core/containers.hpp"
#include "encode/byte_writer.hpp"
#include "encode/payload.hpp"

namespace vaecomp::core {

// The head's size, the head and what follows it.
void join_head(ByteWriter& head, Payload& payload, std::size_t threads, Place place);
Vector<std::uint8_t> join_head(ByteWriter& head, Payload& payload);

}  // namespace vaecomp::core
