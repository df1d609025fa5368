// Decoding of many members of a pack at once.
#include <algorithm>
#include <array>
#include <limits>

#include "core/digest.hpp"
#include "decode/archive.hpp"

namespace vaecomp::core {
namespace {

// Members that are decoded together: several tiles, so that there is work for threads, and little memory besides.
constexpr std::size_t batch_members = 4 * rows_a_tile;
constexpr std::size_t unchecked = std::numeric_limits<std::size_t>::max();

// The destinations of one member, sorted by what makes them.
struct Sorted {
    explicit Sorted(const MemberDestinations& wanted)
        : targets(wanted.member.index().tensors.size()), places(targets.size(), unchecked) {
        for (const Destination& destination : wanted.destinations) {
            const Tensor& tensor = wanted.member.index().tensors.at(destination.tensor);
            if (tensor.codec != Codec::member) {
                others.push_back(destination);
            } else if (tensor.count() > 0) {
                targets[destination.tensor] = {destination.data, tensor.count(), tensor.dtype};
            }
        }
    }

    // Adds what digests are taken of.
    void check(Vector<DigestSource>& sources) {
        for (std::size_t t = 0; t < targets.size(); ++t) {
            if (targets[t].data == nullptr) continue;
            places[t] = sources.size();
            checked.push_back({t, targets[t].data});
            sources.push_back({targets[t].data, targets[t].count, targets[t].dtype});
        }
    }

    // By tensor: of those that base and decoders alone make, without data where nobody asks.
    Vector<TensorTarget> targets;
    Vector<Destination> others;
    Vector<Destination> checked;  // of the targets
    Vector<std::size_t> places;   // by tensor: its place among the sources of all
};

// Adds the base to a tile, and takes digests of what has become whole: for all its members, side by side.
void write_tile(const FleetTile& tile, std::span<Sorted* const> members, const float* base, TensorDigests& digests) {
    std::array<std::size_t, rows_a_tile> places;
    std::size_t checked = 0;
    DType dtype = DType::f32;
    for (std::size_t m = tile.first_member; m < tile.first_member + tile.members; ++m) {
        const TensorTarget& target = members[m]->targets[tile.tensor];
        if (target.data == nullptr) continue;
        write_sum(target, tile.first, base + tile.first, tile.of(m));
        const std::size_t place = members[m]->places[tile.tensor];
        if (place != unchecked) places[checked++] = place;
        dtype = target.dtype;
    }
    const std::size_t item = info(dtype).size, from = untold(tile.since, tile.first, dtype);
    digests.written(std::span(places).first(checked), from * item, (tile.first + tile.count) * item);
}

}  // namespace

void Archive::decode_members(std::span<const MemberDestinations> members, const DecodeOptions& options) {
    for (std::size_t begin = 0; begin < members.size(); begin += batch_members) {
        decode_batch(members.subspan(begin, std::min(batch_members, members.size() - begin)), options);
    }
}

void Archive::decode_batch(std::span<const MemberDestinations> members, const DecodeOptions& options) {
    const Archive* const pack = members.front().member.pack();
    if (pack == nullptr) throw Error(ErrorCode::invalid_argument, "an archive is no member of a pack");
    const Fleet& fleet = pack->fleet(options.threads);
    Vector<Sorted> sorted;
    sorted.reserve(members.size());
    Vector<const MemberLatents*> latents;
    Vector<Sorted*> with_latents;
    Vector<DigestSource> sources;
    Vector<Extent> wanted(pack->index().tensors.size(), Extent{0, 0});
    for (const MemberDestinations& own : members) {
        if (own.member.pack() != pack) throw Error(ErrorCode::invalid_argument, "members of different packs");
        sorted.emplace_back(own);
        if (options.verify) sorted.back().check(sources);
        // It has none if no tensor needs any.
        if (own.member.index().find(SectionKind::member)) {
            with_latents.push_back(&sorted.back());
            latents.push_back(&own.member.member().latents(options.threads));
        }
        for (std::size_t t = 0; t < wanted.size(); ++t) {
            if (sorted.back().targets[t].data != nullptr) wanted[t].count = pack->index().tensors[t].count();
        }
    }
    Vector<const float*> bases(wanted.size());
    for (std::size_t t = 0; t < wanted.size(); ++t) {
        if (wanted[t].count > 0) bases[t] = pack->base(t, options.threads).data();
    }
    // Tensors that no decoder changes are the base.
    for (std::size_t t = 0; t < wanted.size(); ++t) {
        if (wanted[t].count == 0 || fleet.changes(t)) continue;
        for (const Sorted& own : sorted) {
            if (own.targets[t].data != nullptr) write(own.targets[t], 0, {bases[t], wanted[t].count});
        }
        wanted[t].count = 0;
    }
    TensorDigests digests(sources);
    fleet.decode(latents, wanted, options.threads,
                 [&](const FleetTile& tile) { write_tile(tile, with_latents, bases[tile.tensor], digests); });
    const Vector<std::uint64_t> found = digests.finish(options.threads);
    std::size_t first = 0;
    for (std::size_t m = 0; m < members.size(); ++m) {
        const Archive& own = members[m].member;
        if (!sorted[m].others.empty()) own.decode(sorted[m].others, options);
        own.check_digests(sorted[m].checked, std::span(found).subspan(first, sorted[m].checked.size()));
        first += sorted[m].checked.size();
    }
}

}  // namespace vaecomp::core
