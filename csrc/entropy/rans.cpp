#include "entropy/rans.hpp"

#include <algorithm>
#include <array>

namespace vaecomp {
namespace {

constexpr std::uint32_t lowest_state = 1u << 16;

struct Interval {
    std::uint32_t start, frequency;
};

std::vector<Interval> intervals_of(const FrequencyTable& table) {
    std::vector<Interval> intervals;
    std::uint32_t start = 0;
    for (const std::uint16_t frequency : table.frequencies) {
        intervals.push_back({start, frequency});
        start += frequency;
    }
    return intervals;
}

}  // namespace

DecodingTable::DecodingTable(const FrequencyTable& table) {
    slots_.reserve(table_total);
    std::int32_t symbol = table.first;
    for (const std::uint16_t frequency : table.frequencies) {
        for (std::uint16_t offset = 0; offset < frequency; ++offset) slots_.push_back({frequency, offset, symbol});
        ++symbol;
    }
}

std::vector<std::uint8_t> encode_block(std::span<const std::int32_t> symbols, std::span<const EncodingRun> runs,
                                       std::size_t lanes) {
    std::array<std::uint32_t, most_lanes> states;
    states.fill(lowest_state);
    std::vector<std::uint16_t> words;
    std::size_t i = symbols.size();
    for (auto run = runs.rbegin(); run != runs.rend(); ++run) {
        const std::vector<Interval> intervals = intervals_of(*run->table);
        for (const std::size_t begin = i - run->length; i > begin;) {
            --i;
            const auto [start, frequency] = intervals[static_cast<std::size_t>(symbols[i] - run->table->first)];
            std::uint32_t& x = states[i % lanes];
            if (x >= std::uint64_t{frequency} << 20) {
                words.push_back(static_cast<std::uint16_t>(x));
                x >>= 16;
            }
            x = (x / frequency << table_bits) + x % frequency + start;
        }
    }
    ByteWriter writer;
    for (std::size_t lane = 0; lane < lanes; ++lane) writer.fixed(states[lane]);
    for (auto word = words.rbegin(); word != words.rend(); ++word) writer.fixed(*word);
    return std::move(writer.bytes());
}

template <typename Symbol>
void decode_block(Bytes bytes, std::span<const DecodingRun> runs, std::size_t lanes, std::span<Symbol> out) {
    const auto fail = [](const char* problem) { throw Error(ErrorCode::malformed, problem); };
    if (bytes.size() < 4 * lanes || bytes.size() % 2 != 0) fail("a block's size does not fit its lanes");
    std::array<std::uint32_t, most_lanes> states{};
    for (std::size_t lane = 0; lane < lanes; ++lane) {
        states[lane] = load_le<std::uint32_t>(bytes.data() + 4 * lane);
        if (states[lane] < lowest_state) fail("a lane's first state is below 2^16");
    }
    const std::uint8_t* word = bytes.data() + 4 * lanes;
    const std::uint8_t* const end = bytes.data() + bytes.size();
    const std::size_t lane_mask = lanes - 1;
    std::size_t i = 0;
    for (const DecodingRun& run : runs) {
        const DecodingTable& table = *run.table;
        for (const std::size_t stop = i + run.length; i < stop; ++i) {
            std::uint32_t x = states[i & lane_mask];
            const DecodingTable::Slot slot = table[x & (table_total - 1)];
            out[i] = static_cast<Symbol>(slot.symbol);
            x = slot.frequency * (x >> table_bits) + slot.offset;
            if (x < lowest_state) {
                if (word == end) fail("a block's words end before its symbols");
                x = x << 16 | load_le<std::uint16_t>(word);
                word += 2;
            }
            states[i & lane_mask] = x;
        }
    }
    if (word != end) fail("a block has words behind its last symbol");
    if (!std::all_of(states.begin(), states.begin() + static_cast<std::ptrdiff_t>(lanes),
                     [](std::uint32_t x) { return x == lowest_state; })) {
        fail("a block's states do not end at 2^16");
    }
}

template void decode_block(Bytes, std::span<const DecodingRun>, std::size_t, std::span<std::int8_t>);
template void decode_block(Bytes, std::span<const DecodingRun>, std::size_t, std::span<std::int32_t>);

}  // namespace vaecomp
