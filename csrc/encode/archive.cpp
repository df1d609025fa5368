#include "encode/archive.hpp"

#include <algorithm>

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

void write_sections(ByteWriter& index, std::span<const SectionEntry> sections) {
    index.varint(sections.size());
    for (const SectionEntry& section : sections) {
        index.fixed(static_cast<std::uint8_t>(section.kind));
        index.fixed(std::uint8_t{0});
        index.varint(section.size);
        index.fixed(section.crc);
    }
}

// A file whose sections are not there yet: zeros stand for them.
class FrontSource : public Source {
  public:
    explicit FrontSource(const Front& front) : front_(front) {}

    [[nodiscard]] std::uint64_t size() const override { return front_.file_bytes; }
    [[nodiscard]] std::size_t request_bytes() const override { return 1; }
    void read(std::uint64_t offset, std::span<std::uint8_t> out) const override {
        const std::uint64_t first = std::min<std::uint64_t>(offset, front_.bytes.size());
        const std::uint64_t count = std::min<std::uint64_t>(out.size(), front_.bytes.size() - first);
        std::copy_n(front_.bytes.begin() + static_cast<std::ptrdiff_t>(first), count, out.begin());
        std::fill(out.begin() + static_cast<std::ptrdiff_t>(count), out.end(), std::uint8_t{0});
    }

  private:
    const Front& front_;
};

// Header and index, which are read back.
Front front_of(Bytes index, std::span<const SectionEntry> sections, const PackIndex* pack) {
    if (index.size() > max_index_bytes) {
        throw Error(ErrorCode::invalid_argument,
                    "the index exceeds 1 GiB; shorten names or metadata, or split the model");
    }
    Front front{{}, {}, header_bytes + index.size()};
    for (const SectionEntry& section : sections) {
        front.begins.push_back(section_begin(section.kind, front.file_bytes));
        front.file_bytes = front.begins.back() + section.size;
    }
    ByteWriter header;
    header.append(magic);
    header.fixed(format_version);
    header.fixed(pack != nullptr ? member_flag : std::uint16_t{0});
    header.fixed(static_cast<std::uint32_t>(index.size()));
    header.fixed(front.file_bytes);
    header.fixed(crc_of(index));
    header.fixed(crc_of(header.bytes()));
    header.append(index);
    front.bytes = std::move(header.bytes());
    static_cast<void>(read_index(FrontSource(front), pack));
    return front;
}

Vector<SectionEntry> entries_of(std::span<const NewSection> sections) {
    Vector<SectionEntry> entries;
    for (const NewSection& section : sections) entries.push_back(entry_of(section));
    return entries;
}

Vector<std::uint8_t> assemble(const Front& front, std::span<const NewSection> sections) {
    Vector<std::uint8_t> file(static_cast<std::size_t>(front.file_bytes));
    std::copy(front.bytes.begin(), front.bytes.end(), file.begin());
    for (std::size_t s = 0; s < sections.size(); ++s) {
        const Bytes bytes = sections[s].bytes;
        std::copy(bytes.begin(), bytes.end(), file.begin() + static_cast<std::ptrdiff_t>(front.begins[s]));
    }
    return file;
}

// What the reader would refuse is the caller's fault.
template <typename Body>
auto checked(const Body& body) {
    try {
        return body();
    } catch (const Error& error) {
        if (error.code() == ErrorCode::invalid_argument) throw;
        throw Error(ErrorCode::invalid_argument, std::string("these parts make no valid archive: ") + error.what());
    }
}

}  // namespace

SectionEntry entry_of(const NewSection& section) {
    return {section.kind, section.bytes.size(), crc_of(checked_bytes(section.kind, section.bytes))};
}

Front write_front(Metadata metadata, std::span<const SectionEntry> sections, std::span<const Tensor> tensors) {
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
        return front_of(index.bytes(), sections, nullptr);
    });
}

Vector<std::uint8_t> write_archive(Metadata metadata, std::span<const NewSection> sections,
                                   std::span<const Tensor> tensors) {
    const Vector<SectionEntry> entries = checked([&] { return entries_of(sections); });
    return assemble(write_front(metadata, entries, tensors), sections);
}

Vector<std::uint8_t> write_member(const PackIndex& pack, Metadata metadata, std::span<const NewSection> sections,
                                  std::span<const Tensor> tensors) {
    if (tensors.size() != pack.index.tensors.size()) {
        throw Error(ErrorCode::invalid_argument, "a member has as many tensors as its pack");
    }
    const Front front = checked([&] {
        const Vector<SectionEntry> entries = entries_of(sections);
        ByteWriter index;
        index.append(pack.hash);
        write_metadata(index, metadata);
        write_sections(index, entries);
        for (std::size_t t = 0; t < tensors.size(); ++t) {
            if (pack.index.tensors[t].codec != Codec::alias) write_member_tensor(index, tensors[t]);
        }
        return front_of(index.bytes(), entries, &pack);
    });
    return assemble(front, sections);
}

}  // namespace vaecomp::core
