// What a handle of the C interface stands for.
#pragma once

#include <memory>
#include <optional>

#include "abi/memory.hpp"
#include "decode/archive.hpp"
#include "vaecomp.h"

namespace vaecomp::core {

// All of an open archive: members keep their pack's.
struct OpenArchive {
    explicit OpenArchive(const vaecomp_options& given)
        : options(given), memory(given.allocator, given.memory_limit), runner{given.runner.context, given.runner.run} {}

    [[nodiscard]] Context context() { return {&memory, runner.run != nullptr ? &runner : nullptr, false}; }

    vaecomp_options options;
    ArchiveMemory memory;
    Runner runner;
    std::shared_ptr<OpenArchive> pack;
    std::unique_ptr<Source> source;
    std::optional<Archive> archive;
};

}  // namespace vaecomp::core

struct vaecomp_archive {
    [[nodiscard]] const vaecomp::core::Archive& archive() const { return *state->archive; }
    [[nodiscard]] const vaecomp::core::Index& index() const { return archive().index(); }
    [[nodiscard]] vaecomp::core::DecodeOptions decoding() const {
        return {.verify = state->options.verify != 0, .threads = state->options.threads};
    }

    std::shared_ptr<vaecomp::core::OpenArchive> state;
};
