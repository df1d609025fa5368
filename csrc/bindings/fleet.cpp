#include "bindings/fleet.hpp"

#include <algorithm>

#include "bindings/decoders.hpp"
#include "encode/fleet.hpp"

namespace vaecomp::core::bindings {
namespace {

// (length, first symbol, counts).
LatentSegment segment_of(const py::tuple& tuple) {
    LatentSegment segment{tuple[0].cast<std::size_t>(), {}};
    auto symbol = tuple[1].cast<std::int32_t>();
    for (const std::uint64_t count : tuple[2].cast<std::vector<std::uint64_t>>()) {
        if (count > 0) segment.histogram.add(symbol, count);
        ++symbol;
    }
    return segment;
}

// (decoder section, chunk length, slices, tensors, positions [chunks, numbers]).
FleetGroup group_of(const py::tuple& tuple) {
    FleetGroup group{};
    group.decoder = tuple[0].cast<std::size_t>();
    group.chunk_length = tuple[1].cast<std::size_t>();
    for (const auto& [first, count] : tuple[2].cast<std::vector<std::pair<std::size_t, std::size_t>>>()) {
        group.slices.push_back({first, count});
    }
    const auto tensors = tuple[3].cast<std::vector<std::size_t>>();
    group.tensors = {tensors.begin(), tensors.end()};
    const auto positions = tuple[4].cast<Contiguous<std::int8_t>>();
    require(positions.ndim() == 2, "positions must have shape [chunks, numbers]");
    group.positions = static_cast<std::size_t>(positions.shape(1));
    group.position = vector_of(positions);
    return group;
}

// By table: (length, first symbol, frequencies).
py::list segments_of(const LatentCoding& coding) {
    py::list segments;
    for (std::size_t s = 0; s < coding.tables.size(); ++s) {
        const auto length = std::count(coding.contexts.begin(), coding.contexts.end(), static_cast<std::uint8_t>(s));
        const FrequencyTable& table = coding.tables[s];
        py::list frequencies;
        for (const std::uint16_t frequency : table.frequencies) frequencies.append(frequency);
        segments.append(py::make_tuple(length, table.first, frequencies));
    }
    return segments;
}

py::tuple tuple_of(const FleetGroup& group, const Vector<IntegerLayer>& decoder) {
    py::list slices, tensors;
    for (const LatentSlice& slice : group.slices) slices.append(py::make_tuple(slice.first, slice.count));
    for (const std::size_t tensor : group.tensors) tensors.append(tensor);
    return py::make_tuple(tuples_of(decoder), group.chunk_length, slices, tensors,
                          array_of(group.position, {group.chunks, group.positions}));
}

// By tensor of the pack: ("raw" | "quantized" | "lossless" | "member" | "differences", section, digest), or None for
// the pack's own.
Tensor member_tensor_of(const py::object& object) {
    Tensor tensor{};
    tensor.codec = Codec::shared;
    if (object.is_none()) return tensor;
    const auto [codec, section, digest] = object.cast<std::tuple<std::string, std::size_t, std::uint64_t>>();
    tensor.codec = codec == "member" ? Codec::member : codec == "differences" ? Codec::differences : codec_of(codec);
    tensor.section = section;
    tensor.digest = digest;
    return tensor;
}

}  // namespace

py::bytes encode_fleet_section(const std::vector<py::tuple>& segments, const std::vector<py::tuple>& groups) {
    Vector<LatentSegment> latents;
    for (const py::tuple& segment : segments) latents.push_back(segment_of(segment));
    Vector<FleetGroup> parts;
    for (const py::tuple& group : groups) parts.push_back(group_of(group));
    return bytes_of(encode_fleet(latents, parts));
}

FleetParts::FleetParts(const Archive& pack, std::size_t threads) : section(pack.fleet(threads).section()) {
    for (const FleetGroup& group : section.groups) decoders.push_back(pack.integer_layers(group.decoder, threads));
}

py::tuple tuple_of(const FleetParts& fleet) {
    py::list groups;
    for (std::size_t g = 0; g < fleet.decoders.size(); ++g) {
        groups.append(tuple_of(fleet.section.groups[g], fleet.decoders[g]));
    }
    return py::make_tuple(fleet.section.coding.latents, segments_of(fleet.section.coding), groups);
}

py::bytes write_member_file(const PackIndex& pack, const MetadataList& metadata, const SectionList& sections,
                            const std::vector<py::object>& tensors) {
    Vector<Tensor> table;
    for (const py::object& tensor : tensors) table.push_back(member_tensor_of(tensor));
    return bytes_of(write_member(pack, strings_of(metadata), Sections(sections).parts, table));
}

}  // namespace vaecomp::core::bindings
