// Files that a test has changed, or made by hand.
#pragma once

#include <cstdint>

#include "core/endian.hpp"
#include "format/layout.hpp"
#include "kernels/kernels.hpp"

namespace vaecomp::core::testing {

// Puts right the checksum of the header.
inline void reseal_header(Vector<std::uint8_t>& file) {
    store_le(file.data() + 28, kernels().crc32c(file.data(), header_bytes - 4));
}

// Puts right the checksums of header and index, so that a change itself is judged.
inline void reseal(Vector<std::uint8_t>& file) {
    const auto index_bytes = load_le<std::uint32_t>(file.data() + 12);
    store_le(file.data() + 24, kernels().crc32c(file.data() + header_bytes, index_bytes));
    reseal_header(file);
}

}  // namespace vaecomp::core::testing
