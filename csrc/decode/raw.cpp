// Raw sections: tensors as they are.
#include <algorithm>

#include "core/endian.hpp"
#include "core/parallel.hpp"
#include "decode/kinds.hpp"
#include "kernels/crc32c/checksum.hpp"

namespace vaecomp::core {
namespace {

// Bytes that a task copies.
constexpr std::size_t grain = std::size_t{1} << 20;

class OpenRaw final : public OpenSection {
  public:
    using OpenSection::OpenSection;

    void check(std::size_t threads) const override {
        if (checksum(file(), entry().offset, entry().size, threads) != entry().crc) fail_checksum();
    }

    // Targets of raw tensors count and start in bytes.
    void decode(std::span<const TensorTarget> targets, std::size_t threads, Written written) const override {
        for (std::size_t t = 0; t < targets.size(); ++t) {
            const TensorTarget& target = targets[t];
            const std::size_t item = info(target.dtype).swap_size;
            parallel_ranges(target.count, grain, threads, [&](std::size_t begin, std::size_t end) {
                const std::span<std::uint8_t> out(target.data + begin, end - begin);
                file().read(entry().offset + target.start + begin, out);
                if (!host_is_little_endian) swap_items(out.data(), out.data(), out.size() / item, item);
                written(t, begin, end - begin);
            });
            if (target.dtype == DType::boolean) check_bools(target);
        }
    }

    void account(Ledger& ledger) const override { ledger.bytes.passthrough += entry().size; }

  private:
    void check_bools(const TensorTarget& target) const {
        const auto* const bad =
            std::find_if(target.data, target.data + target.count, [](std::uint8_t byte) { return byte > 1; });
        if (bad == target.data + target.count) return;
        const std::uint64_t at = entry().offset + target.start + static_cast<std::uint64_t>(bad - target.data);
        throw Error(ErrorCode::malformed, "section " + std::to_string(number()) + ": bool of tensor " +
                                              tensor(target.place).quoted_name() + " at offset " + std::to_string(at) +
                                              ": is neither 0 nor 1");
    }
};

}  // namespace

std::unique_ptr<OpenSection> open_raw(const Archive& archive, std::size_t number) {
    return std::make_unique<OpenRaw>(archive, number);
}

}  // namespace vaecomp::core
