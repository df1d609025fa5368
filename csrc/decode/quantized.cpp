// Quantized sections: symbols to values, added to what a base section makes.
#include "format/quantized.hpp"

#include <algorithm>
#include <array>

#include "decode/archive.hpp"
#include "decode/kinds.hpp"
#include "decode/lazy.hpp"
#include "decode/member.hpp"

namespace vaecomp::core {
namespace {

// What quantized values are added to: the values of a target; empty: zeros.
using BaseValues = Vector<float>;

// Decodes the elements of one section, piece by piece.
class QuantizedDecoder {
  public:
    QuantizedDecoder(const QuantizedSection& section, std::span<const BaseValues> bases,
                     std::span<const TensorTarget> targets)
        : section_(section), bases_(bases), targets_(targets), tables_(section.tables) {}

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
                             write_values(t, first, piece.subspan(at, count));
                         });
    }

    void read_symbols(BlockReader& reader, std::size_t begin, std::span<std::int32_t> symbols) const {
        const std::size_t last_table = section_.tables.size() - 1;
        if (last_table == 0) return reader.read(tables_.view(), nullptr, symbols);
        std::array<std::uint8_t, piece_symbols> contexts;
        for_each_overlap(std::span<const Extent>(section_.places), begin, begin + symbols.size(),
                         [&](std::size_t m, std::size_t first, std::size_t count, std::size_t at) {
                             section_.matrices[m].contexts(first, first + count, last_table, contexts.data() + at);
                         });
        reader.read(tables_.view(), contexts.data(), symbols);
    }

    // `first` is an element of the target, which need not begin where its tensor does.
    void write_values(std::size_t t, std::size_t first, std::span<const std::int32_t> symbols) const {
        std::array<float, piece_symbols> values;
        const std::size_t own = targets_[t].place, begin = targets_[t].start - section_.places[own].start + first;
        section_.matrices[own].values(begin, symbols, values.data());
        const auto made = std::span(values).first(symbols.size());
        if (bases_[t].empty()) return write(targets_[t], first, made);
        write_sum(targets_[t], first, bases_[t].data() + first, made);
    }

    const QuantizedSection& section_;
    std::span<const BaseValues> bases_;
    std::span<const TensorTarget> targets_;
    DecodingTables tables_;
};

class OpenQuantized final : public OpenSection {
  public:
    using OpenSection::OpenSection;

    void check(std::size_t threads) const override { static_cast<void>(content(threads)); }

    void decode(std::span<const TensorTarget> targets, std::size_t threads, Written written) const override {
        const QuantizedSection& own = content(threads);
        Vector<BaseValues> bases(targets.size());
        if (own.base) bases = base_values(*own.base, targets, threads);
        located([&] {
            const QuantizedDecoder decoder(own, bases, targets);
            own.blocks.for_each(file(), wanted_parts(targets, block_symbols), threads,
                                [&](std::size_t block, BlockReader& reader) {
                                    decoder.decode_block(block, reader);
                                    tell(written, targets, own.blocks.begin(block), own.blocks.end(block));
                                });
        });
    }

    void account(Ledger& ledger) const override {
        const std::uint64_t payload = content(0).blocks.payload_bytes();
        ledger.bytes.weights += payload;
        ledger.bytes.tables += entry().size - payload;
    }

  private:
    [[nodiscard]] const QuantizedSection& content(std::size_t threads) const {
        return content_.get(context(), [&] { return load(threads); });
    }

    [[nodiscard]] QuantizedSection load(std::size_t threads) const {
        Vector<MatrixShape> shapes;
        for (const std::size_t t : entry().tensors) shapes.push_back(matrix_shape(index().tensors[t].shape));
        QuantizedSection section =
            read_quantized(read(threads).reader, entry().end(), shapes, index().max_symbols(), threads);
        if (section.base && !may_be_base(*section.base)) {
            reject("base section", "is neither a latents section of this section alone nor the member's");
        }
        return section;
    }

    [[nodiscard]] bool may_be_base(std::size_t base) const {
        if (base >= index().sections.size()) return false;
        const SectionKind kind = index().sections[base].kind;
        return kind == SectionKind::member || (kind == SectionKind::latents && archive().owner(base) == number());
    }

    [[nodiscard]] Vector<BaseValues> base_values(std::size_t base, std::span<const TensorTarget> targets,
                                                 std::size_t threads) const {
        Vector<BaseValues> bases(targets.size());
        Vector<TensorTarget> base_targets(targets.begin(), targets.end());
        Vector<OpenMember::Wanted> wanted;
        for (std::size_t t = 0; t < targets.size(); ++t) {
            bases[t].resize(targets[t].count);
            base_targets[t].data = reinterpret_cast<std::uint8_t*>(bases[t].data());
            base_targets[t].dtype = DType::f32;
            wanted.push_back({entry().tensors[targets[t].place], elements(targets[t])});
        }
        if (index().sections[base].kind == SectionKind::latents) {
            archive().section(base).decode(base_targets, threads, [](std::size_t, std::size_t, std::size_t) {});
        } else {
            archive().member().values(wanted, threads,
                                      [&](std::size_t t, std::size_t first, std::span<const float> values) {
                                          write(base_targets[t], first, values);
                                      });
        }
        return bases;
    }

    Lazy<QuantizedSection> content_;
};

}  // namespace

std::unique_ptr<OpenSection> open_quantized(const Archive& archive, std::size_t number) {
    return std::make_unique<OpenQuantized>(archive, number);
}

}  // namespace vaecomp::core
