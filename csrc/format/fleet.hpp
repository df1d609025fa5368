// A pack's fleet and a member's place in it (docs/format.md, Fleet and Member).
#pragma once

#include <cstdint>
#include <span>

#include "core/bytes.hpp"
#include "core/containers.hpp"
#include "entropy/rans.hpp"
#include "format/index.hpp"

namespace vaecomp::core {

// Some of a member's latents, one behind another.
struct LatentSlice {
    std::size_t first, count;
};

// Tensors of the base to which one decoder adds: their elements, cut into chunks as those of a latents section are.
struct FleetGroup {
    std::size_t decoder;  // a section
    std::size_t chunk_length, chunks;
    Vector<LatentSlice> slices;
    std::size_t positions;         // numbers that say which chunk it is
    Vector<std::int8_t> position;  // [chunks, positions]
    Vector<std::size_t> tensors;   // of the index

    // What the decoder takes: the slices and the position.
    [[nodiscard]] std::size_t inputs() const {
        std::size_t count = positions;
        for (const LatentSlice& slice : slices) count += slice.count;
        return count;
    }
};

// How the latents of a member are coded.
struct LatentCoding {
    std::size_t latents = 0;
    Vector<FrequencyTable> tables;
    Vector<std::uint8_t> contexts;  // by latent: its table
};

struct FleetSection {
    LatentCoding coding;
    std::size_t table_bytes;  // of the section: what the coding takes
    Vector<FleetGroup> groups;
};

// What a fleet section begins with.
LatentCoding read_latent_coding(ByteReader& reader);

FleetSection read_fleet(ByteReader reader, const Index& index, std::uint64_t max_symbols, std::size_t threads);

// A member's latents; `tables` are those of the coding, null if it has none.
Vector<std::int8_t> read_member(ByteReader reader, const LatentCoding& coding, const DecodingTables* tables);

}  // namespace vaecomp::core
