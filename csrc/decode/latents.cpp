#include "decode/latents.hpp"

#include <algorithm>
#include <numeric>
#include <optional>

#include "core/parallel.hpp"
#include "decode/archive.hpp"
#include "decode/kinds.hpp"
#include "format/quantized.hpp"

namespace vaecomp::core {
namespace {

void forward_tile(const LatentGroup& group, std::size_t first_chunk, std::size_t rows, float* values) {
    const std::size_t first = first_chunk * group.header.latent;
    if (const auto* integer = std::get_if<IntegerDecoder>(&group.decoder)) {
        integer->forward_tile(std::get<Vector<std::int8_t>>(group.latents).data() + first, rows, values);
    } else {
        const auto& decoder = std::get<Float32Decoder>(group.decoder);
        decoder.forward_tile(std::get<Vector<float>>(group.latents).data() + first, rows, values);
    }
}

}  // namespace

void OpenLatents::decode(std::span<const TensorTarget> targets, std::size_t threads, Written written) const {
    const LatentGroup& own = group(threads);
    const LatentsHeader& header = own.header;
    const std::size_t tile_length = header.chunk_length * rows_a_tile;
    const Vector<std::size_t> tiles = wanted_parts(targets, tile_length);
    parallel_for(tiles.size(), threads, [&](std::size_t i) {
        const std::size_t first = tiles[i] * rows_a_tile, rows = std::min(rows_a_tile, header.chunks - first);
        Vector<float> values(rows * header.chunk_length);
        forward_tile(own, first, rows, values.data());
        const std::size_t begin = tiles[i] * tile_length;
        scatter(values, begin, targets);
        tell(written, targets, begin, begin + values.size());
    });
}

void OpenLatents::account(Ledger& ledger) const {
    const LatentGroup& own = group(0);
    ledger.bytes.latents += entry().size - own.latent_table_bytes;
    ledger.bytes.tables += own.latent_table_bytes;
    ledger.split_decoder(own.header.decoder, own.decoder_table_bytes);
}

const LatentGroup& OpenLatents::group(std::size_t threads) const {
    return group_.get(context(), [&] { return load(threads); });
}

std::size_t OpenLatents::made_elements() const {
    std::size_t elements = 0;
    for (const std::size_t t : index().sections[archive().owner(number())].tensors) {
        elements += index().tensors[t].count();
    }
    return elements;
}

LatentGroup OpenLatents::load(std::size_t threads) const {
    CheckedSection content = read(threads);
    const LatentsHeader header = read_latents_header(content.reader);
    if (std::uint64_t{header.chunks} * header.chunk_length - header.padding != made_elements()) {
        reject("chunk count", "the chunks do not hold as many elements as the section's tensors");
    }
    if (header.decoder >= index().sections.size()) reject("decoder section", "there is no such section");

    const auto finish = [&](auto decoder, auto latents, std::size_t decoder_tables, std::size_t latent_tables) {
        if (decoder.latent() != header.latent || decoder.chunk_length() != header.chunk_length) {
            reject("decoder section", "the decoder's inputs or outputs do not fit the chunks");
        }
        if (decoder.multiplications() > max_work * index().counted_bytes() / header.chunks) {
            reject("chunk count", "decoding would take more than 2^24 multiplications for each byte of the file");
        }
        return LatentGroup{header, std::move(decoder), std::move(latents), decoder_tables, latent_tables};
    };
    const OpenSection& decoder = archive().section(header.decoder);
    if (decoder.entry().kind == SectionKind::integer_decoder) {
        auto own = read_integer_decoder(decoder.read(threads).reader, index().max_symbols(), threads);
        Int8Latents latents = read_int8_latents(content.reader, header, index().max_symbols(), threads);
        return finish(std::move(own.decoder), std::move(latents.values), own.table_bytes, latents.table_bytes);
    }
    if (decoder.entry().kind != SectionKind::float32_decoder) reject("decoder section", "is no decoder");
    Vector<float> latents = read_float32_latents(content.reader, header);
    return finish(read_float32_decoder(decoder.read(threads).reader), std::move(latents), 0, 0);
}

// Only looks at where quantized sections say what their base is: they are read, and the answer checked, when they are
// used.
Vector<std::size_t> find_owners(const Source& file, const Index& index) {
    Vector<std::size_t> owners(index.sections.size());
    std::iota(owners.begin(), owners.end(), std::size_t{0});
    for (std::size_t s = 0; s < owners.size(); ++s) {
        const Section& section = index.sections[s];
        if (section.kind != SectionKind::quantized) continue;
        const LoadedBytes start(file, section.offset, std::min<std::uint64_t>(section.size, base_bytes));
        const std::optional<std::size_t> base = peek_base(start.bytes());
        if (!base || *base >= owners.size() || owners[*base] != *base) continue;
        const Section& latents = index.sections[*base];
        if (latents.kind == SectionKind::latents && latents.tensors.empty()) owners[*base] = s;
    }
    return owners;
}

std::unique_ptr<OpenSection> open_latents(const Archive& archive, std::size_t number) {
    return std::make_unique<OpenLatents>(archive, number);
}

}  // namespace vaecomp::core
