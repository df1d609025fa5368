// Decoder sections: those that use a decoder read it for themselves.
#include "decode/archive.hpp"
#include "decode/kinds.hpp"
#include "format/sections.hpp"

namespace vaecomp::core {
namespace {

class OpenDecoder : public OpenSection {
  public:
    using OpenSection::OpenSection;

    void account(Ledger& ledger) const override { ledger.bytes.decoder += entry().size; }
};

class OpenIntegerDecoder final : public OpenDecoder {
  public:
    using OpenDecoder::OpenDecoder;

    void check(std::size_t threads) const override { static_cast<void>(archive().integer_layers(number(), threads)); }
};

class OpenFloat32Decoder final : public OpenDecoder {
  public:
    using OpenDecoder::OpenDecoder;

    void check(std::size_t threads) const override { static_cast<void>(read_float32_decoder(read(threads).reader)); }
};

}  // namespace

std::unique_ptr<OpenSection> open_integer_decoder(const Archive& archive, std::size_t number) {
    return std::make_unique<OpenIntegerDecoder>(archive, number);
}

std::unique_ptr<OpenSection> open_float32_decoder(const Archive& archive, std::size_t number) {
    return std::make_unique<OpenFloat32Decoder>(archive, number);
}

}  // namespace vaecomp::core
