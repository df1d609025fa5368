// Parts of a sequence, in order and without overlap.
#pragma once

#include <algorithm>
#include <cstddef>
#include <span>

#include "core/containers.hpp"

namespace vaecomp::core {

struct Extent {
    std::size_t start, count;
};

// Where parts end that stand one behind another from 0 on.
inline std::size_t end_of(std::span<const Extent> parts) {
    return parts.empty() ? 0 : parts.back().start + parts.back().count;
}
inline void append_part(Vector<Extent>& parts, std::size_t count) { parts.push_back({end_of(parts), count}); }

// Calls visit(number, first, count, at) for what lies in [begin, end) of the sequence: `count` items of part `number`
// from its item `first` on, which is item begin + at of the sequence. A part has at least the members of Extent.
template <typename Part, typename Visit>
void for_each_overlap(std::span<const Part> parts, std::size_t begin, std::size_t end, Visit visit) {
    const auto behind = std::upper_bound(parts.begin(), parts.end(), begin,
                                         [](std::size_t at, const Part& part) { return at < part.start; });
    auto number = static_cast<std::size_t>(behind - parts.begin());
    if (number > 0) --number;
    for (; number < parts.size() && parts[number].start < end; ++number) {
        const Part& part = parts[number];
        const std::size_t from = std::max(begin, part.start), to = std::min(end, part.start + part.count);
        if (from < to) visit(number, from - part.start, to - from, from - begin);
    }
}

}  // namespace vaecomp::core
