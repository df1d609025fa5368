// Member sections: tensors that the pack's decoders make of a member's latents, added to the pack's own.
#pragma once

#include <cstddef>
#include <span>

#include "core/containers.hpp"
#include "core/extent.hpp"
#include "core/function_ref.hpp"
#include "decode/fleet.hpp"
#include "decode/lazy.hpp"
#include "decode/section.hpp"

namespace vaecomp::core {

class OpenMember final : public OpenSection {
  public:
    using OpenSection::OpenSection;

    void check(std::size_t threads) const override { static_cast<void>(latents(threads)); }
    void decode(std::span<const TensorTarget> targets, std::size_t threads, Written written) const override;
    void account(Ledger& ledger) const override { ledger.bytes.latents += entry().size; }

    [[nodiscard]] const MemberLatents& latents(std::size_t threads) const;

    // Elements of a tensor of the index.
    struct Wanted {
        std::size_t tensor;
        Extent elements;
    };
    // Base and decoders' values of what is wanted, whose tensors differ: of wanted[number] those from `first` of its
    // elements on. Called from several threads at once.
    using Use = FunctionRef<void(std::size_t number, std::size_t first, std::span<const float> values)>;
    void values(std::span<const Wanted> wanted, std::size_t threads, Use use) const;

  private:
    Lazy<MemberLatents> latents_;
};

}  // namespace vaecomp::core
