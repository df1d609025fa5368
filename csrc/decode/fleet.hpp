// A pack's decoders, ready to make what they add for any number of members.
#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "core/containers.hpp"
#include "core/extent.hpp"
#include "core/function_ref.hpp"
#include "format/fleet.hpp"
#include "kernels/decoder/decoder.hpp"

namespace vaecomp::core {

using MemberLatents = Vector<std::int8_t>;

class Fleet {
  public:
    // For each group its decoder, which fits it and outlives the fleet.
    Fleet(FleetSection section, std::span<const IntegerDecoder* const> decoders, const Index& index);

    [[nodiscard]] const FleetSection& section() const { return section_; }
    // Null if members have no latents.
    [[nodiscard]] const DecodingTables* tables() const { return tables_ ? &*tables_ : nullptr; }
    // Whether a decoder adds to a tensor of the index.
    [[nodiscard]] bool changes(std::size_t tensor) const { return changed_[tensor]; }

    // Hears what is added to elements of a tensor, from `first` on; called from several threads at once.
    using Use = FunctionRef<void(std::size_t member, std::size_t tensor, std::size_t first, std::span<float> values)>;
    // For each of the members, of each tensor of the index the elements `wanted` (count 0: none).
    void decode(std::span<const MemberLatents* const> members, std::span<const Extent> wanted, std::size_t threads,
                Use use) const;

  private:
    struct Group {
        const IntegerDecoder* decoder;
        Vector<Extent> tensors;  // where they lie in what the chunks make
    };
    void decode_group(std::size_t number, std::span<const MemberLatents* const> members, std::span<const Extent> wanted,
                      std::size_t threads, Use use) const;

    FleetSection section_;
    std::optional<DecodingTables> tables_;
    Vector<Group> groups_;
    Vector<bool> changed_;  // by tensor
};

}  // namespace vaecomp::core
