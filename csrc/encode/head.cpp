#include "encode/head.hpp"

#include <algorithm>

namespace vaecomp::core {

void join_head(ByteWriter& head, Payload& payload, std::size_t threads, Place place) {
    ByteWriter start;
    start.varint(head.size());
    start.append(head.bytes());
    std::uint8_t* const out = place(start.size() + payload.size());
    payload.move_to(std::copy(start.bytes().begin(), start.bytes().end(), out), threads);
}

Vector<std::uint8_t> join_head(ByteWriter& head, Payload& payload) {
    return in_vector([&](Place place) { join_head(head, payload, 0, place); });
}

}  // namespace vaecomp::core
