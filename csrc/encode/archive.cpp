#include "encode/archive.hpp"

#include <algorithm>
#include <cstring>

#include "core/parallel.hpp"
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

// Copies are shared by threads in pieces of so many bytes.
constexpr std::size_t copied_bytes = std::size_t{1} << 22;

// The file, which is read back.
void assemble(Bytes index, std::span<const NewSection> sections, const PackIndex* pack, std::size_t threads,
              Place place) {
    if (index.size() > max_index_bytes) {
        throw Error(ErrorCode::invalid_argument,
                    "the index exceeds 1 GiB; shorten names or metadata, or split the model");
    }
    std::uint64_t file_bytes = header_bytes + index.size();
    for (const NewSection& section : sections) {
        file_bytes = section_begin(section.kind, file_bytes) + section.bytes.size();
    }
    ByteWriter start;
    start.append(magic);
    start.fixed(format_version);
    start.fixed(pack != nullptr ? member_flag : std::uint16_t{0});
    start.fixed(static_cast<std::uint32_t>(index.size()));
    start.fixed(file_bytes);
    start.fixed(crc_of(index));
    start.fixed(crc_of(start.bytes()));
    start.append(index);
    std::uint8_t* const file = place(static_cast<std::size_t>(file_bytes));
    std::uint8_t* end = std::copy(start.bytes().begin(), start.bytes().end(), file);
    for (const auto& [kind, bytes] : sections) {
        std::uint8_t* const begin = file + section_begin(kind, static_cast<std::uint64_t>(end - file));
        std::fill(end, begin, 0);
        parallel_ranges(bytes.size(), copied_bytes, threads, [&](std::size_t from, std::size_t to) {
            std::memcpy(begin + from, bytes.data() + from, to - from);
        });
        end = begin + bytes.size();
    }
    static_cast<void>(read_index(MemorySource({file, end}), pack));
}

// What the reader would refuse is the caller's fault.
template <typename Body>
void checked(const Body& body) {
    try {
        body();
    } catch (const Error& error) {
        if (error.code() == ErrorCode::invalid_argument) throw;
        throw Error(ErrorCode::invalid_argument, std::string("these parts make no valid archive: ") + error.what());
    }
}

}  // namespace

void write_archive(Metadata metadata, std::span<const NewSection> sections, std::span<const Tensor> tensors,
                   std::size_t threads, Place place) {
    checked([&] {
        ByteWriter index;
        write_metadata(index, metadata);
        write_sections(index, sections);
        index.varint(tensors.size());
        std::string_view previous_name;
        for (const Tensor& tensor : tensors) {
            write_tensor(index, tensor, previous_name);
            previous_name = tensor.name;
        }
        assemble(index.bytes(), sections, nullptr, threads, place);
    });
}

Vector<std::uint8_t> write_archive(Metadata metadata, std::span<const NewSection> sections,
                                   std::span<const Tensor> tensors) {
    return in_vector([&](Place place) { write_archive(metadata, sections, tensors, 0, place); });
}

Vector<std::uint8_t> write_member(const PackIndex& pack, Metadata metadata, std::span<const NewSection> sections,
                                  std::span<const Tensor> tensors) {
    if (tensors.size() != pack.index.tensors.size()) {
        throw Error(ErrorCode::invalid_argument, "a member has as many tensors as its pack");
    }
    ByteWriter index;
    index.append(pack.hash);
    return in_vector([&](Place place) {
        checked([&] {
            write_metadata(index, metadata);
            write_sections(index, sections);
            for (std::size_t t = 0; t < tensors.size(); ++t) {
                if (pack.index.tensors[t].codec != Codec::alias) write_member_tensor(index, tensors[t]);
            }
            assemble(index.bytes(), sections, &pack, 0, place);
        });
    });
}

}  // namespace vaecomp::core
