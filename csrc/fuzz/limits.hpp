// What is small enough to be decoded many times a second. Valid files may take 2^17 times their size in memory, and
// 2^24 multiplications a byte.
#pragma once

#include <cstdint>

#include "decode/archive.hpp"
#include "vaecomp.h"

namespace vaecomp::core::fuzz {

inline constexpr std::uint64_t max_memory = std::uint64_t{1} << 24;
inline constexpr std::uint64_t max_tensor_bytes = std::uint64_t{1} << 21;
// With weights within `max_memory`, that many chunks take about a second.
inline constexpr std::uint64_t max_chunks_decoded = 256;

inline bool is_quick(const Archive& archive) {
    std::uint64_t bytes = 0, chunks = 0;
    for (const Tensor& tensor : archive.index().tensors) bytes += tensor.bytes();
    if (bytes > max_tensor_bytes) return false;
    for (const ChunkSummary& group : archive.chunks()) chunks += group.chunks;
    if (archive.is_pack()) {
        for (const FleetGroup& group : archive.fleet(1).section().groups) chunks += group.chunks;
    }
    return chunks <= max_chunks_decoded;
}

}  // namespace vaecomp::core::fuzz
