// Decoding of many members of a pack at once.
#include <algorithm>

#include "core/digest.hpp"
#include "decode/archive.hpp"

namespace vaecomp::core {
namespace {

// Members that are decoded together: several tiles, so that there is work for threads, and little memory besides.
constexpr std::size_t batch_members = 4 * rows_a_tile;

// The destinations of one member, sorted by what makes them.
struct Sorted {
    explicit Sorted(const MemberDestinations& wanted) : targets(wanted.member.index().tensors.size()) {
        for (const Destination& destination : wanted.destinations) {
            const Tensor& tensor = wanted.member.index().tensors.at(destination.tensor);
            if (tensor.codec != Codec::member) {
                others.push_back(destination);
            } else if (tensor.count() > 0) {
                targets[destination.tensor] = {destination.data, tensor.count(), tensor.dtype};
            }
        }
    }

    Vector<TensorTarget> targets;  // by tensor: of those that base and decoders alone make
    Vector<Destination> others;
};

}  // namespace

void Archive::decode_members(std::span<const MemberDestinations> members, const DecodeOptions& options) {
    for (std::size_t begin = 0; begin < members.size(); begin += batch_members) {
        decode_batch(members.subspan(begin, std::min(batch_members, members.size() - begin)), options);
    }
}

void Archive::decode_batch(std::span<const MemberDestinations> members, const DecodeOptions& options) {
    const Archive* const pack = members.front().member.pack_;
    if (pack == nullptr) throw Error(ErrorCode::invalid_argument, "an archive is no member of a pack");
    const Fleet& fleet = pack->fleet(options.threads);
    Vector<Sorted> sorted;
    Vector<const MemberLatents*> latents;
    Vector<std::size_t> numbers;  // of the members that have latents
    Vector<Extent> wanted(pack->index_.tensors.size(), Extent{0, 0});
    for (const MemberDestinations& own : members) {
        if (own.member.pack_ != pack) throw Error(ErrorCode::invalid_argument, "members of different packs");
        sorted.emplace_back(own);
        if (const MemberLatents* const found = own.member.latents(options.threads)) {
            numbers.push_back(sorted.size() - 1);
            latents.push_back(found);
        }
        for (std::size_t t = 0; t < wanted.size(); ++t) {
            if (sorted.back().targets[t].data != nullptr) wanted[t].count = pack->index_.tensors[t].count();
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
    fleet.decode(latents, wanted, options.threads,
                 [&](std::size_t row, std::size_t tensor, std::size_t first, std::span<float> values) {
                     const TensorTarget& target = sorted[numbers[row]].targets[tensor];
                     if (target.data == nullptr) return;
                     add_base(bases[tensor] + first, values);
                     write(target, first, values);
                 });
    for (std::size_t m = 0; m < members.size(); ++m) {
        const Archive& own = members[m].member;
        if (!sorted[m].others.empty()) own.decode(sorted[m].others, options);
        if (options.verify) own.check_targets(sorted[m].targets, options.threads);
    }
}

// Compares tensors that have been decoded with their digests.
void Archive::check_targets(std::span<const TensorTarget> targets, std::size_t threads) const {
    Vector<Destination> destinations;
    Vector<DigestSource> sources;
    for (std::size_t t = 0; t < targets.size(); ++t) {
        if (targets[t].data == nullptr) continue;
        destinations.push_back({t, targets[t].data});
        sources.push_back({targets[t].data, targets[t].count, targets[t].dtype});
    }
    check_digests(destinations, TensorDigests(sources).finish(threads));
}

}  // namespace vaecomp::core
