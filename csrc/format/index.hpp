// The archive's index: everything known before any section is read.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>

#include "core/bytes.hpp"
#include "core/containers.hpp"
#include "core/dtype.hpp"
#include "core/sha256.hpp"
#include "core/source.hpp"
#include "format/layout.hpp"

namespace vaecomp::core {

struct Section {
    SectionKind kind;
    std::uint64_t offset, size;
    std::uint32_t crc;
    Vector<std::size_t> tensors;  // those that name this section, in the table's order

    [[nodiscard]] std::uint64_t end() const { return offset + size; }
};

struct Tensor {
    String name;
    Codec codec;
    DType dtype;
    Vector<std::size_t> shape;
    // Or, for an alias, the tensor it shares its data with. Shared tensors have none: they lie in the pack.
    std::size_t section;
    std::uint64_t digest;
    std::uint64_t digest_offset = 0;  // in the file, for messages
    std::uint64_t first = 0;          // its first element, or byte if it is raw, within its section's tensors
    std::size_t place = 0;            // among these

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
    Vector<Tensor> tensors;      // aliases carry their target's dtype, shape and digest
    std::optional<Sha256> pack;  // of a member: the hash of its pack's file
    std::uint64_t pack_bytes = 0;

    // The first section of a kind.
    [[nodiscard]] std::optional<std::size_t> find(SectionKind kind) const;
    // What limits of decoded bytes and work are multiples of.
    [[nodiscard]] std::uint64_t counted_bytes() const { return file_bytes + pack_bytes; }
    // What the file's size allows a stream of symbols, or the bytes of a decoder, to number.
    [[nodiscard]] std::uint64_t max_symbols() const { return max_expansion * counted_bytes(); }
};

// Of a file's or section's first bytes: enough for what they begin with in most, so that one request does.
inline constexpr std::uint64_t first_request = std::uint64_t{1} << 14;

// What a file's header, which is checked, says of the file's size.
std::uint64_t read_file_bytes(Bytes header);

// What members take from their pack.
struct PackIndex {
    const Index& index;
    Sha256 hash;  // of the pack's file
};

// Parses and checks header, index and padding of a file. A file that is a member needs its pack, others do without:
// throws missing_pack if it is null or another one.
Index read_index(const Source& file, const PackIndex* pack = nullptr);

}  // namespace vaecomp::core
