// The archive's index: everything known before any section is read.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <utility>

#include "core/bytes.hpp"
#include "core/containers.hpp"
#include "core/dtype.hpp"
#include "core/source.hpp"
#include "format/layout.hpp"

namespace vaecomp::core {

struct Section {
    SectionKind kind;
    bool external;
    std::uint64_t offset, size;  // in this file; offset is meaningless for an external section
    std::uint32_t crc;
    std::array<std::uint8_t, sha256_bytes> hash;  // of an external section
    Vector<std::size_t> tensors;                  // those that name this section, in the table's order

    [[nodiscard]] std::uint64_t end() const { return offset + size; }
};

struct Tensor {
    String name;
    Codec codec;
    DType dtype;
    Vector<std::size_t> shape;
    std::size_t section;  // or, for an alias, the tensor it shares its data with
    std::uint64_t digest;
    std::uint64_t digest_offset = 0;  // in the file, for messages
    std::uint64_t first = 0;          // its first element, or byte if it is raw, within its section's tensors

    [[nodiscard]] std::size_t count() const {
        std::size_t product = 1;
        for (const std::size_t length : shape) product *= length;
        return product;
    }
    [[nodiscard]] std::size_t bytes() const { return count() * info(dtype).size; }
    // For messages.
    [[nodiscard]] std::string quoted_name() const;
};

struct Index {
    std::uint16_t version;
    std::uint64_t file_bytes, container_bytes;  // container: header, index and padding
    Vector<std::pair<String, String>> metadata;
    Vector<Section> sections;
    Vector<Tensor> tensors;  // aliases carry their target's dtype, shape and digest
};

// Of a file's or section's first bytes: enough for what they begin with in most, so that one request does.
inline constexpr std::uint64_t first_request = std::uint64_t{1} << 14;

// What a file's header, which is checked, says of the file's size.
std::uint64_t read_file_bytes(Bytes header);

// Parses and checks header, index and padding of a file.
Index read_index(const Source& file);

}  // namespace vaecomp::core
