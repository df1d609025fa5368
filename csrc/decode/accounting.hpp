// What the bytes of a file are for.
#pragma once

#include <cstddef>
#include <cstdint>

#include "core/containers.hpp"

namespace vaecomp::core {

// They add up to the file's size.
struct Accounting {
    std::uint64_t container = 0, decoder = 0, latents = 0, weights = 0, tables = 0, passthrough = 0;
};

// Adds them up, section by section.
class Ledger {
  public:
    explicit Ledger(std::size_t sections) : split_(sections) {}

    // A decoder's section, all of whose bytes count as decoder, has tables. Whoever uses the decoder says so; that is
    // heard once.
    void split_decoder(std::size_t section, std::size_t table_bytes) {
        if (split_[section]) return;
        split_[section] = true;
        bytes.decoder -= table_bytes;
        bytes.tables += table_bytes;
    }

    Accounting bytes;

  private:
    Vector<bool> split_;
};

}  // namespace vaecomp::core
