#include "fuzz/mutate.hpp"

#include <algorithm>
#include <cstring>

#include "fuzz/parts.hpp"

namespace vaecomp::core::fuzz {
namespace {

std::size_t below(std::size_t end, Random& random) { return end == 0 ? 0 : random() % end; }

void change(Vector<std::uint8_t>& bytes, std::size_t growth, MutateBytes mutate) {
    const std::size_t size = bytes.size(), max = std::max<std::size_t>(1, size + growth);
    bytes.resize(max);
    bytes.resize(mutate(bytes.data(), size, max));
}

// Changes one of the pieces that make up the index or a section.
void change_part(Parts& parts, std::size_t growth, Random& random, MutateBytes mutate) {
    const std::size_t piece = below(2 * parts.sections.size() + 3, random);
    if (piece == 0) return change(parts.metadata, growth, mutate);
    if (piece <= 2) return change(parts.tensors, growth, mutate);
    SectionPart& part = parts.sections[(piece - 3) / 2];
    switch (below(16, random)) {
        case 0: part.kind = static_cast<SectionKind>(below(10, random)); break;
        case 1: part.flags ^= 1; break;
        default: change(piece % 2 == 0 && !part.blocks.empty() ? part.blocks : part.head, growth, mutate); break;
    }
}

}  // namespace

std::size_t mutate_bytes(std::uint8_t* data, std::size_t size, std::size_t max, Random& random) {
    const std::size_t at = below(size, random), length = 1 + below(std::min<std::size_t>(size - at, 8), random);
    const auto byte = static_cast<std::uint8_t>(random() >> 8);
    switch (size == 0 ? 5 : below(8, random)) {
        case 0:
        case 1: data[at] ^= static_cast<std::uint8_t>(1u << (byte % 8)); return size;
        case 2: data[at] = byte; return size;
        case 3: data[at] = static_cast<std::uint8_t>(data[at] + byte % 5 - 2); return size;
        case 4: std::memset(data + at, byte % 3 == 0 ? 0 : 255, length); return size;
        case 5:
            if (size == max) return size;
            std::memmove(data + at + 1, data + at, size - at);
            data[at] = byte;
            return size + 1;
        case 6: std::memmove(data + at, data + at + length, size - at - length); return size - length;
        default: std::memmove(data + at, data + below(size - length + 1, random), length); return size;
    }
}

void mutate(Vector<std::uint8_t>& file, std::size_t max, Repair repair, Random& random, MutateBytes mutate,
            const Archive* pack) {
    const std::size_t growth = max > file.size() ? std::min<std::size_t>(max - file.size(), 64) : 0;
    std::optional<Parts> parts;
    if (repair != Repair::nothing && below(4, random) != 0) parts = take_apart(file);
    if (parts) {
        change_part(*parts, growth, random, mutate);
        Vector<std::uint8_t> changed = put_together(*parts, pack);
        if (changed.size() <= max) file = std::move(changed);
    } else {
        change(file, growth, mutate);
        if (repair != Repair::nothing) seal_index(file);
    }
    if (repair == Repair::checksums_and_digests) seal_digests(file, pack);
}

}  // namespace vaecomp::core::fuzz
