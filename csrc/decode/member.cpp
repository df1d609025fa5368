#include "decode/member.hpp"

#include "decode/archive.hpp"
#include "decode/kinds.hpp"

namespace vaecomp::core {

const MemberLatents& OpenMember::latents(std::size_t threads) const {
    return latents_.get(context(), [&] {
        const Fleet& fleet = archive().pack()->fleet(threads);
        return read_member(read(threads).reader, fleet.section().coding, fleet.tables());
    });
}

void OpenMember::values(std::span<const Wanted> wanted, std::size_t threads, Use use) const {
    const MemberLatents* const own = &latents(threads);
    const Archive& pack = *archive().pack();
    const Fleet& fleet = pack.fleet(threads);
    // By tensor of the index.
    Vector<const float*> bases(index().tensors.size());
    Vector<std::size_t> numbers(index().tensors.size());
    Vector<Extent> changed(index().tensors.size(), Extent{0, 0});
    for (std::size_t n = 0; n < wanted.size(); ++n) {
        const auto& [t, elements] = wanted[n];
        if (elements.count == 0) continue;
        bases[t] = pack.base(t, threads).data();
        numbers[t] = n;
        if (fleet.changes(t)) {
            changed[t] = elements;
        } else {
            use(n, 0, {bases[t] + elements.start, elements.count});
        }
    }
    fleet.decode({&own, 1}, changed, threads, [&](const FleetTile& tile) {
        const std::span<float> values = tile.of(0);
        add_base(bases[tile.tensor] + tile.first, values);
        use(numbers[tile.tensor], tile.first - changed[tile.tensor].start, values);
    });
}

void OpenMember::decode(std::span<const TensorTarget> targets, std::size_t threads, Written written) const {
    Vector<Wanted> wanted;
    for (const TensorTarget& target : targets) wanted.push_back({entry().tensors[target.place], elements(target)});
    values(wanted, threads, [&](std::size_t t, std::size_t first, std::span<const float> values) {
        write(targets[t], first, values);
        written(t, first, values.size());
    });
}

std::unique_ptr<OpenSection> open_member(const Archive& archive, std::size_t number) {
    return std::make_unique<OpenMember>(archive, number);
}

}  // namespace vaecomp::core
