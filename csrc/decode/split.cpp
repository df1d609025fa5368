#include "decode/split.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>

#include "decode/bits_block.hpp"

namespace vaecomp::core {
namespace {

// Decodes blocks of a tensor whose items are as wide as a word. Items [begin, end) are wanted.
template <typename Word>
class SplitDecoder {
  public:
    SplitDecoder(const SplitTensor& tensor, std::size_t begin, std::size_t end, std::uint8_t* out)
        : tensor_(tensor), begin_(begin), end_(end), out_(out), tables_(tensor.tables) {}

    void decode(std::size_t number, Bytes bytes) const {
        BitsBlock block(bytes, tensor_.blocks.lanes());
        const std::size_t first = tensor_.blocks.begin(number), end = tensor_.blocks.end(number);
        // Other bits of the items that escape come last.
        Vector<std::size_t> escapes;
        for (std::size_t begin = first; begin < end; begin += piece_symbols) {
            decode_piece(block, begin, std::min(end, begin + piece_symbols), escapes);
        }
        for (const std::size_t item : escapes) {
            const std::uint64_t high = block.bits.take(tensor_.high_bits());
            if (is_wanted(item)) put(item, static_cast<Word>(load(item) | std::rotr(shifted(high), 1)));
        }
        block.symbols.expect_end();
        block.bits.expect_end();
    }

  private:
    void decode_piece(BitsBlock& block, std::size_t begin, std::size_t end, Vector<std::size_t>& escapes) const {
        std::array<std::int32_t, piece_symbols> symbols;
        std::array<std::uint8_t, piece_symbols> contexts;
        std::array<Word, piece_symbols> lows;
        const std::size_t count = end - begin;
        if (tensor_.tables.size() > 1) tensor_.contexts(begin, end, contexts.data());
        block.symbols.read(tables_.view(), tensor_.tables.size() > 1 ? contexts.data() : nullptr,
                           std::span(symbols).first(count));
        read_lows(block.bits, begin, std::span(lows).first(count));
        if (join(std::span(symbols).first(count), lows.data())) {
            for (std::size_t i = 0; i < count; ++i) {
                if (symbols[i] == tensor_.symbols) escapes.push_back(begin + i);
            }
        }
        const std::size_t from = std::max(begin, begin_), to = std::min(end, end_);
        if (from < to) {
            std::memcpy(out_ + (from - begin_) * sizeof(Word), lows.data() + (from - begin),
                        (to - from) * sizeof(Word));
        }
    }

    // Puts high bits above low ones, and signs to the top. Those of items that escape are 0; says whether there are
    // any.
    bool join(std::span<const std::int32_t> symbols, Word* words) const {
        const auto origin = static_cast<Word>(tensor_.origin);
        const std::int32_t escape = tensor_.symbols;
        const unsigned low = tensor_.low;
        std::uint32_t any = 0;
        for (std::size_t i = 0; i < symbols.size(); ++i) {
            const bool escapes = symbols[i] == escape;
            any |= std::uint32_t{escapes};
            const auto high = static_cast<Word>(escapes ? 0 : origin + static_cast<Word>(symbols[i]));
            words[i] = std::rotr(static_cast<Word>(static_cast<Word>(high << low) | words[i]), 1);
        }
        return any != 0;
    }

    void read_lows(BitReader& bits, std::size_t begin, std::span<Word> lows) const {
        for_each_row(tensor_.shape, begin, begin + lows.size(),
                     [&](std::size_t row, std::size_t, std::size_t length, std::size_t at) {
                         const unsigned zeros = tensor_.zeros(row);
                         const std::span<Word> own = lows.subspan(at, length);
                         bits.take_all(tensor_.low - zeros, own);
                         if (zeros == 0) return;
                         // The sign stays at the bottom.
                         for (Word& low : own) low = static_cast<Word>(low >> 1 << 1 << zeros | (low & 1));
                     });
    }

    [[nodiscard]] Word shifted(std::uint64_t high) const { return static_cast<Word>(high << tensor_.low); }
    [[nodiscard]] bool is_wanted(std::size_t item) const { return item >= begin_ && item < end_; }
    [[nodiscard]] Word load(std::size_t item) const {
        Word word;
        std::memcpy(&word, out_ + (item - begin_) * sizeof(Word), sizeof(Word));
        return word;
    }
    void put(std::size_t item, Word word) const {
        std::memcpy(out_ + (item - begin_) * sizeof(Word), &word, sizeof(Word));
    }

    const SplitTensor& tensor_;
    std::size_t begin_, end_;
    std::uint8_t* out_;
    DecodingTables tables_;
};

}  // namespace

void decode_split(const Source& source, const SplitTensor& tensor, std::size_t first, const PlanesShape& part,
                  std::uint8_t* out, std::size_t threads) {
    const std::size_t begin = first * part.element_items(), end = begin + part.items();
    with_word(part.item_bytes(), [&]<typename Word>(Word) {
        const SplitDecoder<Word> decoder(tensor, begin, end, out);
        tensor.blocks.for_each_bytes(source, blocks_between(begin, end, block_symbols), threads,
                                     [&](std::size_t block, Bytes bytes) { decoder.decode(block, bytes); });
    });
}

}  // namespace vaecomp::core
