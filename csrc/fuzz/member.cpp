// A member that is read with its pack, alone and together with others. Both files may be anything.
#include "fuzz/pair.hpp"
#include "fuzz/target.hpp"

using namespace vaecomp::core::fuzz;

namespace {

// The member twice, so that there are several.
void require_same_together(const Handle& member, const std::vector<Decoded>& alone) {
    std::vector<Data> data(2 * alone.size());
    std::vector<vaecomp_output> outputs[2];
    bool all = true;
    for (std::size_t t = 0; t < alone.size(); ++t) {
        const vaecomp_tensor_info own = info(member, t);
        if (own.codec == VAECOMP_ALIAS) continue;
        all = all && alone[t].code == VAECOMP_OK;
        for (std::size_t copy = 0; copy < 2; ++copy) {
            Data& values = data[copy * alone.size() + t];
            values.resize(own.bytes);
            outputs[copy].push_back({t, 0, own.elements, values.data(), own.bytes});
        }
    }
    const vaecomp_member_outputs members[] = {{member.get(), outputs[0].data(), outputs[0].size()},
                                              {member.get(), outputs[1].data(), outputs[1].size()}};
    vaecomp_error error = VAECOMP_ERROR_INIT;
    const int code = vaecomp_decode_members(members, 2, &error);
    if (code != VAECOMP_OK) require_described(code, error);
    // All members together need more memory.
    if (code == VAECOMP_MEMORY_LIMIT) return;
    VAECOMP_REQUIRE((code == VAECOMP_OK) == all);
    for (const auto& copy : outputs) {
        for (const vaecomp_output& output : copy) {
            const Data& expected = alone[output.tensor].data;
            const auto* const values = static_cast<const std::uint8_t*>(output.data);
            VAECOMP_REQUIRE(!all || std::equal(expected.begin(), expected.end(), values));
        }
    }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const Pair pair = split({data, size});
    Handle pack = open(pair.pack.data(), pair.pack.size(), true);
    if (!pack) return 0;
    const Handle member = open(pair.member.data(), pair.member.size(), true, pack.get());
    if (!member) return 0;
    const bool quick = is_quick(pack) && is_quick(member);
    pack.reset();
    if (!quick) return 0;
    std::vector<Decoded> tensors;
    bool all = true;
    for (std::size_t t = 0; t < vaecomp_tensor_count(member.get()); ++t) {
        tensors.push_back(decode(member, t));
        all = all && tensors.back().code == VAECOMP_OK;
    }
    if (vaecomp_pack_hash(member.get()) != nullptr) require_same_together(member, tensors);
    vaecomp_error error = VAECOMP_ERROR_INIT;
    const int code = vaecomp_verify(member.get(), &error);
    if (code != VAECOMP_OK) require_described(code, error);
    VAECOMP_REQUIRE(code != VAECOMP_OK || all);
    return 0;
}
