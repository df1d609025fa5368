#include "decode/targets.hpp"

#include <algorithm>
#include <array>

#include "core/extent.hpp"
#include "core/parallel.hpp"
#include "kernels/kernels.hpp"

namespace vaecomp::core {

Vector<std::size_t> wanted_parts(std::span<const TensorTarget> targets, std::size_t length) {
    Vector<std::size_t> numbers;
    for (const TensorTarget& target : targets) {
        if (target.data == nullptr) continue;
        for (const std::size_t part : blocks_between(target.start, target.start + target.count, length)) {
            if (numbers.empty() || numbers.back() < part) numbers.push_back(part);
        }
    }
    return numbers;
}

void tell(Written written, std::span<const TensorTarget> targets, std::size_t begin, std::size_t end) {
    for_each_overlap(targets, begin, end, [&](std::size_t t, std::size_t first, std::size_t count, std::size_t) {
        if (targets[t].data != nullptr) written(t, first, count);
    });
}

void add_base(const float* base, std::span<float> values) {
    kernels().add_base(base, values.data(), values.size(), reinterpret_cast<std::uint8_t*>(values.data()));
}

void write_sum(const TensorTarget& target, std::size_t first, const float* base, std::span<float> values) {
    if (target.dtype == DType::f32) {
        kernels().add_base(base, values.data(), values.size(), target.data + first * sizeof(float));
        return;
    }
    add_base(base, values);
    write(target, first, values);
}

void LatentGroup::forward_tile(std::size_t first_chunk, std::size_t rows, float* values) const {
    if (const auto* integer = std::get_if<IntegerDecoder>(&decoder)) {
        const auto& z = std::get<Vector<std::int8_t>>(latents);
        integer->forward_tile(z.data() + first_chunk * header.latent, rows, values);
    } else {
        const auto& z = std::get<Vector<float>>(latents);
        std::get<Float32Decoder>(decoder).forward_tile(z.data() + first_chunk * header.latent, rows, values);
    }
}

void LatentGroup::decode(std::span<const TensorTarget> targets, std::size_t threads, Written written) const {
    const std::size_t tile_length = header.chunk_length * rows_a_tile;
    const Vector<std::size_t> tiles = wanted_parts(targets, tile_length);
    parallel_for(tiles.size(), threads, [&](std::size_t i) {
        const std::size_t first = tiles[i] * rows_a_tile, rows = std::min(rows_a_tile, header.chunks - first);
        Vector<float> values(rows * header.chunk_length);
        forward_tile(first, rows, values.data());
        const std::size_t begin = tiles[i] * tile_length;
        scatter(values, begin, targets);
        tell(written, targets, begin, begin + values.size());
    });
}

namespace {

// Decodes the elements of one section, piece by piece.
class QuantizedDecoder {
  public:
    QuantizedDecoder(const QuantizedSection& section, std::span<const BaseValues> bases,
                     std::span<const TensorTarget> targets)
        : section_(section), bases_(bases), targets_(targets), tables_(section.tables) {
        std::size_t start = 0;
        for (const QuantizedMatrix& matrix : section.matrices) {
            matrices_.push_back({start, matrix.shape.count()});
            start += matrix.shape.count();
        }
    }

    void decode_block(std::size_t block, BlockReader& reader) const {
        const std::size_t end = section_.blocks.end(block);
        for (std::size_t begin = section_.blocks.begin(block); begin < end; begin += piece_symbols) {
            decode_piece(reader, begin, std::min(end, begin + piece_symbols));
        }
    }

  private:
    void decode_piece(BlockReader& reader, std::size_t begin, std::size_t end) const {
        std::array<std::int32_t, piece_symbols> symbols;
        const auto piece = std::span(symbols).first(end - begin);
        read_symbols(reader, begin, piece);
        for_each_overlap(targets_, begin, end,
                         [&](std::size_t t, std::size_t first, std::size_t count, std::size_t at) {
                             if (targets_[t].data != nullptr) write_values(t, first, piece.subspan(at, count));
                         });
    }

    void read_symbols(BlockReader& reader, std::size_t begin, std::span<std::int32_t> symbols) const {
        const std::size_t last_table = section_.tables.size() - 1;
        if (last_table == 0) return reader.read(tables_.view(), nullptr, symbols);
        std::array<std::uint8_t, piece_symbols> contexts;
        for_each_overlap(std::span<const Extent>(matrices_), begin, begin + symbols.size(),
                         [&](std::size_t m, std::size_t first, std::size_t count, std::size_t at) {
                             section_.matrices[m].contexts(first, first + count, last_table, contexts.data() + at);
                         });
        reader.read(tables_.view(), contexts.data(), symbols);
    }

    // `first` is an element of the target, which need not begin where its tensor does.
    void write_values(std::size_t t, std::size_t first, std::span<const std::int32_t> symbols) const {
        std::array<float, piece_symbols> values;
        section_.matrices[t].values(targets_[t].start - matrices_[t].start + first, symbols, values.data());
        const auto own = std::span(values).first(symbols.size());
        if (bases_[t].empty()) return write(targets_[t], first, own);
        write_sum(targets_[t], first, bases_[t].data() + first, own);
    }

    const QuantizedSection& section_;
    std::span<const BaseValues> bases_;
    std::span<const TensorTarget> targets_;
    DecodingTables tables_;
    Vector<Extent> matrices_;
};

}  // namespace

void decode_quantized(const Source& source, const QuantizedSection& section, std::span<const BaseValues> bases,
                      std::span<const TensorTarget> targets, std::size_t threads, Written written) {
    const QuantizedDecoder decoder(section, bases, targets);
    section.blocks.for_each(source, wanted_parts(targets, block_symbols), threads,
                            [&](std::size_t block, BlockReader& reader) {
                                decoder.decode_block(block, reader);
                                tell(written, targets, section.blocks.begin(block), section.blocks.end(block));
                            });
}

}  // namespace vaecomp::core
