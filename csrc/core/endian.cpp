#include "core/endian.hpp"

#include <utility>

namespace vaecomp::core {

void swap_items(const std::uint8_t* from, std::uint8_t* to, std::size_t count, std::size_t item_size) {
    for (std::size_t i = 0; i < count; ++i, from += item_size, to += item_size) {
        for (std::size_t a = 0, b = item_size - 1; a < b; ++a, --b) {
            const std::uint8_t low = from[a], high = from[b];
            to[a] = high;
            to[b] = low;
        }
        if (item_size % 2 == 1) to[item_size / 2] = from[item_size / 2];
    }
}

}  // namespace vaecomp::core
