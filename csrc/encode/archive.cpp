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

void write_member_tensor(ByteWriter& writer, const Tensor& tensor) {
    writer.fixed(static_cast<std::uint8_t>(tensor.codec));
    if (tensor.codec == Codec::shared) return;
    writer.varint(tensor.section);
    writer.fixed(tensor.digest);
}

void write_metadata(ByteWriter& index, Metadata metadata) {
    index.varint(metadata.size());
    for (const auto& [key, value] : metadata) {
        index.string(key);
        index.string(value);
    }
}

void write_sections(ByteWriter& index, std::span<const NewSection> sections) {
    index.varint(sections.size());
    for (const NewSection& section : sections) {
        index.fixed(static_cast<std::uint8_t>(section.kind));
        index.fixed(std::uint8_t{0});
        index.varint(section.bytes.size());
        index.fixed(crc_of(checked_bytes(section.kind, section.bytes)));
    }
}

// The file, which is read back.
Vector<std::uint8_t> assemble(Bytes index, std::span<const NewSection> sections, const PackIndex* pack) {
    if (index.size() > max_index_bytes) {
        throw Error(ErrorCode::invalid_argument,
                    "the index exceeds 1 GiB; shorten names or metadata, or split the model");
    }
    std::uint64_t file_bytes = header_bytes + index.size();
    for (const NewSection& section : sections) {
        file_bytes = section_begin(section.kind, file_bytes) + section.bytes.size();
    }
    ByteWriter file;
    file.bytes().reserve(static_cast<std::size_t>(file_bytes));
    file.append(magic);
    file.fixed(format_version);
    file.fixed(pack != nullptr ? member_flag : std::uint16_t{0});
    file.fixed(static_cast<std::uint32_t>(index.size()));
    file.fixed(file_bytes);
    file.fixed(crc_of(index));
    file.fixed(crc_of(file.bytes()));
    file.append(index);
    for (const NewSection& section : sections) {
        file.bytes().resize(static_cast<std::size_t>(section_begin(section.kind, file.size())));
        file.append(section.bytes);
    }
    static_cast<void>(read_index(MemorySource(file.bytes()), pack));
    return std::move(file.bytes());
}

// What the reader would refuse is the caller's fault.
template <typename Body>
Vector<std::uint8_t> checked(const Body& body) {
    try {
        return body();
    } catch (const Error& error) {
        if (error.code() == ErrorCode::invalid_argument) throw;
        throw Error(ErrorCode::invalid_argument, std::string("these parts make no valid archive: ") + error.what());
    }
}

}  // namespace

Vector<std::uint8_t> write_archive(Metadata metadata, std::span<const NewSection> sections,
                                   std::span<const Tensor> tensors) {
    return checked([&] {
        ByteWriter index;
        write_metadata(index, metadata);
        write_sections(index, sections);
        index.varint(tensors.size());
        std::string_view previous_name;
        for (const Tensor& tensor : tensors) {
            write_tensor(index, tensor, previous_name);
            previous_name = tensor.name;
        }
        return assemble(index.bytes(), sections, nullptr);
    });
}

Vector<std::uint8_t> write_member(const PackIndex& pack, Metadata metadata, std::span<const NewSection> sections,
                                  std::span<const Tensor> tensors) {
    if (tensors.size() != pack.index.tensors.size()) {
        throw Error(ErrorCode::invalid_argument, "a member has as many tensors as its pack");
    }
    return checked([&] {
        ByteWriter index;
        index.append(pack.hash);
        write_metadata(index, metadata);
        write_sections(index, sections);
        for (std::size_t t = 0; t < tensors.size(); ++t) {
            if (pack.index.tensors[t].codec != Codec::alias) write_member_tensor(index, tensors[t]);
        }
        return assemble(index.bytes(), sections, &pack);
    });
}

}  // namespace vaecomp::core
