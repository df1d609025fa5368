#include "encode/archive.hpp"

#include "encode/byte_writer.hpp"
#include "format/head.hpp"
#include "kernels/kernels.hpp"

namespace vaecomp::core {
namespace {

void write_tensor(ByteWriter& writer, const Tensor& tensor, std::string_view previous_name) {
    writer.front_coded(tensor.name, previous_name);
    writer.fixed(static_cast<std::uint8_t>(tensor.codec));
    if (tensor.codec != Codec::alias) {
        writer.fixed(static_cast<std::uint8_t>(tensor.dtype));
        writer.fixed(static_cast<std::uint8_t>(tensor.shape.size()));
        for (const std::size_t length : tensor.shape) writer.varint(length);
    }
    writer.varint(tensor.section);
    if (tensor.codec != Codec::alias) writer.fixed(tensor.digest);
}

std::uint32_t crc_of(Bytes bytes) { return kernels().crc32c(bytes.data(), bytes.size()); }

Vector<std::uint8_t> assemble(std::span<const std::pair<std::string, std::string>> metadata,
                              std::span<const NewSection> sections, std::span<const Tensor> tensors) {
    ByteWriter index;
    index.varint(metadata.size());
    for (const auto& [key, value] : metadata) {
        index.string(key);
        index.string(value);
    }
    index.varint(sections.size());
    for (const NewSection& section : sections) {
        index.fixed(static_cast<std::uint8_t>(section.kind));
        index.fixed(std::uint8_t{0});
        index.varint(section.bytes.size());
        index.fixed(crc_of(checked_bytes(section.kind, section.bytes)));
    }
    index.varint(tensors.size());
    std::string_view previous_name;
    for (const Tensor& tensor : tensors) {
        write_tensor(index, tensor, previous_name);
        previous_name = tensor.name;
    }
    if (index.size() > most_index_bytes) {
        throw Error(ErrorCode::invalid_argument,
                    "the index exceeds 64 MiB; shorten names or metadata, or split the model");
    }
    std::uint64_t file_bytes = header_bytes + index.size();
    for (const NewSection& section : sections) {
        file_bytes = section_begin(section.kind, file_bytes) + section.bytes.size();
    }

    ByteWriter file;
    file.bytes().reserve(static_cast<std::size_t>(file_bytes));
    file.append(magic);
    file.fixed(format_version);
    file.fixed(std::uint16_t{0});
    file.fixed(static_cast<std::uint32_t>(index.size()));
    file.fixed(file_bytes);
    file.fixed(crc_of(index.bytes()));
    file.fixed(crc_of(file.bytes()));
    file.append(index.bytes());
    for (const NewSection& section : sections) {
        file.bytes().resize(static_cast<std::size_t>(section_begin(section.kind, file.size())));
        file.append(section.bytes);
    }
    static_cast<void>(read_index(MemorySource(file.bytes())));
    return std::move(file.bytes());
}

}  // namespace

Vector<std::uint8_t> write_archive(std::span<const std::pair<std::string, std::string>> metadata,
                                   std::span<const NewSection> sections, std::span<const Tensor> tensors) {
    try {
        return assemble(metadata, sections, tensors);
    } catch (const Error& error) {
        if (error.code() == ErrorCode::invalid_argument) throw;
        throw Error(ErrorCode::invalid_argument, std::string("these parts make no valid archive: ") + error.what());
    }
}

}  // namespace vaecomp::core
