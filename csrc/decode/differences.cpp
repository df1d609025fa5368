#include "decode/differences.hpp"

#include <algorithm>
#include <array>
#include <cstring>

#include "format/ordered.hpp"
#include "format/planes.hpp"

namespace vaecomp::core {
namespace {

// Where each tensor's elements lie in the section's sequence.
Vector<Extent> places_in(const DifferenceSection& section) {
    Vector<Extent> places;
    std::size_t start = 0;
    for (const DifferenceMatrix& matrix : section.matrices) {
        places.push_back({start, matrix.shape.matrix.count()});
        start += matrix.shape.matrix.count();
    }
    return places;
}

// Numbers of a few bits each, the lowest first.
class BitReader {
  public:
    explicit BitReader(Bytes bytes) : bytes_(bytes) {}

    // At most 63 bits.
    std::uint64_t take(unsigned bits) {
        const std::size_t byte = at_ / 8;
        const auto offset = static_cast<unsigned>(at_ % 8);
        if (bits > 8 * bytes_.size() - at_) throw Error(ErrorCode::malformed, "a block's bits end before its symbols");
        at_ += bits;
        std::uint64_t low = 0, high = 0;
        if (bytes_.size() - byte > 8) {
            low = load_le<std::uint64_t>(bytes_.data() + byte);
            high = bytes_[byte + 8];
        } else {
            std::array<std::uint8_t, 8> last{};
            std::copy(bytes_.begin() + static_cast<std::ptrdiff_t>(byte), bytes_.end(), last.begin());
            low = load_le<std::uint64_t>(last.data());
        }
        // The ninth byte begins 64 - offset bits behind, which may be all 64.
        const std::uint64_t value = low >> offset | high << (63 - offset) << 1;
        return value & ((std::uint64_t{1} << bits) - 1);
    }

    void expect_end() const {
        const std::size_t left = 8 * bytes_.size() - at_;
        if (left >= 8 || (left > 0 && bytes_.back() >> (8 - left) != 0)) {
            throw Error(ErrorCode::malformed, "a block has bits behind its last symbol");
        }
    }

  private:
    Bytes bytes_;
    std::size_t at_ = 0;
};

// A block's rANS symbols, and the bits that follow these.
struct DifferenceBlock {
    DifferenceBlock(Bytes bytes, std::size_t lanes) : symbols(take_coded(bytes), lanes), bits(bytes) {}

    BlockReader symbols;
    BitReader bits;

  private:
    // Leaves the bits in `bytes`.
    static Bytes take_coded(Bytes& bytes) {
        if (bytes.size() < 4) throw Error(ErrorCode::malformed, "a block ends inside its symbols' size");
        const std::size_t size = load_le<std::uint32_t>(bytes.data());
        if (size > bytes.size() - 4) throw Error(ErrorCode::malformed, "a block's symbols exceed it");
        const Bytes coded = bytes.subspan(4, size);
        bytes = bytes.subspan(4 + size);
        return coded;
    }
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
        : section_(section),
          predictions_(predictions),
          targets_(targets),
          tables_(section.tables),
          places_(places_in(section)) {}

    void decode_block(std::size_t number, Bytes bytes) const {
        DifferenceBlock block(bytes, section_.blocks.lanes());
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

    void decode_piece(DifferenceBlock& block, std::size_t begin, std::size_t end) const {
        std::array<std::int32_t, piece_symbols> symbols;
        std::array<std::uint8_t, piece_symbols> contexts;
        const auto piece = std::span(symbols).first(end - begin);
        const auto visit = [&](auto part) { for_each_overlap(std::span<const Extent>(places_), begin, end, part); };
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
            if (targets_[t].data == nullptr) return;
            const std::size_t size = info(targets_[t].dtype).size;
            std::memcpy(targets_[t].data + first * size, data_of(t, targets_[t].start - places_[t].start + first),
                        count * size);
        });
    }

    const DifferenceSection& section_;
    std::span<Prediction> predictions_;
    std::span<const TensorTarget> targets_;
    DecodingTables tables_;
    Vector<Extent> places_;
};

}  // namespace

Vector<Extent> predicted_elements(const DifferenceSection& section, std::span<const TensorTarget> targets) {
    const Vector<Extent> places = places_in(section);
    Vector<Extent> elements(places.size(), Extent{0, 0});
    for (const std::size_t block : wanted_parts(targets, block_symbols)) {
        for_each_overlap(std::span<const Extent>(places), section.blocks.begin(block), section.blocks.end(block),
                         [&](std::size_t t, std::size_t first, std::size_t count, std::size_t) {
                             if (elements[t].count == 0) elements[t].start = first;
                             elements[t].count = first + count - elements[t].start;
                         });
    }
    return elements;
}

void decode_differences(const Source& source, const DifferenceSection& section, std::span<Prediction> predictions,
                        std::span<const TensorTarget> targets, std::size_t threads, Written written) {
    const DifferenceDecoder decoder(section, predictions, targets);
    section.blocks.for_each_bytes(source, wanted_parts(targets, block_symbols), threads,
                                  [&](std::size_t block, Bytes bytes) {
                                      decoder.decode_block(block, bytes);
                                      tell(written, targets, section.blocks.begin(block), section.blocks.end(block));
                                  });
}

}  // namespace vaecomp::core
