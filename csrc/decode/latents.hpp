// Latents sections: tensors that a decoder makes of latents, chunk by chunk.
#pragma once

#include <cstddef>
#include <cstdint>
#include <variant>

#include "core/containers.hpp"
#include "decode/lazy.hpp"
#include "decode/section.hpp"
#include "format/sections.hpp"

namespace vaecomp::core {

// What the chunks of a section are made from.
struct LatentGroup {
    LatentsHeader header;
    std::variant<IntegerDecoder, Float32Decoder> decoder;
    std::variant<Vector<std::int8_t>, Vector<float>> latents;
    std::size_t decoder_table_bytes, latent_table_bytes;
};

class OpenLatents final : public OpenSection {
  public:
    using OpenSection::OpenSection;

    void check(std::size_t threads) const override { static_cast<void>(group(threads)); }
    void decode(std::span<const TensorTarget> targets, std::size_t threads, Written written) const override;
    void account(Ledger& ledger) const override;

    [[nodiscard]] const LatentGroup& group(std::size_t threads) const;

  private:
    [[nodiscard]] LatentGroup load(std::size_t threads) const;
    // The elements of the tensors that the chunks make.
    [[nodiscard]] std::size_t made_elements() const;

    Lazy<LatentGroup> group_;
};

// By section: the one whose tensors a latents section makes, itself or the quantized section that it is the base of.
// Others own themselves.
Vector<std::size_t> find_owners(const Source& file, const Index& index);

}  // namespace vaecomp::core
