// Decoding: one tensor after another, all at once, with and without digests.
#include <cstring>

#include "fuzz/target.hpp"

using namespace vaecomp::core::fuzz;

namespace {

// A tensor has one value or one failure, whatever else is asked for.
bool require_same_at_once(const Handle& archive, const std::vector<Decoded>& alone) {
    std::vector<Data> data(alone.size());
    std::vector<vaecomp_output> outputs;
    bool all = true;
    for (std::size_t t = 0; t < alone.size(); ++t) {
        const vaecomp_tensor_info own = info(archive, t);
        if (own.codec == VAECOMP_ALIAS) continue;
        all = all && alone[t].code == VAECOMP_OK;
        data[t].resize(own.bytes);
        outputs.push_back({t, 0, own.elements, data[t].data(), own.bytes});
    }
    vaecomp_error error = VAECOMP_ERROR_INIT;
    const int code = vaecomp_decode_many(archive.get(), outputs.data(), outputs.size(), &error);
    if (code != VAECOMP_OK) require_described(code, error);
    // All tensors together need more memory.
    if (code == VAECOMP_MEMORY_LIMIT) return all;
    VAECOMP_REQUIRE((code == VAECOMP_OK) == all);
    for (const vaecomp_output& output : outputs)
        VAECOMP_REQUIRE(!all || data[output.tensor] == alone[output.tensor].data);
    return all;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const Handle archive = open(data, size, false), checked = open(data, size, true);
    VAECOMP_REQUIRE((archive == nullptr) == (checked == nullptr));
    if (!archive || !is_quick(archive)) return 0;
    std::vector<Decoded> tensors;
    bool all = true;
    for (std::size_t t = 0; t < vaecomp_tensor_count(archive.get()); ++t) {
        tensors.push_back(decode(archive, t));
        const Decoded compared = decode(checked, t);
        all = all && compared.code == VAECOMP_OK;
        VAECOMP_REQUIRE(compared.code == tensors[t].code || compared.code == VAECOMP_CHECKSUM);
        VAECOMP_REQUIRE(compared.code != VAECOMP_OK || compared.data == tensors[t].data);
    }
    require_same_at_once(archive, tensors);
    vaecomp_error error = VAECOMP_ERROR_INIT;
    const int code = vaecomp_verify(checked.get(), &error);
    if (code != VAECOMP_OK) require_described(code, error);
    VAECOMP_REQUIRE(code != VAECOMP_OK || all);
    return 0;
}
