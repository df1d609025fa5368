// Lossless sections: tensors from their byte planes.
#include "format/lossless.hpp"

#include "decode/kinds.hpp"
#include "decode/lazy.hpp"

namespace vaecomp::core {
namespace {

using Planes = Vector<Vector<Plane>>;  // by tensor

class OpenLossless final : public OpenSection {
  public:
    using OpenSection::OpenSection;

    void check(std::size_t threads) const override { static_cast<void>(planes(threads)); }

    // Tells nobody: a tensor is whole only when all its planes are.
    void decode(std::span<const TensorTarget> targets, std::size_t threads, Written) const override {
        const Planes& all = planes(threads);
        for (const TensorTarget& target : targets) {
            const auto decode = [&] {
                decode_planes(file(), all[target.place], elements(target).start, {target.count, target.dtype},
                              target.data, threads);
            };
            located(decode, &tensor(target.place));
        }
    }

    void account(Ledger& ledger) const override { ledger.bytes.passthrough += entry().size; }

  private:
    [[nodiscard]] const Planes& planes(std::size_t threads) const {
        return planes_.get(context(), [&] {
            Vector<PlanesShape> shapes;
            for (const std::size_t t : entry().tensors) {
                shapes.push_back({index().tensors[t].count(), index().tensors[t].dtype});
            }
            return read_lossless(read(threads).reader, entry().end(), shapes);
        });
    }

    Lazy<Planes> planes_;
};

}  // namespace

std::unique_ptr<OpenSection> open_lossless(const Archive& archive, std::size_t number) {
    return std::make_unique<OpenLossless>(archive, number);
}

}  // namespace vaecomp::core
