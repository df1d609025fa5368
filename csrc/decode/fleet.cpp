#include "decode/fleet.hpp"

#include <algorithm>
#include <limits>

#include "core/parallel.hpp"
#include "decode/archive.hpp"
#include "decode/kinds.hpp"

namespace vaecomp::core {
namespace {

// Outputs that are made at a time: with those of a tile's rows they stay in the second-level cache.
constexpr std::size_t outputs_a_tile = 1024;
static_assert(outputs_a_tile % IntegerDecoder::output_grain == 0);
// Tasks for each thread. Few rows have their outputs split among them: no more than it takes, as each makes the hidden
// layers of its own, and digests of what lies in two are left for later.
constexpr std::size_t tasks_a_thread = 4;
constexpr std::size_t no_decoder = std::numeric_limits<std::size_t>::max();

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

Fleet::Fleet(FleetSection section, Vector<FleetDecoder> decoders, const Index& index)
    : section_(std::move(section)), decoders_(std::move(decoders)), changed_(index.tensors.size()) {
    if (!section_.coding.tables.empty()) tables_.emplace(section_.coding.tables);
    Vector<std::size_t> places(index.sections.size());
    for (std::size_t d = 0; d < decoders_.size(); ++d) places[decoders_[d].section] = d;
    for (const FleetGroup& group : section_.groups) {
        Vector<Extent> tensors;
        std::size_t start = 0;
        for (const std::size_t t : group.tensors) {
            tensors.push_back({start, index.tensors[t].count()});
            start += index.tensors[t].count();
            changed_[t] = true;
        }
        groups_.push_back({places[group.decoder], std::move(tensors)});
    }
}

void Fleet::decode(std::span<const MemberLatents* const> members, std::span<const Extent> wanted, std::size_t threads,
                   Use use) const {
    for (std::size_t g = 0; g < groups_.size(); ++g) decode_group(g, members, wanted, threads, use);
}

// A row is a chunk of a member. Rows of one chunk follow each other: they add to the same elements.
void Fleet::decode_group(std::size_t number, std::span<const MemberLatents* const> members,
                         std::span<const Extent> wanted, std::size_t threads, Use use) const {
    const FleetGroup& group = section_.groups[number];
    const Vector<Extent>& tensors = groups_[number].tensors;
    const IntegerDecoder& decoder = decoders_[groups_[number].decoder].content.decoder;
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
    if (rows == 0) return;
    const std::size_t row_tiles = (rows + rows_a_tile - 1) / rows_a_tile;
    const std::size_t output_tiles = (group.chunk_length + outputs_a_tile - 1) / outputs_a_tile;
    const std::size_t tasks = tasks_a_thread * (threads == 0 ? available_cores() : threads);
    const std::size_t parts = std::min(output_tiles, (tasks - 1) / row_tiles + 1);
    parallel_for(row_tiles * parts, threads, [&](std::size_t task) {
        const std::size_t first_row = task % row_tiles * rows_a_tile, end_row = std::min(first_row + rows_a_tile, rows);
        const std::size_t part = task / row_tiles, count = end_row - first_row;
        Vector<std::int8_t> latents(count * inputs);
        for (std::size_t row = first_row; row < end_row; ++row) {
            gather_inputs(group, chunks[row / members.size()], *members[row % members.size()],
                          latents.data() + (row - first_row) * inputs);
        }
        IntegerDecoder::Scratch scratch;
        const std::int8_t* const hidden = decoder.hidden_tile(latents.data(), count, scratch);
        Vector<float> values(count * std::min(outputs_a_tile, group.chunk_length));
        const std::size_t first_tile = output_tiles * part / parts, end_tile = output_tiles * (part + 1) / parts;
        for (std::size_t tile = first_tile; tile < end_tile; ++tile) {
            const std::size_t begin = tile * outputs_a_tile;
            const std::size_t end = std::min(group.chunk_length, begin + outputs_a_tile);
            decoder.output_tile(hidden, count, begin, end, values.data(), end - begin, scratch);
            for (std::size_t row = first_row, next = 0; row < end_row; row = next) {
                next = std::min(end_row, (row / members.size() + 1) * members.size());
                const std::size_t start = chunks[row / members.size()] * group.chunk_length;
                for_each_wanted(start + begin, start + end,
                                [&](std::size_t tensor, const Extent& extent, std::size_t at) {
                                    const std::size_t before = begin - first_tile * outputs_a_tile + at;
                                    use({.first_member = row % members.size(),
                                         .members = next - row,
                                         .tensor = tensor,
                                         .first = extent.start,
                                         .count = extent.count,
                                         .since = extent.start - std::min(before, extent.start - wanted[tensor].start),
                                         .values = values.data() + (row - first_row) * (end - begin) + at,
                                         .stride = end - begin});
                                });
            }
        }
    });
}

const Fleet& OpenFleet::fleet(std::size_t threads) const {
    return fleet_.get(context(), [&] { return load(threads); });
}

Fleet OpenFleet::load(std::size_t threads) const {
    FleetSection content = read_fleet(read(threads).reader, index(), index().max_symbols(), threads);
    Vector<FleetDecoder> decoders;
    Vector<std::size_t> places(index().sections.size(), no_decoder);
    std::uint64_t left = max_work * index().file_bytes;
    for (const FleetGroup& group : content.groups) {
        std::size_t& place = places[group.decoder];
        if (place == no_decoder) {
            place = decoders.size();
            const CheckedSection own = archive().section(group.decoder).read(threads);
            decoders.push_back({group.decoder, read_integer_decoder(own.reader, index().max_symbols(), threads)});
        }
        const IntegerDecoder& own = decoders[place].content.decoder;
        if (own.latent() != group.inputs() || own.chunk_length() != group.chunk_length) {
            reject("decoder section", "the decoder's inputs or outputs do not fit the group");
        }
        if (own.multiplications() > left / std::max<std::size_t>(group.chunks, 1)) {
            reject("groups", "decoding would take more than 2^24 multiplications for each byte of the file");
        }
        left -= own.multiplications() * group.chunks;
    }
    return Fleet(std::move(content), std::move(decoders), index());
}

void OpenFleet::account(Ledger& ledger) const {
    const Fleet& own = fleet(0);
    ledger.bytes.decoder += entry().size - own.section().table_bytes;
    ledger.bytes.tables += own.section().table_bytes;
    for (const FleetDecoder& decoder : own.decoders()) {
        ledger.split_decoder(decoder.section, decoder.content.table_bytes);
    }
}

std::unique_ptr<OpenSection> open_fleet(const Archive& archive, std::size_t number) {
    return std::make_unique<OpenFleet>(archive, number);
}

}  // namespace vaecomp::core
