#include "encode/head.hpp"

namespace vaecomp::core {

Vector<std::uint8_t> join_head(ByteWriter& head, ByteWriter& payload) {
    ByteWriter section;
    section.varint(head.size());
    section.append(head.bytes());
    section.append(payload.bytes());
    return std::move(section.bytes());
}

}  // namespace vaecomp::core
