// A section of an open archive: each kind has a file of its own that says how it is checked, decoded and accounted for.
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "core/bytes.hpp"
#include "core/containers.hpp"
#include "core/context.hpp"
#include "core/extent.hpp"
#include "decode/accounting.hpp"
#include "decode/targets.hpp"
#include "format/index.hpp"

namespace vaecomp::core {

class Archive;

// What a section's checksum covers, with a reader of it behind the head's size.
struct CheckedSection {
    LoadedBytes bytes;
    ByteReader reader;
};

// Nothing of it is read before it is used. Safe to use from several threads at once.
class OpenSection {
  public:
    // The archive must outlive it.
    OpenSection(const Archive& archive, std::size_t number) : archive_(archive), number_(number) {}
    OpenSection(const OpenSection&) = delete;
    OpenSection& operator=(const OpenSection&) = delete;
    virtual ~OpenSection() = default;

    // Throws unless the section is what the format says, whether tensors need it or not.
    virtual void check(std::size_t threads) const = 0;
    // Targets are of the section's tensors, in their order; sections without tensors are not asked.
    virtual void decode(std::span<const TensorTarget> targets, std::size_t threads, Written written) const;
    virtual void account(Ledger& ledger) const = 0;

    [[nodiscard]] CheckedSection read(std::size_t threads) const;
    [[nodiscard]] const Section& entry() const { return index().sections[number_]; }

  protected:
    [[nodiscard]] const Archive& archive() const { return archive_; }
    [[nodiscard]] std::size_t number() const { return number_; }
    [[nodiscard]] const Index& index() const;
    [[nodiscard]] const Source& file() const;
    // Of the archive, for what is read once and kept.
    [[nodiscard]] const Context& context() const;
    // By its place among the section's tensors.
    [[nodiscard]] const Tensor& tensor(std::size_t place) const { return index().tensors[entry().tensors[place]]; }
    // The elements of its tensor that a target wants.
    [[nodiscard]] Extent elements(const TensorTarget& target) const;

    [[noreturn]] void reject(const char* field, const std::string& problem) const;
    [[noreturn]] void fail_checksum() const;
    // Errors of the body, which does not know where it is, name the section, and the tensor if there is one.
    void located(FunctionRef<void()> body, const Tensor* tensor = nullptr) const;

  private:
    const Archive& archive_;
    std::size_t number_;
};

// Of the kind that the index says.
std::unique_ptr<OpenSection> open_section(const Archive& archive, std::size_t number);

}  // namespace vaecomp::core
