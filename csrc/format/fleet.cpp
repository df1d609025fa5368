#include "format/fleet.hpp"

#include <algorithm>

#include "entropy/rans.hpp"
#include "entropy/symbol_stream.hpp"

namespace vaecomp::core {
namespace {

constexpr SymbolRange int8_range{-128, 127};

Vector<LatentSlice> read_slices(ByteReader& reader, std::size_t latents) {
    Vector<LatentSlice> slices(static_cast<std::size_t>(reader.varint("slice count", 0, max_slices)));
    for (LatentSlice& slice : slices) {
        slice.first = static_cast<std::size_t>(reader.varint("slice's first latent", 0, latents));
        slice.count = static_cast<std::size_t>(reader.varint("slice's latent count", 1, latents - slice.first));
    }
    return slices;
}

// The group's tensors, each of which belongs to no other, and how many elements they have.
std::size_t read_tensors(ByteReader& reader, const Index& index, Vector<bool>& taken, FleetGroup& group) {
    std::size_t elements = 0;
    const std::uint64_t count = reader.varint("group's tensor count", 1, index.tensors.size());
    for (std::uint64_t i = 0; i < count; ++i) {
        const auto t = static_cast<std::size_t>(reader.varint("group's tensor"));
        if (t >= index.tensors.size() || index.tensors[t].codec == Codec::alias || taken[t]) {
            reader.fail("group's tensor", "is no tensor with data of its own that belongs to no other group");
        }
        if (!is_real_float(index.tensors[t].dtype)) reader.fail("group's tensor", "is not of a real float dtype");
        taken[t] = true;
        group.tensors.push_back(t);
        elements += index.tensors[t].count();
    }
    return elements;
}

FleetGroup read_group(ByteReader& reader, const Index& index, std::size_t latents, std::uint64_t max_symbols,
                      std::size_t threads, Vector<bool>& taken) {
    FleetGroup group{};
    group.decoder = static_cast<std::size_t>(reader.varint("decoder section"));
    if (group.decoder >= index.sections.size() || index.sections[group.decoder].kind != SectionKind::integer_decoder) {
        reader.fail("decoder section", "is no integer decoder");
    }
    group.chunk_length = static_cast<std::size_t>(reader.varint("chunk length", 1, max_outputs));
    group.slices = read_slices(reader, latents);
    const std::size_t elements = read_tensors(reader, index, taken, group);
    group.chunks = (elements + group.chunk_length - 1) / group.chunk_length;
    group.positions = static_cast<std::size_t>(reader.varint("position numbers", 0, max_latent));
    if (group.inputs() == 0) reader.fail("position numbers", "the decoder has no inputs");
    if (group.positions > 0) {
        if (group.chunks > max_symbols / group.positions) {
            reader.fail("position numbers", "claim more than 2^17 times the size of the file");
        }
        SymbolStream stream(reader, int8_range, group.chunks * group.positions);
        if (stream.count() != group.chunks * group.positions) reader.fail("positions", "are not one for each chunk");
        stream.place_in(reader);
        group.position = stream.decode_in<std::int8_t>(reader, threads);
    }
    return group;
}

}  // namespace

LatentCoding read_latent_coding(ByteReader& reader) {
    LatentCoding coding;
    coding.latents = static_cast<std::size_t>(reader.varint("latents", 0, max_latent));
    const std::uint64_t most = std::min<std::uint64_t>(coding.latents, max_fleet_tables);
    const std::uint64_t segments = reader.varint("latents' segment count", coding.latents > 0 ? 1 : 0, most);
    for (std::uint64_t s = 0; s < segments; ++s) {
        const std::size_t left = coding.latents - coding.contexts.size();
        if (left == 0) reader.fail("latents' segments", "lengths exceed the latents");
        const auto length = static_cast<std::size_t>(reader.varint("latents' segment length", 1, left));
        coding.contexts.resize(coding.contexts.size() + length, static_cast<std::uint8_t>(s));
        coding.tables.push_back(read_table(reader, int8_range));
    }
    if (coding.contexts.size() != coding.latents) reader.fail("latents' segments", "lengths do not add up");
    return coding;
}

FleetSection read_fleet(ByteReader reader, const Index& index, std::uint64_t max_symbols, std::size_t threads) {
    const std::size_t before = reader.remaining();
    FleetSection fleet{read_latent_coding(reader), before - reader.remaining(), {}};
    Vector<bool> taken(index.tensors.size());
    for (std::uint64_t groups = reader.varint("group count", 0, max_groups); groups > 0; --groups) {
        fleet.groups.push_back(read_group(reader, index, fleet.coding.latents, max_symbols, threads, taken));
    }
    reader.expect_end("fleet's end");
    return fleet;
}

Vector<std::int8_t> read_member(ByteReader reader, const LatentCoding& coding, const DecodingTables* tables) {
    Vector<std::int8_t> latents(coding.latents);
    if (coding.latents == 0) {
        reader.expect_end("member's end");
        return latents;
    }
    const auto form = reader.fixed<std::uint8_t>("latents' form");
    if (form > static_cast<std::uint8_t>(MemberForm::coded)) reader.fail("latents' form", "is neither 0 nor 1");
    if (static_cast<MemberForm>(form) == MemberForm::stored) {
        const Bytes bytes = reader.take(coding.latents, "latents");
        std::transform(bytes.begin(), bytes.end(), latents.begin(),
                       [](std::uint8_t byte) { return static_cast<std::int8_t>(byte); });
    } else {
        Vector<std::int32_t> symbols(coding.latents);
        try {
            BlockReader block(reader.take(reader.remaining(), "latents"), 1);
            block.read(tables->view(), coding.contexts.data(), symbols);
            block.expect_end();
        } catch (const Error& error) {
            reader.fail("latents", error.what());
        }
        std::transform(symbols.begin(), symbols.end(), latents.begin(),
                       [](std::int32_t symbol) { return static_cast<std::int8_t>(symbol); });
    }
    reader.expect_end("member's end");
    return latents;
}

}  // namespace vaecomp::core
