#include "entropy/rans.hpp"

#include <algorithm>
#include <limits>

#include "kernels/kernels.hpp"

namespace vaecomp::core {
namespace {

using rans::lowest_state;

RansAlphabet alphabet_of(const FrequencyTable& table) {
    RansAlphabet alphabet{};
    alphabet.count = table.frequencies.size();
    alphabet.first = table.first;
    std::uint16_t start = 0;
    for (std::size_t i = 0; i < std::min(alphabet.count, RansAlphabet::most); ++i) {
        alphabet.starts[i] = start;
        alphabet.frequencies[i] = table.frequencies[i];
        start = static_cast<std::uint16_t>(start + table.frequencies[i]);
    }
    return alphabet;
}

}  // namespace

DecodingTables::DecodingTables(std::span<const FrequencyTable> tables) {
    std::int64_t least = std::numeric_limits<std::int32_t>::max(), most = std::numeric_limits<std::int32_t>::min();
    for (const FrequencyTable& table : tables) {
        least = std::min<std::int64_t>(least, table.first);
        most = std::max(most, table.first + static_cast<std::int64_t>(table.frequencies.size()) - 1);
    }
    least_ = static_cast<std::int32_t>(least);
    const bool narrow = most - least < rans::slot::symbols;
    slots_.resize(tables.size() * table_total);
    if (!narrow) symbols_.reserve(tables.size() * table_total);
    std::uint32_t* slots = slots_.data();
    for (const FrequencyTable& table : tables) {
        alphabets_.push_back(alphabet_of(table));
        std::int32_t symbol = table.first;
        for (const std::uint32_t frequency : table.frequencies) {
            const std::uint32_t named = narrow ? static_cast<std::uint32_t>(symbol - least_) : 0;
            const std::uint32_t first =
                (frequency - 1) << rans::slot::frequency_shift | named << rans::slot::symbol_shift;
            for (std::uint32_t offset = 0; offset < frequency; ++offset) *slots++ = first | offset;
            if (!narrow) symbols_.insert(symbols_.end(), frequency, symbol);
            ++symbol;
        }
    }
}

namespace {

[[noreturn]] void fail(const char* problem) { throw Error(ErrorCode::malformed, problem); }

}  // namespace

BlockReader::BlockReader(Bytes bytes, std::size_t lanes) : lanes_(lanes) {
    if (bytes.size() < 4 * lanes || bytes.size() % 2 != 0) fail("a block's size does not fit its lanes");
    for (std::size_t lane = 0; lane < lanes; ++lane) {
        state_.lanes[lane] = load_le<std::uint32_t>(bytes.data() + 4 * lane);
        if (state_.lanes[lane] < lowest_state) fail("a lane's first state is below 2^16");
    }
    state_.word = bytes.data() + 4 * lanes;
    state_.end = bytes.data() + bytes.size();
}

void BlockReader::read(const RansTables& tables, const std::uint8_t* contexts, std::span<std::int32_t> out) {
    if (!kernels().rans_decode(tables, contexts, lanes_, symbols_, out.size(), state_, out.data())) {
        fail("a block's words end before its symbols");
    }
    symbols_ += out.size();
}

void BlockReader::expect_end() const {
    if (state_.word != state_.end) fail("a block has words behind its last symbol");
    if (!std::all_of(state_.lanes, state_.lanes + lanes_, [](std::uint32_t x) { return x == lowest_state; })) {
        fail("a block's states do not end at 2^16");
    }
}

}  // namespace vaecomp::core
