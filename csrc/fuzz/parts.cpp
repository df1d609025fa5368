#include "fuzz/parts.hpp"

#include "abi/memory.hpp"
#include "core/digest.hpp"
#include "decode/archive.hpp"
#include "encode/byte_writer.hpp"
#include "format/head.hpp"
#include "fuzz/limits.hpp"
#include "fuzz/seal_blocks.hpp"
#include "kernels/kernels.hpp"

namespace vaecomp::core::fuzz {
namespace {

std::uint32_t crc_of(Bytes bytes) { return kernels().crc32c(bytes.data(), bytes.size()); }

Vector<std::uint8_t> copy(Bytes bytes) { return {bytes.begin(), bytes.end()}; }

// The index of a file, or nothing if the file is shorter.
Bytes index_of(Bytes file) {
    if (file.size() < header_bytes) return {};
    const auto size = load_le<std::uint32_t>(file.data() + 12);
    return size > file.size() - header_bytes ? Bytes{} : file.subspan(header_bytes, size);
}

bool is_member(Bytes file) {
    return file.size() >= header_bytes && load_le<std::uint16_t>(file.data() + 10) == member_flag;
}

SectionPart take_section(ByteReader& index, Bytes file, std::uint64_t& end) {
    SectionPart part{};
    part.kind = static_cast<SectionKind>(index.fixed<std::uint8_t>(""));
    part.flags = index.fixed<std::uint8_t>("");
    const std::uint64_t size = index.varint("");
    index.take(4, "");
    ByteReader reader(file, 0, "file");
    reader.take(section_begin(part.kind, end), "");
    const Bytes bytes = reader.take(size, "");
    end = reader.offset();
    ByteReader section(bytes, 0, "section");
    const std::uint64_t head_bytes = has_head(part.kind) ? read_head_bytes(section, size) : size;
    part.head = copy(section.take(head_bytes, ""));
    part.blocks = copy(section.take(section.remaining(), ""));
    return part;
}

Vector<std::uint8_t> join(const SectionPart& part) {
    ByteWriter section;
    if (has_head(part.kind)) section.varint(part.head.size());
    section.append(part.head);
    section.append(part.blocks);
    return std::move(section.bytes());
}

// The file with all checksums but those of blocks.
Vector<std::uint8_t> assemble(const Parts& parts) {
    ByteWriter index, content;
    index.append(parts.pack);
    index.append(parts.metadata);
    index.varint(parts.sections.size());
    for (const SectionPart& part : parts.sections) {
        const Vector<std::uint8_t> bytes = join(part);
        index.fixed(static_cast<std::uint8_t>(part.kind));
        index.fixed(part.flags);
        index.varint(bytes.size());
        index.fixed(crc_of(Bytes(bytes).first(bytes.size() - (has_head(part.kind) ? part.blocks.size() : 0))));
    }
    index.append(parts.tensors);
    ByteWriter file;
    file.append(magic);
    file.fixed(format_version);
    file.fixed(parts.pack.empty() ? std::uint16_t{0} : member_flag);
    file.fixed(static_cast<std::uint32_t>(index.size()));
    file.fixed(std::uint64_t{0});
    file.fixed(std::uint64_t{0});  // the checksums
    file.append(index.bytes());
    for (const SectionPart& part : parts.sections) {
        file.bytes().resize(static_cast<std::size_t>(section_begin(part.kind, file.size())));
        file.append(join(part));
    }
    store_le(file.bytes().data() + 16, std::uint64_t{file.size()});
    seal_index(file.bytes());
    return std::move(file.bytes());
}

}  // namespace

std::optional<Parts> take_apart(Bytes file) {
    try {
        Parts parts;
        const Bytes bytes = index_of(file);
        ByteReader index(bytes, 0, "index");
        if (is_member(file)) parts.pack = copy(index.take(sha256_bytes, ""));
        for (std::uint64_t strings = 2 * index.varint("", 0, max_metadata); strings > 0; --strings) {
            index.take(index.varint(""), "");
        }
        parts.metadata = copy(bytes.first(static_cast<std::size_t>(index.offset())).subspan(parts.pack.size()));
        std::uint64_t end = header_bytes + bytes.size();
        for (std::uint64_t count = index.varint("", 0, max_sections); count > 0; --count) {
            parts.sections.push_back(take_section(index, file, end));
        }
        parts.tensors = copy(index.take(index.remaining(), ""));
        return parts;
    } catch (const Error&) {
        return std::nullopt;
    }
}

Vector<std::uint8_t> put_together(const Parts& parts, const Archive* pack) {
    Vector<std::uint8_t> file = assemble(parts);
    try {
        const MemorySource source(file);
        const Archive archive(source, pack);
        const Index& index = archive.index();
        // Changed metadata may take in what was meant to follow them.
        if (index.sections.size() != parts.sections.size()) return file;
        Parts sealed = parts;
        for (std::size_t s = 0; s < sealed.sections.size(); ++s) seal_blocks(index, s, sealed.sections[s]);
        return assemble(sealed);
    } catch (const Error&) {
        return file;  // nobody will read its blocks
    }
}

void seal_index(Vector<std::uint8_t>& file) {
    if (file.size() < header_bytes) return;
    store_le(file.data() + 24, crc_of(index_of(file)));
    store_le(file.data() + 28, crc_of(Bytes(file).first(28)));
}

void name_pack(Vector<std::uint8_t>& member, const Sha256& hash) {
    if (!is_member(member) || member.size() < header_bytes + hash.size()) return;
    std::copy(hash.begin(), hash.end(), member.begin() + header_bytes);
    seal_index(member);
}

void seal_digests(Vector<std::uint8_t>& file, const Archive* pack) {
    try {
        ArchiveMemory memory({}, max_memory);
        const ContextScope scope({&memory, nullptr, false});
        const MemorySource source(file);
        const Archive archive(source, pack);
        if (!is_quick(archive) || (pack != nullptr && !is_quick(*pack))) return;
        for (std::size_t t = 0; t < archive.index().tensors.size(); ++t) {
            const Tensor& tensor = archive.index().tensors[t];
            if (tensor.codec == Codec::alias || tensor.codec == Codec::shared) continue;
            Vector<std::uint8_t> data(tensor.bytes());
            const Destination whole{t, data.data()};
            archive.decode({&whole, 1}, {.verify = false, .threads = 1});
            store_le(file.data() + tensor.digest_offset, tensor_digest({data.data(), tensor.count(), tensor.dtype}, 1));
        }
    } catch (const Error&) {
    } catch (const std::bad_alloc&) {
    }
    seal_index(file);
}

}  // namespace vaecomp::core::fuzz
