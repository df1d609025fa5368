// Lossless sections: tensors from their byte planes, or from high and low bits.
#include "format/lossless.hpp"

#include <algorithm>

#include "core/parallel.hpp"
#include "decode/kinds.hpp"
#include "decode/lazy.hpp"
#include "decode/split.hpp"

namespace vaecomp::core {
namespace {

// How many parts a thread is to have at least, and blocks of a part at most.
constexpr std::size_t parts_a_thread = 8, most_blocks = 8;

class OpenLossless final : public OpenSection {
  public:
    using OpenSection::OpenSection;

    void check(std::size_t threads) const override { static_cast<void>(tensors(threads)); }

    void decode(std::span<const TensorTarget> targets, std::size_t threads, Written written) const override {
        const Vector<LosslessTensor>& all = tensors(threads);
        const Vector<Part> parts = parts_of(targets, threads);
        parallel_for(parts.size(), threads, [&](std::size_t p) {
            const Part& part = parts[p];
            const TensorTarget& own = targets[part.target];
            located([&] { decode(all[own.place], own, part.first, part.count); }, &tensor(own.place));
            written(part.target, part.first, part.count);
        });
    }

    void account(Ledger& ledger) const override { ledger.bytes.passthrough += entry().size; }

  private:
    // Elements of a target that a thread decodes.
    struct Part {
        std::size_t target, first, count;
    };

    // They end where blocks do, and are so many that all threads are busy to the end. Only a large one is worth its
    // tables.
    [[nodiscard]] Vector<Part> parts_of(std::span<const TensorTarget> targets, std::size_t threads) const {
        std::size_t items = 0;
        for (const TensorTarget& target : targets) items += PlanesShape{target.count, target.dtype}.items();
        const std::size_t shares = parts_a_thread * (threads == 0 ? available_cores() : threads);
        const std::size_t blocks = std::max(std::clamp<std::size_t>(items / (shares * block_symbols), 1, most_blocks),
                                            file().request_bytes() / block_symbols);
        Vector<Part> parts;
        for (std::size_t t = 0; t < targets.size(); ++t) {
            const std::size_t length = blocks * block_symbols / PlanesShape{1, targets[t].dtype}.items();
            const std::size_t start = elements(targets[t]).start;
            for (std::size_t first = 0, count = 0; first < targets[t].count; first += count) {
                count = std::min(targets[t].count - first, length - (start + first) % length);
                parts.push_back({t, first, count});
            }
        }
        return parts;
    }

    void decode(const LosslessTensor& own, const TensorTarget& target, std::size_t first, std::size_t count) const {
        const std::size_t begin = elements(target).start + first;
        const PlanesShape part{count, target.dtype};
        std::uint8_t* const out = target.data + first * info(target.dtype).size;
        if (const auto* planes = std::get_if<Planes>(&own)) {
            decode_planes(file(), *planes, begin, part, out);
        } else {
            decode_split(file(), std::get<SplitTensor>(own), begin, part, out);
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
