#include "decode/targets.hpp"

#include "core/checked_blocks.hpp"
#include "core/extent.hpp"
#include "kernels/kernels.hpp"

namespace vaecomp::core {

Vector<std::size_t> wanted_parts(std::span<const TensorTarget> targets, std::size_t length) {
    Vector<std::size_t> numbers;
    for (const TensorTarget& target : targets) {
        for (const std::size_t part : blocks_between(target.start, target.start + target.count, length)) {
            if (numbers.empty() || numbers.back() < part) numbers.push_back(part);
        }
    }
    return numbers;
}

void tell(Written written, std::span<const TensorTarget> targets, std::size_t begin, std::size_t end) {
    for_each_overlap(targets, begin, end, [&](std::size_t t, std::size_t first, std::size_t count, std::size_t) {
        written(t, first, count);
    });
}

void add_base(const float* base, std::span<float> values) {
    kernels().add_base(base, values.data(), values.size(), reinterpret_cast<std::uint8_t*>(values.data()));
}

void write_sum(const TensorTarget& target, std::size_t first, const float* base, std::span<float> values) {
    if (target.dtype == DType::f32) {
        kernels().add_base(base, values.data(), values.size(), target.data + first * sizeof(float));
        return;
    }
    add_base(base, values);
    write(target, first, values);
}

}  // namespace vaecomp::core
