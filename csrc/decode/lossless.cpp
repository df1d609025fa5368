// Lossless sections: tensors from their byte planes, or from high and low bits.
#include "format/lossless.hpp"

#include "decode/kinds.hpp"
#include "decode/lazy.hpp"
#include "decode/split.hpp"

namespace vaecomp::core {
namespace {

class OpenLossless final : public OpenSection {
  public:
    using OpenSection::OpenSection;

    void check(std::size_t threads) const override { static_cast<void>(tensors(threads)); }

    // Tells nobody: a tensor is whole only when all its planes are.
    void decode(std::span<const TensorTarget> targets, std::size_t threads, Written) const override {
        const Vector<LosslessTensor>& all = tensors(threads);
        for (const TensorTarget& target : targets) {
            located([&] { decode(all[target.place], target, threads); }, &tensor(target.place));
        }
    }

    void account(Ledger& ledger) const override { ledger.bytes.passthrough += entry().size; }

  private:
    void decode(const LosslessTensor& own, const TensorTarget& target, std::size_t threads) const {
        const std::size_t first = elements(target).start;
        const PlanesShape part{target.count, target.dtype};
        if (const auto* planes = std::get_if<Planes>(&own)) {
            decode_planes(file(), *planes, first, part, target.data, threads);
        } else {
            decode_split(file(), std::get<SplitTensor>(own), first, part, target.data, threads);
        }
    }

    [[nodiscard]] const Vector<LosslessTensor>& tensors(std::size_t threads) const {
        return tensors_.get(context(), [&] {
            Vector<PlanesShape> shapes;
            for (const std::size_t t : entry().tensors) {
                const Tensor& own = index().tensors[t];
                shapes.push_back({own.count(), own.dtype, matrix_shape(own.shape).rows});
            }
            return read_lossless(read(threads).reader, entry().end(), shapes, index().max_symbols(), threads);
        });
    }

    Lazy<Vector<LosslessTensor>> tensors_;
};

}  // namespace

std::unique_ptr<OpenSection> open_lossless(const Archive& archive, std::size_t number) {
    return std::make_unique<OpenLossless>(archive, number);
}

}  // namespace vaecomp::core
