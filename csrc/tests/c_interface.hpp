// What tests of the C interface share: an open archive, and expectations of codes and errors.
#pragma once

#include <memory>
#include <string>

#include "tests/small_archive.hpp"
#include "tests/support.hpp"
#include "vaecomp.h"

namespace vaecomp::core::testing {

// Large enough for several blocks, so that there is work to share.
inline const SmallArchive& sample() {
    static const SmallArchive archive = make_small_archive(2000);
    return archive;
}

struct Close {
    void operator()(vaecomp_archive* archive) const { vaecomp_close(archive); }
};
using Handle = std::unique_ptr<vaecomp_archive, Close>;

// Expects a code, and a description of a failure that has `part` in it.
inline void expect_code(int code, const char* part, int result, const vaecomp_error& error) {
    EXPECT_EQ(result, code) << error.message;
    if (code == VAECOMP_OK) return;
    EXPECT_EQ(error.code, code);
    EXPECT_NE(std::string(error.message).find(part), std::string::npos) << error.message;
}

template <typename... Parameters, typename... Arguments>
void expect_failure(int code, const char* part, int (*function)(Parameters...), Arguments... arguments) {
    vaecomp_error error = VAECOMP_ERROR_INIT;
    const int result = function(arguments..., &error);
    expect_code(code, part, result, error);
    EXPECT_EQ(function(arguments..., nullptr), code);
}

template <typename... Arguments>
void expect_refused(const char* part, Arguments... arguments) {
    expect_failure(VAECOMP_INVALID_ARGUMENT, part, arguments...);
}

inline Handle open(Bytes file, const vaecomp_options& options = VAECOMP_OPTIONS_INIT) {
    vaecomp_archive* archive = nullptr;
    vaecomp_error error = VAECOMP_ERROR_INIT;
    EXPECT_EQ(vaecomp_open_memory(file.data(), file.size(), &options, &archive, &error), VAECOMP_OK) << error.message;
    return Handle(archive);
}

}  // namespace vaecomp::core::testing
