// Packs and members as tuples of arrays (see vaecomp_native/_core.pyi).
#pragma once

#include "bindings/sections.hpp"
#include "decode/archive.hpp"

namespace vaecomp::core::bindings {

// A fleet section.
py::bytes encode_fleet_section(const std::vector<py::tuple>& segments, const std::vector<py::tuple>& groups);

// What a pack's fleet section holds, and for each of its groups the decoder's layers.
struct FleetParts {
    FleetParts(const Archive& pack, std::size_t threads);

    const FleetSection& section;
    Vector<Vector<IntegerLayer>> decoders;
};
// (latents, segments, groups).
py::tuple tuple_of(const FleetParts& fleet);

py::bytes write_member_file(const PackIndex& pack, const MetadataList& metadata, const SectionList& sections,
                            const std::vector<py::object>& tensors);

}  // namespace vaecomp::core::bindings
