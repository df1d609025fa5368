// Differences sections: what the pack predicts, moved to what is (docs/kernels.md, 8).
#include "format/differences.hpp"

#include <algorithm>
#include <array>
#include <cstring>

#include "decode/archive.hpp"
#include "decode/bits_block.hpp"
#include "decode/kinds.hpp"
#include "decode/lazy.hpp"
#include "decode/member.hpp"
#include "format/ordered.hpp"
#include "format/planes.hpp"

namespace vaecomp::core {
namespace {

// Elements of a tensor as predicted, contiguous and in host byte order; decoding replaces them.
struct Prediction {
    Extent elements{0, 0};  // of the tensor
    Vector<std::uint8_t> data;
};

template <typename Word>
void move_words(std::uint8_t* data, std::span<const std::int32_t> symbols, unsigned detail, BitReader& bits) {
    for (std::size_t i = 0; i < symbols.size(); ++i) {
        const unsigned count = raw_bits(symbols[i], detail);
        const std::uint64_t raw = count == 0 ? 0 : bits.take(count);
        Word word;
        std::memcpy(&word, data + i * sizeof(Word), sizeof(Word));
        word = moved(word, join(symbols[i], detail, count, raw));
        std::memcpy(data + i * sizeof(Word), &word, sizeof(Word));
    }
}

class DifferenceDecoder {
  public:
    DifferenceDecoder(const DifferenceSection& section, std::span<Prediction> predictions,
                      std::span<const TensorTarget> targets)
        : section_(section), predictions_(predictions), targets_(targets), tables_(section.tables) {}

    void decode_block(std::size_t number, Bytes bytes) const {
        BitsBlock block(bytes, section_.blocks.lanes());
        const std::size_t end = section_.blocks.end(number);
        for (std::size_t begin = section_.blocks.begin(number); begin < end; begin += piece_symbols) {
            decode_piece(block, begin, std::min(end, begin + piece_symbols));
        }
        block.symbols.expect_end();
        block.bits.expect_end();
        copy(section_.blocks.begin(number), end);
    }

  private:
    // The bytes of a tensor's elements from `first` on.
    [[nodiscard]] std::uint8_t* data_of(std::size_t tensor, std::size_t first) const {
        Prediction& own = predictions_[tensor];
        const std::size_t size = info(section_.matrices[tensor].shape.dtype).size;
        return own.data.data() + (first - own.elements.start) * size;
    }

    void decode_piece(BitsBlock& block, std::size_t begin, std::size_t end) const {
        std::array<std::int32_t, piece_symbols> symbols;
        std::array<std::uint8_t, piece_symbols> contexts;
        const auto piece = std::span(symbols).first(end - begin);
        const auto visit = [&](auto part) {
            for_each_overlap(std::span<const Extent>(section_.places), begin, end, part);
        };
        visit([&](std::size_t t, std::size_t first, std::size_t count, std::size_t at) {
            section_.matrices[t].contexts(first, first + count, data_of(t, first), section_.tables.size() - 1,
                                          contexts.data() + at);
        });
        block.symbols.read(tables_.view(), section_.tables.size() == 1 ? nullptr : contexts.data(), piece);
        visit([&](std::size_t t, std::size_t first, std::size_t count, std::size_t at) {
            with_word(info(section_.matrices[t].shape.dtype).size, [&]<typename Word>(Word) {
                move_words<Word>(data_of(t, first), piece.subspan(at, count), section_.detail, block.bits);
            });
        });
    }

    // What is wanted of the elements [begin, end).
    void copy(std::size_t begin, std::size_t end) const {
        for_each_overlap(targets_, begin, end, [&](std::size_t t, std::size_t first, std::size_t count, std::size_t) {
            const TensorTarget& target = targets_[t];
            const std::size_t size = info(target.dtype).size, start = section_.places[target.place].start;
            std::memcpy(target.data + first * size, data_of(target.place, target.start - start + first), count * size);
        });
    }

    const DifferenceSection& section_;
    std::span<Prediction> predictions_;
    std::span<const TensorTarget> targets_;
    DecodingTables tables_;
};

class OpenDifferences final : public OpenSection {
  public:
    using OpenSection::OpenSection;

    void check(std::size_t threads) const override { static_cast<void>(content(threads)); }

    void decode(std::span<const TensorTarget> targets, std::size_t threads, Written written) const override {
        const DifferenceSection& own = content(threads);
        Vector<Prediction> predictions = room_for(own, targets);
        if (own.base) {
            predict_by_member(predictions, threads);
        } else {
            predict_by_pack(predictions, threads);
        }
        located([&] {
            const DifferenceDecoder decoder(own, predictions, targets);
            own.blocks.for_each_bytes(file(), wanted_parts(targets, block_symbols), threads,
                                      [&](std::size_t block, Bytes bytes) {
                                          decoder.decode_block(block, bytes);
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
    [[nodiscard]] const DifferenceSection& content(std::size_t threads) const {
        return content_.get(context(), [&] { return load(threads); });
    }

    [[nodiscard]] DifferenceSection load(std::size_t threads) const {
        Vector<DifferenceShape> shapes;
        for (const std::size_t t : entry().tensors) {
            shapes.push_back({matrix_shape(index().tensors[t].shape), index().tensors[t].dtype});
        }
        DifferenceSection section =
            read_differences(read(threads).reader, entry().end(), shapes, index().max_symbols(), threads);
        if (section.base && section.base != index().find(SectionKind::member)) {
            reject("base section", "is not the member's");
        }
        return section;
    }

    // Room, by tensor of the section, for the elements whose predictions decoding needs: those of whole blocks.
    [[nodiscard]] Vector<Prediction> room_for(const DifferenceSection& own,
                                              std::span<const TensorTarget> targets) const {
        Vector<Prediction> predictions(own.places.size());
        for (const std::size_t block : wanted_parts(targets, block_symbols)) {
            for_each_overlap(std::span<const Extent>(own.places), own.blocks.begin(block), own.blocks.end(block),
                             [&](std::size_t t, std::size_t first, std::size_t count, std::size_t) {
                                 Extent& elements = predictions[t].elements;
                                 if (elements.count == 0) elements.start = first;
                                 elements.count = first + count - elements.start;
                             });
        }
        for (std::size_t t = 0; t < predictions.size(); ++t) {
            predictions[t].data.resize(predictions[t].elements.count * info(tensor(t).dtype).size);
        }
        return predictions;
    }

    void predict_by_member(std::span<Prediction> predictions, std::size_t threads) const {
        Vector<OpenMember::Wanted> wanted;
        for (std::size_t t = 0; t < predictions.size(); ++t) {
            wanted.push_back({entry().tensors[t], predictions[t].elements});
        }
        archive().member().values(wanted, threads,
                                  [&](std::size_t t, std::size_t first, std::span<const float> values) {
                                      Prediction& own = predictions[t];
                                      write({own.data.data(), own.elements.count, tensor(t).dtype}, first, values);
                                  });
    }

    void predict_by_pack(std::span<Prediction> predictions, std::size_t threads) const {
        const Archive& pack = *archive().pack();
        Vector<Destination> destinations;
        for (std::size_t t = 0; t < predictions.size(); ++t) {
            auto& [elements, data] = predictions[t];
            if (elements.count == 0) continue;
            const std::size_t number = entry().tensors[t];
            if (tensor(t).dtype == DType::f32) {
                // Which other members ask for, too.
                std::memcpy(data.data(), pack.base(number, threads).data() + elements.start, data.size());
            } else {
                destinations.push_back({number, data.data(), elements.start, elements.count});
            }
        }
        pack.decode(destinations, {.verify = true, .threads = threads});
    }

    Lazy<DifferenceSection> content_;
};

}  // namespace

std::unique_ptr<OpenSection> open_differences(const Archive& archive, std::size_t number) {
    return std::make_unique<OpenDifferences>(archive, number);
}

}  // namespace vaecomp::core
