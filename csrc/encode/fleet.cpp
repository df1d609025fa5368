#include "encode/fleet.hpp"

#include "encode/blocks.hpp"
#include "encode/symbols.hpp"
#include "format/layout.hpp"

namespace vaecomp::core {
namespace {

void write_group(ByteWriter& writer, const FleetGroup& group) {
    writer.varint(group.decoder);
    writer.varint(group.chunk_length);
    writer.varint(group.slices.size());
    for (const LatentSlice& slice : group.slices) {
        writer.varint(slice.first);
        writer.varint(slice.count);
    }
    writer.varint(group.tensors.size());
    for (const std::size_t tensor : group.tensors) writer.varint(tensor);
    writer.varint(group.positions);
    if (group.positions == 0) return;
    const Vector<std::int32_t> symbols(group.position.begin(), group.position.end());
    const std::size_t all = symbols.size();
    writer.append(encode_symbols(symbols, {&all, 1}, 0));
}

bool has_all(const LatentCoding& coding, std::span<const std::int32_t> latents) {
    for (std::size_t i = 0; i < latents.size(); ++i) {
        const FrequencyTable& table = coding.tables[coding.contexts[i]];
        if (latents[i] < table.first || latents[i] > table.last()) return false;
        if (table.frequencies[static_cast<std::size_t>(latents[i] - table.first)] == 0) return false;
    }
    return true;
}

}  // namespace

Vector<std::uint8_t> encode_fleet(std::span<const LatentSegment> segments, std::span<const FleetGroup> groups) {
    ByteWriter writer;
    std::size_t latents = 0;
    for (const LatentSegment& segment : segments) latents += segment.length;
    writer.varint(latents);
    writer.varint(segments.size());
    for (const LatentSegment& segment : segments) {
        writer.varint(segment.length);
        write_table(writer, make_table(segment.histogram));
    }
    writer.varint(groups.size());
    for (const FleetGroup& group : groups) write_group(writer, group);
    return std::move(writer.bytes());
}

Vector<std::uint8_t> encode_member(const LatentCoding& coding, std::span<const std::int8_t> latents) {
    if (latents.size() != coding.latents) {
        throw Error(ErrorCode::invalid_argument, "a member of this fleet has " + std::to_string(coding.latents) +
                                                     " latents, not " + std::to_string(latents.size()));
    }
    if (latents.empty()) return {};
    Vector<std::uint8_t> stored = {static_cast<std::uint8_t>(MemberForm::stored)};
    for (const std::int8_t latent : latents) stored.push_back(static_cast<std::uint8_t>(latent));
    const Vector<std::int32_t> symbols(latents.begin(), latents.end());
    if (!has_all(coding, symbols)) return stored;
    const EncodingTables tables(coding.tables);
    const EncodingRun run{coding.contexts.data(), symbols.size()};
    Vector<std::uint8_t> coded = encode_block(symbols, tables, {&run, 1}, 1).block();
    if (coded.size() >= latents.size()) return stored;
    coded.insert(coded.begin(), static_cast<std::uint8_t>(MemberForm::coded));
    return coded;
}

}  // namespace vaecomp::core
