#include "entropy/rans.hpp"

#include <algorithm>
#include <array>

#include "kernels/kernels.hpp"

namespace vaecomp {
namespace {

using rans::lowest_state;
using rans::table_bits;

}  // namespace

DecodingTables::DecodingTables(std::span<const FrequencyTable> tables) {
    steps_.reserve(tables.size() * table_total);
    symbols_.reserve(tables.size() * table_total);
    for (const FrequencyTable& table : tables) {
        std::int32_t symbol = table.first;
        for (const std::uint32_t frequency : table.frequencies) {
            for (std::uint32_t offset = 0; offset < frequency; ++offset) {
                steps_.push_back(frequency | offset << 16);
                symbols_.push_back(symbol);
            }
            ++symbol;
        }
    }
}

EncodingTable::EncodingTable(const FrequencyTable& table) : first(table.first) {
    std::uint32_t start = 0;
    for (const std::uint16_t frequency : table.frequencies) {
        intervals.push_back({start, frequency});
        start += frequency;
    }
}

std::vector<std::uint8_t> encode_block(std::span<const std::int32_t> symbols, std::span<const EncodingRun> runs,
                                       std::size_t lanes) {
    std::array<std::uint32_t, most_lanes> states;
    states.fill(lowest_state);
    std::vector<std::uint16_t> words;
    std::size_t end = symbols.size();
    for (auto run = runs.rbegin(); run != runs.rend(); ++run) {
        const std::size_t begin = end - run->length;
        for (std::size_t i = end; i-- > begin;) {
            const EncodingTable& table = run->tables[run->contexts == nullptr ? 0 : run->contexts[i - begin]];
            const auto [start, frequency] = table.intervals[static_cast<std::size_t>(symbols[i] - table.first)];
            std::uint32_t& x = states[i % lanes];
            if (x >= std::uint64_t{frequency} << 20) {
                words.push_back(static_cast<std::uint16_t>(x));
                x >>= 16;
            }
            x = (x / frequency << table_bits) + x % frequency + start;
        }
        end = begin;
    }
    ByteWriter writer;
    for (std::size_t lane = 0; lane < lanes; ++lane) writer.fixed(states[lane]);
    for (auto word = words.rbegin(); word != words.rend(); ++word) writer.fixed(*word);
    return std::move(writer.bytes());
}

void decode_block(Bytes bytes, std::span<const DecodingRun> runs, std::size_t lanes, std::span<std::int32_t> out) {
    const auto fail = [](const char* problem) { throw Error(ErrorCode::malformed, problem); };
    if (bytes.size() < 4 * lanes || bytes.size() % 2 != 0) fail("a block's size does not fit its lanes");
    RansState state{};
    for (std::size_t lane = 0; lane < lanes; ++lane) {
        state.lanes[lane] = load_le<std::uint32_t>(bytes.data() + 4 * lane);
        if (state.lanes[lane] < lowest_state) fail("a lane's first state is below 2^16");
    }
    state.word = bytes.data() + 4 * lanes;
    state.end = bytes.data() + bytes.size();
    std::size_t i = 0;
    for (const DecodingRun& run : runs) {
        if (!kernels().rans_decode(run.tables, run.contexts, lanes, i, run.length, state, out.data() + i)) {
            fail("a block's words end before its symbols");
        }
        i += run.length;
    }
    if (state.word != state.end) fail("a block has words behind its last symbol");
    if (!std::all_of(state.lanes, state.lanes + lanes, [](std::uint32_t x) { return x == lowest_state; })) {
        fail("a block's states do not end at 2^16");
    }
}

}  // namespace vaecomp
