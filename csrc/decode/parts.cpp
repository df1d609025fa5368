#include "decode/parts.hpp"

#include <algorithm>
#include <array>
#include <bit>

#include "core/parallel.hpp"

namespace vaecomp {
namespace {

constexpr auto canonical_nan = std::bit_cast<float>(0x7fc00000);

// The parts of the flat vector, of `length` elements each, in which a wanted tensor lies.
std::vector<std::size_t> wanted_parts(std::span<const TensorTarget> targets, std::span<const std::size_t> starts,
                                      std::size_t length, std::size_t parts) {
    std::vector<bool> wanted(parts);
    for (std::size_t t = 0; t < targets.size(); ++t) {
        if (targets[t].data == nullptr || targets[t].count == 0) continue;
        const std::size_t first = starts[t] / length, last = (starts[t] + targets[t].count - 1) / length;
        std::fill(wanted.begin() + static_cast<std::ptrdiff_t>(first),
                  wanted.begin() + static_cast<std::ptrdiff_t>(last + 1), true);
    }
    std::vector<std::size_t> numbers;
    for (std::size_t part = 0; part < parts; ++part) {
        if (wanted[part]) numbers.push_back(part);
    }
    return numbers;
}

// Calls tensor(number, first element, count, at) for the tensors in the range [begin, end) of the flat vector.
template <typename Visit>
void for_each_tensor(std::span<const TensorTarget> targets, std::span<const std::size_t> starts, std::size_t begin,
                     std::size_t end, Visit tensor) {
    const auto behind = std::upper_bound(starts.begin(), starts.end(), begin);
    for (auto t = static_cast<std::size_t>(behind - starts.begin()) - 1; t < targets.size() && starts[t] < end; ++t) {
        const std::size_t from = std::max(begin, starts[t]), to = std::min(end, starts[t] + targets[t].count);
        if (from < to) tensor(t, from - starts[t], to - from, from - begin);
    }
}

void add(const float* base, std::size_t count, float* values) {
    for (std::size_t i = 0; i < count; ++i) {
        const float sum = base[i] + values[i];
        values[i] = sum == sum ? sum : canonical_nan;
    }
}

}  // namespace

void LatentGroup::forward_tile(std::size_t first_chunk, std::size_t rows, float* values) const {
    if (const auto* integer = std::get_if<IntegerDecoder>(&decoder)) {
        const auto& z = std::get<std::vector<std::int8_t>>(latents);
        integer->forward_tile(z.data() + first_chunk * header.latent, rows, values);
    } else {
        const auto& z = std::get<std::vector<float>>(latents);
        std::get<Float32Decoder>(decoder).forward_tile(z.data() + first_chunk * header.latent, rows, values);
    }
}

void LatentGroup::decode(std::span<const TensorTarget> targets, std::span<const std::size_t> starts,
                         std::size_t threads) const {
    const std::size_t tile_length = header.chunk_length * rows_a_tile;
    const std::vector<std::size_t> tiles =
        wanted_parts(targets, starts, tile_length, (header.chunks + rows_a_tile - 1) / rows_a_tile);
    parallel_for(tiles.size(), threads, [&](std::size_t i) {
        const std::size_t first = tiles[i] * rows_a_tile, rows = std::min(rows_a_tile, header.chunks - first);
        std::vector<float> values(rows * header.chunk_length);
        forward_tile(first, rows, values.data());
        scatter(values, tiles[i] * tile_length, targets, starts);
    });
}

namespace {

// Decodes the elements of one section, piece by piece.
struct ResidualDecoder {
    const ResidualSection& section;
    std::span<const BaseValues> bases;
    std::span<const TensorTarget> targets;
    std::span<const std::size_t> starts;
    DecodingTables tables{section.tables};
    std::size_t last_table = section.tables.size() - 1;

    void decode_block(std::size_t block) const {
        section.blocks.read(block, [&](BlockReader& reader) {
            const std::size_t end = section.blocks.end(block);
            for (std::size_t begin = section.blocks.begin(block); begin < end; begin += piece_symbols) {
                decode_piece(reader, begin, std::min(end, begin + piece_symbols));
            }
        });
    }

  private:
    void decode_piece(BlockReader& reader, std::size_t begin, std::size_t end) const {
        std::array<std::int32_t, piece_symbols> symbols;
        const auto piece = std::span(symbols).first(end - begin);
        read_symbols(reader, begin, piece);
        for_each_tensor(targets, starts, begin, end,
                        [&](std::size_t t, std::size_t first, std::size_t count, std::size_t at) {
                            if (targets[t].data != nullptr) write_values(t, first, piece.subspan(at, count));
                        });
    }

    void read_symbols(BlockReader& reader, std::size_t begin, std::span<std::int32_t> symbols) const {
        if (last_table == 0) return reader.read(tables.view(), nullptr, symbols);
        std::array<std::uint8_t, piece_symbols> contexts;
        for_each_tensor(targets, starts, begin, begin + symbols.size(),
                        [&](std::size_t t, std::size_t first, std::size_t count, std::size_t at) {
                            section.matrices[t].contexts(first, first + count, last_table, contexts.data() + at);
                        });
        reader.read(tables.view(), contexts.data(), symbols);
    }

    void write_values(std::size_t t, std::size_t first, std::span<const std::int32_t> symbols) const {
        std::array<float, piece_symbols> values;
        section.matrices[t].values(first, symbols, values.data());
        if (!bases[t].empty()) add(bases[t].data() + first, symbols.size(), values.data());
        write(targets[t], first, std::span(values).first(symbols.size()));
    }
};

}  // namespace

void decode_residual(const ResidualSection& section, std::span<const BaseValues> bases,
                     std::span<const TensorTarget> targets, std::span<const std::size_t> starts, std::size_t threads) {
    const ResidualDecoder decoder{section, bases, targets, starts};
    const std::vector<std::size_t> blocks = wanted_parts(targets, starts, block_symbols, section.blocks.size());
    parallel_for(blocks.size(), threads, [&](std::size_t b) { decoder.decode_block(blocks[b]); });
}

}  // namespace vaecomp
