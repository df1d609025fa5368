// Fleet sections: a pack's decoders, ready to make what they add for any number of members.
#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "core/containers.hpp"
#include "core/extent.hpp"
#include "core/function_ref.hpp"
#include "decode/lazy.hpp"
#include "decode/section.hpp"
#include "format/fleet.hpp"
#include "format/sections.hpp"

namespace vaecomp::core {

using MemberLatents = Vector<std::int8_t>;

// A decoder, and the section that it comes from.
struct FleetDecoder {
    std::size_t section;
    DecoderSection<IntegerDecoder> content;
};

// What is added to elements [first, first + count) of a tensor, of some members that follow each other.
struct FleetTile {
    std::size_t first_member, members;
    std::size_t tensor, first, count;
    std::size_t since;  // elements [since, first) of theirs have been heard of before, from the same thread
    float* values;      // [members, stride]
    std::size_t stride;

    [[nodiscard]] std::span<float> of(std::size_t member) const {
        return {values + (member - first_member) * stride, count};
    }
};

class Fleet {
  public:
    // Those decoders, each once, that the groups name; they fit them.
    Fleet(FleetSection section, Vector<FleetDecoder> decoders, const Index& index);

    [[nodiscard]] const FleetSection& section() const { return section_; }
    [[nodiscard]] const Vector<FleetDecoder>& decoders() const { return decoders_; }
    // Null if members have no latents.
    [[nodiscard]] const DecodingTables* tables() const { return tables_ ? &*tables_ : nullptr; }
    // Whether a decoder adds to a tensor of the index.
    [[nodiscard]] bool changes(std::size_t tensor) const { return changed_[tensor]; }

    // May overwrite the values; called from several threads at once.
    using Use = FunctionRef<void(const FleetTile& tile)>;
    // For each of the members, of each tensor of the index the elements `wanted` (count 0: none).
    void decode(std::span<const MemberLatents* const> members, std::span<const Extent> wanted, std::size_t threads,
                Use use) const;

  private:
    struct Group {
        std::size_t decoder;     // of decoders_
        Vector<Extent> tensors;  // where they lie in what the chunks make
    };
    void decode_group(std::size_t number, std::span<const MemberLatents* const> members, std::span<const Extent> wanted,
                      std::size_t threads, Use use) const;

    FleetSection section_;
    Vector<FleetDecoder> decoders_;
    std::optional<DecodingTables> tables_;
    Vector<Group> groups_;
    Vector<bool> changed_;  // by tensor
};

class OpenFleet final : public OpenSection {
  public:
    using OpenSection::OpenSection;

    void check(std::size_t threads) const override { static_cast<void>(fleet(threads)); }
    void account(Ledger& ledger) const override;

    [[nodiscard]] const Fleet& fleet(std::size_t threads) const;

  private:
    [[nodiscard]] Fleet load(std::size_t threads) const;

    Lazy<Fleet> fleet_;
};

}  // namespace vaecomp::core
