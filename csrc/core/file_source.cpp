#include "core/file_source.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace vaecomp {
namespace {

[[noreturn]] void fail(const std::string& path, const std::string& problem) {
    throw Error(ErrorCode::io, "'" + path + "': " + problem);
}

}  // namespace

FileSource::FileSource(const std::string& path) : path_(path), file_(::open(path.c_str(), O_RDONLY | O_CLOEXEC)) {
    if (file_ < 0) fail(path_, std::strerror(errno));
    struct stat status {};
    const bool known = ::fstat(file_, &status) == 0;
    if (known && S_ISREG(status.st_mode)) {
        size_ = static_cast<std::uint64_t>(status.st_size);
        return;
    }
    const std::string problem = known ? "is no regular file; read it to memory first" : std::strerror(errno);
    ::close(file_);
    fail(path_, problem);
}

FileSource::~FileSource() { ::close(file_); }

void FileSource::read(std::uint64_t offset, std::span<std::uint8_t> out) const {
    while (!out.empty()) {
        const ssize_t count = ::pread(file_, out.data(), out.size(), static_cast<off_t>(offset));
        if (count < 0 && errno == EINTR) continue;
        if (count < 0) fail(path_, std::strerror(errno));
        if (count == 0)
            fail(path_, "ends at offset " + std::to_string(offset) + "; it has changed since it was opened");
        offset += static_cast<std::uint64_t>(count);
        out = out.subspan(static_cast<std::size_t>(count));
    }
}

}  // namespace vaecomp
