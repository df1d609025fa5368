#include "format/levels.hpp"

#include <algorithm>

namespace vaecomp::core {

void level_tables(const Levels& levels, std::size_t begin, std::size_t end, std::size_t last, std::uint8_t* out) {
    for_each_row(levels.shape, begin, end,
                 [&](std::size_t row, std::size_t column, std::size_t length, std::size_t at) {
                     const int base = static_cast<int>(levels.level) + (levels.rows.empty() ? 0 : levels.rows[row]);
                     // Three levels of at most 255 add up to an int16, which vectors compare.
                     const auto table = [&](int context) {
                         return static_cast<std::uint8_t>(
                             std::min(static_cast<std::int16_t>(last), static_cast<std::int16_t>(context)));
                     };
                     if (levels.columns.empty()) {
                         std::fill_n(out + at, length, table(base));
                         return;
                     }
                     const std::int16_t* columns = levels.columns.data() + column;
                     for (std::size_t j = 0; j < length; ++j) out[at + j] = table(base + columns[j]);
                 });
}

}  // namespace vaecomp::core
