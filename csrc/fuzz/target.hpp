// What the targets share.
#pragma once

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <vector>

#include "abi/open_archive.hpp"
#include "fuzz/limits.hpp"
#include "vaecomp.h"

// One input. Aborts if the library does what it must not.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

#define VAECOMP_REQUIRE(condition)                                                         \
    do {                                                                                   \
        if (!(condition)) {                                                                \
            std::fprintf(stderr, "%s:%d: not true: %s\n", __FILE__, __LINE__, #condition); \
            std::abort();                                                                  \
        }                                                                                  \
    } while (false)

namespace vaecomp::core::fuzz {

struct Close {
    void operator()(vaecomp_archive* archive) const { vaecomp_close(archive); }
};
using Handle = std::unique_ptr<vaecomp_archive, Close>;
using Data = std::vector<std::uint8_t>;

inline vaecomp_options options(bool verify) {
    vaecomp_options options = VAECOMP_OPTIONS_INIT;
    options.threads = 1;
    options.verify = verify;
    options.memory_limit = max_memory;
    return options;
}

// What every failure must look like.
inline void require_described(int code, const vaecomp_error& error) {
    VAECOMP_REQUIRE(code != VAECOMP_OK && code != VAECOMP_INTERNAL && code != VAECOMP_INVALID_ARGUMENT);
    VAECOMP_REQUIRE(error.code == code && error.message[0] != '\0');
}

inline Handle open(const std::uint8_t* data, std::size_t size, bool verify, const vaecomp_archive* pack = nullptr) {
    vaecomp_options chosen = options(verify);
    chosen.pack = pack;
    vaecomp_archive* archive = nullptr;
    vaecomp_error error = VAECOMP_ERROR_INIT;
    const int code = vaecomp_open_memory(data, size, &chosen, &archive, &error);
    VAECOMP_REQUIRE((code == VAECOMP_OK) == (archive != nullptr));
    if (code != VAECOMP_OK) require_described(code, error);
    return Handle(archive);
}

inline vaecomp_tensor_info info(const Handle& archive, std::size_t tensor) {
    vaecomp_tensor_info info = VAECOMP_TENSOR_INFO_INIT;
    VAECOMP_REQUIRE(vaecomp_tensor(archive.get(), tensor, &info, nullptr) == VAECOMP_OK);
    return info;
}

// See limits.hpp.
inline bool is_quick(const Handle& archive) {
    try {
        const ContextScope scope(archive->state->context());
        return is_quick(archive->archive());
    } catch (const Error&) {
        return false;
    } catch (const std::bad_alloc&) {
        return false;
    }
}

// A tensor's bytes, and the code with which they came.
struct Decoded {
    int code;
    Data data;
};

inline Decoded decode(const Handle& archive, std::size_t tensor) {
    vaecomp_error error = VAECOMP_ERROR_INIT;
    Decoded result{VAECOMP_OK, Data(info(archive, tensor).bytes)};
    result.code = vaecomp_decode(archive.get(), tensor, result.data.data(), result.data.size(), &error);
    if (result.code != VAECOMP_OK) require_described(result.code, error);
    return result;
}

}  // namespace vaecomp::core::fuzz
