#include "core/file_source.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace vaecomp::core {
namespace {

[[noreturn]] void fail(const std::string& path, const std::string& problem) {
    throw Error(ErrorCode::io, "'" + path + "': " + problem);
}

}  // namespace

FileSource::FileSource(const std::string& path) : path_(path) {
    struct stat status {};
    if (::stat(path_.c_str(), &status) != 0) fail(path_, std::strerror(errno));
    // Opening a pipe would already take something from it.
    if (!S_ISREG(status.st_mode)) fail(path_, "is no regular file; read it to memory first");
    file_ = ::open(path_.c_str(), O_RDONLY | O_CLOEXEC);
    if (file_ < 0) fail(path_, std::strerror(errno));
    if (::fstat(file_, &status) != 0) {
        const int problem = errno;
        ::close(file_);
        fail(path_, std::strerror(problem));
    }
    size_ = static_cast<std::uint64_t>(status.st_size);
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

}  // namespace vaecomp::core
