#include "decode/fleet.hpp"

#include <algorithm>

#include "core/parallel.hpp"

namespace vaecomp::core {
namespace {

// Outputs that are made at a time: with those of a tile's rows they stay in the second-level cache.
constexpr std::size_t outputs_a_tile = 4096;
static_assert(outputs_a_tile % IntegerDecoder::output_grain == 0);

// What is common to [first, first + count) of a tensor and an extent of it that is wanted.
Extent common(std::size_t first, std::size_t count, const Extent& wanted) {
    const std::size_t begin = std::max(first, wanted.start);
    const std::size_t end = std::min(first + count, wanted.start + wanted.count);
    return {begin, end > begin ? end - begin : 0};
}

void gather_inputs(const FleetGroup& group, std::size_t chunk, const MemberLatents& latents, std::int8_t* inputs) {
    for (const LatentSlice& slice : group.slices) {
        inputs = std::copy_n(latents.data() + slice.first, slice.count, inputs);
    }
    std::copy_n(group.position.data() + chunk * group.positions, group.positions, inputs);
}

}  // namespace

Fleet::Fleet(FleetSection section, std::span<const IntegerDecoder* const> decoders, const Index& index)
    : section_(std::move(section)), changed_(index.tensors.size()) {
    if (!section_.coding.tables.empty()) tables_.emplace(section_.coding.tables);
    for (std::size_t g = 0; g < section_.groups.size(); ++g) {
        Vector<Extent> tensors;
        std::size_t start = 0;
        for (const std::size_t t : section_.groups[g].tensors) {
            tensors.push_back({start, index.tensors[t].count()});
            start += index.tensors[t].count();
            changed_[t] = true;
        }
        groups_.push_back({decoders[g], std::move(tensors)});
    }
}

void Fleet::decode(std::span<const MemberLatents* const> members, std::span<const Extent> wanted, std::size_t threads,
                   Use use) const {
    for (std::size_t g = 0; g < groups_.size(); ++g) decode_group(g, members, wanted, threads, use);
}

// A row is a chunk of a member.
void Fleet::decode_group(std::size_t number, std::span<const MemberLatents* const> members,
                         std::span<const Extent> wanted, std::size_t threads, Use use) const {
    const FleetGroup& group = section_.groups[number];
    const auto& [decoder, tensors] = groups_[number];
    const auto for_each_wanted = [&](std::size_t begin, std::size_t end, auto visit) {
        for_each_overlap(std::span<const Extent>(tensors), begin, end,
                         [&](std::size_t i, std::size_t first, std::size_t count, std::size_t at) {
                             const std::size_t tensor = group.tensors[i];
                             const Extent part = common(first, count, wanted[tensor]);
                             if (part.count > 0) visit(tensor, part, at + part.start - first);
                         });
    };
    Vector<std::size_t> chunks;
    for (std::size_t c = 0; c < group.chunks; ++c) {
        bool any = false;
        for_each_wanted(c * group.chunk_length, (c + 1) * group.chunk_length,
                        [&](std::size_t, const Extent&, std::size_t) { any = true; });
        if (any) chunks.push_back(c);
    }
    const std::size_t rows = members.size() * chunks.size(), inputs = group.inputs();
    const std::size_t row_tiles = (rows + rows_a_tile - 1) / rows_a_tile;
    const std::size_t output_tiles = (group.chunk_length + outputs_a_tile - 1) / outputs_a_tile;
    parallel_for(row_tiles * output_tiles, threads, [&](std::size_t task) {
        const std::size_t first_row = task % row_tiles * rows_a_tile, count = std::min(rows_a_tile, rows - first_row);
        const std::size_t begin = task / row_tiles * outputs_a_tile;
        const std::size_t end = std::min(group.chunk_length, begin + outputs_a_tile);
        Vector<std::int8_t> latents(count * inputs);
        for (std::size_t r = 0; r < count; ++r) {
            const std::size_t row = first_row + r;
            gather_inputs(group, chunks[row % chunks.size()], *members[row / chunks.size()],
                          latents.data() + r * inputs);
        }
        Vector<float> values(count * (end - begin));
        decoder->forward_tile(latents.data(), count, begin, end, values.data());
        for (std::size_t r = 0; r < count; ++r) {
            const std::size_t row = first_row + r, start = chunks[row % chunks.size()] * group.chunk_length;
            const auto own = std::span(values).subspan(r * (end - begin), end - begin);
            for_each_wanted(start + begin, start + end, [&](std::size_t tensor, const Extent& part, std::size_t at) {
                use(row / chunks.size(), tensor, part.start, own.subspan(at, part.count));
            });
        }
    });
}

}  // namespace vaecomp::core
