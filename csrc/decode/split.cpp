#include "decode/split.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>

#include "decode/bits_block.hpp"

namespace vaecomp::core {
namespace {

// Escapes are rare: it is first found out whether there is any among so many items.
constexpr std::size_t looked_at = 64;

// Reads the low bits of the items from `begin` on, one for each symbol, and puts them and the high bits together. Adds
// the items that escape to `escapes`; their high bits are none for now.
using MakeItems = void(const SplitTensor& tensor, BitReader& bits, std::size_t begin,
                       std::span<const std::int32_t> symbols, std::uint8_t* out, Vector<std::size_t>& escapes);
// Gives an item that escapes its high bits.
using SetHigh = void(const SplitTensor& tensor, std::uint64_t high, std::uint8_t* item);

template <typename Word>
void read_lows(const SplitTensor& tensor, BitReader& bits, std::size_t begin, std::span<Word> lows) {
    // Rows make a difference only where they have zeros.
    const std::size_t all = tensor.shape.count();
    const MatrixShape shape = tensor.axes[split_row_zeros].empty() ? MatrixShape{1, all} : tensor.shape;
    for_each_row(shape, begin, begin + lows.size(),
                 [&](std::size_t row, std::size_t, std::size_t length, std::size_t at) {
                     const unsigned zeros = tensor.zeros(row);
                     const std::span<Word> own = lows.subspan(at, length);
                     bits.take_all(tensor.low - zeros, own);
                     if (zeros == 0) return;
                     // The sign stays at the bottom.
                     for (Word& low : own) low = static_cast<Word>(low >> 1 << 1 << zeros | (low & 1));
                 });
}

template <typename Word>
void make_items(const SplitTensor& tensor, BitReader& bits, std::size_t begin, std::span<const std::int32_t> symbols,
                std::uint8_t* out, Vector<std::size_t>& escapes) {
    std::array<Word, piece_symbols> lows;
    read_lows(tensor, bits, begin, std::span(lows).first(symbols.size()));
    const auto origin = static_cast<Word>(tensor.origin);
    const std::int32_t escape = tensor.symbols;
    const unsigned low = tensor.low;
    for (std::size_t from = 0; from < symbols.size(); from += looked_at) {
        const std::size_t to = std::min(symbols.size(), from + looked_at);
        std::uint32_t any = 0;
        for (std::size_t i = from; i < to; ++i) {
            any |= std::uint32_t{symbols[i] == escape};
            const auto high = static_cast<Word>(origin + static_cast<Word>(symbols[i]));
            const auto word = std::rotr(static_cast<Word>(static_cast<Word>(high << low) | lows[i]), 1);
            std::memcpy(out + i * sizeof(Word), &word, sizeof(Word));
        }
        for (std::size_t i = from; any != 0 && i < to; ++i) {
            if (symbols[i] == escape) escapes.push_back(begin + i);
        }
    }
}

template <typename Word>
void set_high(const SplitTensor& tensor, std::uint64_t high, std::uint8_t* item) {
    Word word;
    std::memcpy(&word, item, sizeof(Word));
    const auto low = static_cast<Word>(std::rotl(word, 1) & ((Word{1} << tensor.low) - 1));
    word = std::rotr(static_cast<Word>(static_cast<Word>(high << tensor.low) | low), 1);
    std::memcpy(item, &word, sizeof(Word));
}

// Decodes blocks of a tensor. Items [begin, end) are wanted.
class SplitDecoder {
  public:
    SplitDecoder(const SplitTensor& tensor, std::size_t begin, std::size_t end, std::uint8_t* out)
        : tensor_(tensor), begin_(begin), end_(end), size_(tensor.item_bits / 8), out_(out), tables_(tensor.tables) {
        make_items_ = size_ == 2   ? make_items<std::uint16_t>
                      : size_ == 4 ? make_items<std::uint32_t>
                                   : make_items<std::uint64_t>;
        set_high_ = size_ == 2   ? set_high<std::uint16_t>
                    : size_ == 4 ? set_high<std::uint32_t>
                                 : set_high<std::uint64_t>;
    }

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
            if (item >= begin_ && item < end_) set_high_(tensor_, high, out_ + (item - begin_) * size_);
        }
        block.symbols.expect_end();
        block.bits.expect_end();
    }

  private:
    void decode_piece(BitsBlock& block, std::size_t begin, std::size_t end, Vector<std::size_t>& escapes) const {
        std::array<std::int32_t, piece_symbols> buffer;
        std::array<std::uint8_t, piece_symbols> contexts;
        const auto symbols = std::span(buffer).first(end - begin);
        const bool has_contexts = tensor_.tables.size() > 1;
        if (has_contexts) tensor_.contexts(begin, end, contexts.data());
        block.symbols.read(tables_.view(), has_contexts ? contexts.data() : nullptr, symbols);
        if (begin >= begin_ && end <= end_) {
            return make_items_(tensor_, block.bits, begin, symbols, out_ + (begin - begin_) * size_, escapes);
        }
        std::array<std::uint8_t, piece_symbols * sizeof(std::uint64_t)> items;
        make_items_(tensor_, block.bits, begin, symbols, items.data(), escapes);
        const std::size_t from = std::max(begin, begin_), to = std::min(end, end_);
        if (from < to) {
            std::memcpy(out_ + (from - begin_) * size_, items.data() + (from - begin) * size_, (to - from) * size_);
        }
    }

    const SplitTensor& tensor_;
    std::size_t begin_, end_, size_;  // of an item, in bytes
    std::uint8_t* out_;
    DecodingTables tables_;
    MakeItems* make_items_;
    SetHigh* set_high_;
};

}  // namespace

void decode_split(const Source& source, const SplitTensor& tensor, std::size_t first, const PlanesShape& part,
                  std::uint8_t* out) {
    const std::size_t begin = first * part.element_items(), end = begin + part.items();
    const SplitDecoder decoder(tensor, begin, end, out);
    tensor.blocks.for_each_bytes(source, blocks_between(begin, end, block_symbols), 1,
                                 [&](std::size_t block, Bytes bytes) { decoder.decode(block, bytes); });
}

}  // namespace vaecomp::core
