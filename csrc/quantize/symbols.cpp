#include "quantize/symbols.hpp"

#include <algorithm>
#include <cstdlib>

namespace vaecomp::core {

SymbolExtent symbol_extent(const Symbols& symbols) {
    return std::visit(
        [](auto own) {
            SymbolExtent extent;
            std::int64_t total = 0;
            for (const std::int32_t symbol : own) {
                extent.first = std::min(extent.first, symbol);
                extent.last = std::max(extent.last, symbol);
                total += std::abs(symbol);
            }
            if (!own.empty()) extent.liveliest = static_cast<double>(total) / static_cast<double>(own.size());
            return extent;
        },
        symbols);
}

}  // namespace vaecomp::core
