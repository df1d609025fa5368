// An open file, read where and when its bytes are needed.
#pragma once

#include <string>

#include "core/source.hpp"

namespace vaecomp::core {

class FileSource : public Source {
  public:
    // Throws io if there is no such file, or if it cannot be read at any offset (a pipe, say).
    explicit FileSource(const std::string& path);
    ~FileSource() override;

    [[nodiscard]] std::uint64_t size() const override { return size_; }
    [[nodiscard]] std::size_t request_bytes() const override { return std::size_t{1} << 18; }
    void read(std::uint64_t offset, std::span<std::uint8_t> out) const override;

  private:
    std::string path_;
    int file_ = -1;
    std::uint64_t size_ = 0;
};

}  // namespace vaecomp::core
