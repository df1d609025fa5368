#include "decode/section.hpp"

#include <algorithm>

#include "decode/archive.hpp"
#include "decode/kinds.hpp"
#include "format/head.hpp"
#include "kernels/crc32c/checksum.hpp"

namespace vaecomp::core {

const Index& OpenSection::index() const { return archive_.index(); }
const Source& OpenSection::file() const { return archive_.file(); }
const Context& OpenSection::context() const { return archive_.context(); }

void OpenSection::decode(std::span<const TensorTarget>, std::size_t, Written) const {}

Extent OpenSection::elements(const TensorTarget& target) const {
    return {target.start - static_cast<std::size_t>(tensor(target.place).first), target.count};
}

CheckedSection OpenSection::read(std::size_t threads) const {
    const Section& own = entry();
    const std::string name = "section " + std::to_string(number_);
    std::uint64_t size = has_head(own.kind) ? std::min(own.size, first_request) : own.size;
    LoadedBytes loaded(file(), own.offset, size);
    ByteReader reader(loaded.bytes(), own.offset, name);
    if (has_head(own.kind)) {
        const std::uint64_t head_bytes = read_head_bytes(reader, own.size);
        const std::uint64_t size_bytes = reader.offset() - own.offset;
        if (size_bytes + head_bytes > size) loaded = LoadedBytes(file(), own.offset, size_bytes + head_bytes);
        size = size_bytes + head_bytes;
        reader = ByteReader(loaded.bytes().first(static_cast<std::size_t>(size)), own.offset, name);
        reader.take(size_bytes, "head's size");
    }
    if (checksum(MemorySource(loaded.bytes()), 0, size, threads) != own.crc) fail_checksum();
    return {std::move(loaded), std::move(reader)};
}

void OpenSection::reject(const char* field, const std::string& problem) const {
    throw Error(ErrorCode::malformed, "section " + std::to_string(number_) + ": " + field + " at offset " +
                                          std::to_string(entry().offset) + ": " + problem);
}

void OpenSection::fail_checksum() const {
    throw Error(ErrorCode::checksum, "section " + std::to_string(number_) + " at offset " +
                                         std::to_string(entry().offset) + ": checksum does not match");
}

void OpenSection::located(FunctionRef<void()> body, const Tensor* tensor) const {
    try {
        body();
    } catch (const Error& error) {
        const std::string within = tensor == nullptr ? "" : "tensor " + tensor->quoted_name() + ": ";
        throw Error(error.code(), "section " + std::to_string(number_) + ": " + within + error.what());
    }
}

std::unique_ptr<OpenSection> open_section(const Archive& archive, std::size_t number) {
    switch (archive.index().sections[number].kind) {
        case SectionKind::raw: return open_raw(archive, number);
        case SectionKind::latents: return open_latents(archive, number);
        case SectionKind::integer_decoder: return open_integer_decoder(archive, number);
        case SectionKind::float32_decoder: return open_float32_decoder(archive, number);
        case SectionKind::quantized: return open_quantized(archive, number);
        case SectionKind::fleet: return open_fleet(archive, number);
        case SectionKind::lossless: return open_lossless(archive, number);
        case SectionKind::member: return open_member(archive, number);
        case SectionKind::differences: break;
    }
    return open_differences(archive, number);
}

}  // namespace vaecomp::core
