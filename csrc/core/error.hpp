// The one exception type of the core: a code for programs and one line for people.
#pragma once

#include <stdexcept>
#include <string>

namespace vaecomp::core {

enum class ErrorCode {
    invalid_argument = 1,     // the caller's fault: shapes, ranges, unknown names
    malformed = 2,            // bytes that the format does not allow
    unsupported_version = 3,  // a format version this library does not read
    checksum = 4,             // bytes or decoded values that do not match their checksum
    missing_pack = 5,         // a member's pack is not there, or another one is
    io = 6,                   // a file that cannot be read
    memory_limit = 8,         // more memory would be needed than the caller allows
    internal = 9,             // a defect of the library, or of what a caller gave it to run tasks
};

class Error : public std::runtime_error {
  public:
    Error(ErrorCode code, const std::string& message) : std::runtime_error(message), code_(code) {}
    [[nodiscard]] ErrorCode code() const noexcept { return code_; }

  private:
    ErrorCode code_;
};

}  // namespace vaecomp::core
