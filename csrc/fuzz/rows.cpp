// Decoding of rows: the same as those of the whole.
#include <cstring>

#include "fuzz/target.hpp"

using namespace vaecomp::core::fuzz;

namespace {

void require_same_rows(const Handle& archive, std::size_t tensor, std::size_t first, std::size_t count,
                       const Decoded& whole) {
    const vaecomp_tensor_info own = info(archive, tensor);
    const std::size_t row = own.shape[0] == 0 ? 0 : own.bytes / own.shape[0];
    Data part(count * row);
    vaecomp_error error = VAECOMP_ERROR_INIT;
    const int code = vaecomp_decode_rows(archive.get(), tensor, first, count, part.data(), part.size(), &error);
    if (code != VAECOMP_OK) require_described(code, error);
    // Other parts of the tensor may be wrong without harm to these rows.
    if (whole.code != VAECOMP_OK) return;
    VAECOMP_REQUIRE(code == VAECOMP_OK || code == VAECOMP_MEMORY_LIMIT);
    if (code != VAECOMP_OK || part.empty()) return;
    VAECOMP_REQUIRE(std::memcmp(part.data(), whole.data.data() + first * row, part.size()) == 0);
}

void require_refused(const Handle& archive, std::size_t tensor, std::size_t first, std::size_t count) {
    VAECOMP_REQUIRE(vaecomp_decode_rows(archive.get(), tensor, first, count, nullptr, 0, nullptr) ==
                    VAECOMP_INVALID_ARGUMENT);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const Handle archive = open(data, size, false);
    if (!archive || !is_quick(archive)) return 0;
    // As good as random, and the same for the same input.
    std::uint64_t state = size;
    for (std::size_t i = size - VAECOMP_HEADER_BYTES; i < size; ++i) state = state * 31 + data[i];
    const auto below = [&](std::size_t end) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        return static_cast<std::size_t>(state >> 33) % end;
    };
    for (std::size_t t = 0; t < vaecomp_tensor_count(archive.get()); ++t) {
        const vaecomp_tensor_info own = info(archive, t);
        if (own.rank == 0) {
            require_refused(archive, t, 0, 0);
            continue;
        }
        const Decoded whole = decode(archive, t);
        const std::size_t rows = own.shape[0];
        require_refused(archive, t, rows, 1);
        require_refused(archive, t, 1, SIZE_MAX);
        for (int i = 0; i < 3; ++i) {
            const std::size_t first = below(rows + 1), count = below(rows - first + 1);
            require_same_rows(archive, t, first, count, whole);
        }
    }
    return 0;
}
