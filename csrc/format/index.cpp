#include "format/index.hpp"

#include <algorithm>
#include <limits>
#include <string_view>
#include <unordered_set>

#include "format/ordered.hpp"
#include "kernels/kernels.hpp"

namespace vaecomp::core {
namespace {

constexpr std::size_t max_quoted = 120;  // bytes of a name in a message

struct Header {
    std::uint16_t version;
    bool is_member;
    std::uint64_t file_bytes;
    std::uint32_t index_bytes, index_crc;
};

struct NameHash {
    std::size_t operator()(const String& name) const { return std::hash<std::string_view>()(name); }
};
using Names = std::unordered_set<String, NameHash, std::equal_to<>, Allocator<String>>;

[[noreturn]] void fail_header(const char* field, const std::string& problem) {
    throw Error(ErrorCode::malformed, std::string("header: ") + field + ": " + problem);
}

Header read_header(Bytes start_of_file) {
    const Bytes header = start_of_file.first(std::min(start_of_file.size(), header_bytes));
    ByteReader reader(header, 0, "header");
    const Bytes start = reader.take(magic.size(), "magic");
    if (!std::equal(start.begin(), start.end(), magic.begin())) reader.fail("magic", "this is not a latent archive");
    const auto version = reader.fixed<std::uint16_t>("format version");
    if (version != format_version) {
        throw Error(ErrorCode::unsupported_version,
                    "header: format version at offset 8: this library reads version 1, the file has version " +
                        std::to_string(version) + "; update vaecomp_native");
    }
    const auto flags = reader.fixed<std::uint16_t>("flags");
    const auto index_bytes = reader.fixed<std::uint32_t>("index size");
    const auto file_bytes = reader.fixed<std::uint64_t>("file size");
    const auto index_crc = reader.fixed<std::uint32_t>("index checksum");
    if (reader.fixed<std::uint32_t>("header checksum") != kernels().crc32c(header.data(), header_bytes - 4)) {
        reader.fail("header checksum", "does not match");
    }
    if (flags > member_flag) fail_header("flags at offset 10", "only flag 1 is defined");
    if (index_bytes > max_index_bytes) fail_header("index size at offset 12", "exceeds 2^30");
    return {version, flags == member_flag, file_bytes, index_bytes, index_crc};
}

void read_metadata(ByteReader& reader, Index& index) {
    const std::uint64_t count = reader.varint("metadata count", 0, max_metadata);
    Names keys;
    for (std::uint64_t i = 0; i < count; ++i) {
        String key = reader.string("metadata key");
        if (!keys.insert(key).second) reader.fail("metadata key", "occurs twice");
        String value = reader.string("metadata value");
        index.metadata.emplace_back(std::move(key), std::move(value));
    }
}

bool is_known(SectionKind kind) {
    switch (kind) {
        case SectionKind::raw:
        case SectionKind::latents:
        case SectionKind::integer_decoder:
        case SectionKind::float32_decoder:
        case SectionKind::quantized:
        case SectionKind::fleet:
        case SectionKind::lossless:
        case SectionKind::member:
        case SectionKind::differences: return true;
    }
    return false;
}

// The kind of section in which tensors of a codec lie.
SectionKind home_of(Codec codec) {
    switch (codec) {
        case Codec::latent: return SectionKind::latents;
        case Codec::quantized: return SectionKind::quantized;
        case Codec::lossless: return SectionKind::lossless;
        case Codec::member: return SectionKind::member;
        case Codec::differences: return SectionKind::differences;
        case Codec::raw:
        case Codec::alias:
        case Codec::shared: break;
    }
    return SectionKind::raw;
}

// Packs have a fleet, members their place in it, once, and what is stored as differences beside it.
void check_kind(const ByteReader& reader, const Index& index, SectionKind kind) {
    const bool is_fleet = kind == SectionKind::fleet;
    if (!is_fleet && kind != SectionKind::member && kind != SectionKind::differences) return;
    if (is_fleet == index.pack.has_value()) {
        reader.fail("section kind", is_fleet ? "a member has no fleet of its own" : "this file is a member of no pack");
    }
    if (kind != SectionKind::differences && index.find(kind))
        reader.fail("section kind", "a second section of this kind");
}

void read_sections(ByteReader& reader, Index& index, std::uint64_t begin) {
    const std::uint64_t count = reader.varint("section count", 0, max_sections);
    std::uint64_t end = begin;
    for (std::uint64_t i = 0; i < count; ++i) {
        Section section{};
        const auto kind = reader.fixed<std::uint8_t>("section kind");
        section.kind = static_cast<SectionKind>(kind);
        if (!is_known(section.kind)) reader.fail("section kind", std::to_string(kind) + " is unknown to version 1");
        check_kind(reader, index, section.kind);
        if (reader.fixed<std::uint8_t>("section flags") != 0) reader.fail("section flags", "must be 0");
        section.size = reader.varint("section size", 0, std::numeric_limits<std::int64_t>::max());
        section.crc = reader.fixed<std::uint32_t>("section checksum");
        section.offset = section_begin(section.kind, end);
        if (section.offset > index.file_bytes || section.size > index.file_bytes - section.offset) {
            reader.fail("section size", "section " + std::to_string(i) + " reaches beyond the end of the file");
        }
        end = section.offset + section.size;
        index.sections.push_back(std::move(section));
    }
    if (end != index.file_bytes) reader.fail("section sizes", "bytes follow the last section");
}

// The section of a tensor with data of its own, and its digest.
void read_home(ByteReader& reader, const Index& index, Tensor& tensor) {
    tensor.section = static_cast<std::size_t>(reader.varint("tensor section"));
    if (tensor.section >= index.sections.size() || index.sections[tensor.section].kind != home_of(tensor.codec)) {
        reader.fail("tensor section", "is no section that fits the tensor's codec");
    }
    const bool lossless = tensor.codec == Codec::raw || tensor.codec == Codec::lossless;
    if (!lossless && !is_real_float(tensor.dtype)) {
        reader.fail("tensor dtype", "only tensors of a real float dtype are made from floats");
    }
    if (tensor.codec == Codec::differences && !is_ordered(tensor.dtype)) {
        reader.fail("tensor dtype", "only float16, bfloat16, float32 and float64 have differences");
    }
    tensor.digest_offset = reader.offset();
    tensor.digest = reader.fixed<std::uint64_t>("tensor digest");
}

// Names may have `name_bytes` more.
Tensor read_tensor(ByteReader& reader, const Index& index, std::uint64_t name_bytes) {
    Tensor tensor{};
    const std::string_view previous = index.tensors.empty() ? "" : std::string_view(index.tensors.back().name);
    tensor.name = reader.front_coded("tensor name", previous, name_bytes);
    const auto codec = reader.fixed<std::uint8_t>("tensor codec");
    if (codec > static_cast<std::uint8_t>(Codec::lossless)) {
        reader.fail("tensor codec", std::to_string(codec) + " is unknown to version 1");
    }
    tensor.codec = static_cast<Codec>(codec);
    if (tensor.codec == Codec::alias) {
        const auto target = static_cast<std::size_t>(reader.varint("alias target"));
        if (target >= index.tensors.size() || index.tensors[target].codec == Codec::alias) {
            reader.fail("alias target", "is no earlier tensor with data of its own");
        }
        String name = std::move(tensor.name);
        tensor = index.tensors[target];
        tensor.name = std::move(name);
        tensor.codec = Codec::alias;
        tensor.section = target;
        return tensor;
    }
    const auto dtype = reader.fixed<std::uint8_t>("tensor dtype");
    if (dtype >= dtype_table.size()) reader.fail("tensor dtype", std::to_string(dtype) + " is unknown to version 1");
    tensor.dtype = static_cast<DType>(dtype);
    const auto rank = reader.fixed<std::uint8_t>("tensor rank");
    if (rank > max_rank) reader.fail("tensor rank", "exceeds 32");
    std::uint64_t elements = 1, nonzero = 1;
    constexpr auto most = static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max()) / 16;
    for (unsigned d = 0; d < rank; ++d) {
        const std::uint64_t length = reader.varint("tensor shape", 0, most);
        // Also with a zero among the lengths the others must have a sane product.
        if (length > 0 && nonzero > most / length) reader.fail("tensor shape", "has too many elements");
        if (length > 0) nonzero *= length;
        elements *= length;
        tensor.shape.push_back(static_cast<std::size_t>(length));
    }
    if (elements * info(tensor.dtype).size > max_expansion * index.counted_bytes()) {
        reader.fail("tensor shape", "claims more than 2^17 times the size of the file");
    }
    read_home(reader, index, tensor);
    return tensor;
}

// A member's tensor is one of the pack's but for its values.
Tensor read_member_tensor(ByteReader& reader, const Index& index, const Tensor& own) {
    Tensor tensor = own;
    if (own.codec == Codec::alias) return tensor;
    const auto codec = reader.fixed<std::uint8_t>("tensor codec");
    tensor.codec = static_cast<Codec>(codec);
    if (codec > static_cast<std::uint8_t>(Codec::differences) || tensor.codec == Codec::alias) {
        reader.fail("tensor codec", std::to_string(codec) + " is none of a member's");
    }
    if (tensor.codec != Codec::shared) read_home(reader, index, tensor);
    return tensor;
}

// Gives tensors their places within their sections.
class Placement {
  public:
    Placement(const ByteReader& reader, Index& index) : reader_(reader), index_(index), used_(index.sections.size()) {}

    void add(Tensor tensor) {
        if (tensor.codec != Codec::alias && tensor.codec != Codec::shared) place(tensor);
        index_.tensors.push_back(std::move(tensor));
    }

    // Raw sections have nothing but their tensors.
    void finish() const {
        for (std::size_t s = 0; s < used_.size(); ++s) {
            const Section& section = index_.sections[s];
            if (section.kind != SectionKind::raw || used_[s] == section.size) continue;
            reader_.fail("tensor table", "section " + std::to_string(s) + " has " + std::to_string(section.size) +
                                             " bytes, its raw tensors " + std::to_string(used_[s]));
        }
    }

  private:
    void place(Tensor& tensor) {
        tensor.place = index_.sections[tensor.section].tensors.size();
        index_.sections[tensor.section].tensors.push_back(index_.tensors.size());
        tensor.first = used_[tensor.section];
        used_[tensor.section] += tensor.codec == Codec::raw ? tensor.bytes() : tensor.count();
        decoded_ += tensor.bytes();
        if (decoded_ > max_expansion * index_.counted_bytes()) {
            reader_.fail("tensors", "claim together more than 2^17 times the size of the file");
        }
    }

    const ByteReader& reader_;
    Index& index_;
    Vector<std::uint64_t> used_;  // by section
    std::uint64_t decoded_ = 0;
};

void read_tensors(ByteReader& reader, Index& index) {
    const std::uint64_t count = reader.varint("tensor count", 0, max_tensors);
    Names names;
    Placement placement(reader, index);
    std::uint64_t name_bytes = max_name_bytes;
    for (std::uint64_t i = 0; i < count; ++i) {
        Tensor tensor = read_tensor(reader, index, name_bytes);
        name_bytes -= tensor.name.size();
        if (!names.insert(tensor.name).second) reader.fail("tensor name", tensor.quoted_name() + " occurs twice");
        placement.add(std::move(tensor));
    }
    placement.finish();
}

void read_member_tensors(ByteReader& reader, Index& index, const Index& pack) {
    Placement placement(reader, index);
    for (const Tensor& own : pack.tensors) placement.add(read_member_tensor(reader, index, own));
    placement.finish();
}

void read_pack_hash(ByteReader& reader, Index& index, const PackIndex* pack) {
    const Bytes bytes = reader.take(sha256_bytes, "pack");
    std::copy(bytes.begin(), bytes.end(), index.pack.emplace().begin());
    if (pack != nullptr && pack->hash == *index.pack) {
        if (!pack->index.find(SectionKind::fleet)) reader.fail("pack", "the file that it names has no fleet section");
        index.pack_bytes = pack->index.file_bytes;
        return;
    }
    throw Error(ErrorCode::missing_pack,
                "index: pack at offset 32: this file is a member of the pack with sha256 " + hex(*index.pack) +
                    (pack == nullptr ? "; open it with that pack" : ", the one given has sha256 " + hex(pack->hash)));
}

// Bytes between the parts of the file must be zero; counts them.
std::uint64_t check_padding(const Source& file, const Index& index, std::uint64_t begin) {
    std::uint64_t padding = 0, end = begin;
    for (const Section& section : index.sections) {
        const LoadedBytes loaded(file, end, section.offset - end);
        const auto bytes = loaded.bytes();
        const auto bad = std::find_if(bytes.begin(), bytes.end(), [](std::uint8_t byte) { return byte != 0; });
        if (bad != bytes.end()) {
            const std::uint64_t at = end + static_cast<std::uint64_t>(bad - bytes.begin());
            throw Error(ErrorCode::malformed, "file: padding at offset " + std::to_string(at) + ": must be zero");
        }
        padding += bytes.size();
        end = section.end();
    }
    return padding;
}

}  // namespace

std::uint64_t read_file_bytes(Bytes header) { return read_header(header).file_bytes; }

std::string Tensor::quoted_name() const {
    std::string text(1, '\'');
    // Messages are one line, and C's end at a zero.
    const std::size_t shown = fitting(name, max_quoted);
    for (const char byte : std::string_view(name).substr(0, shown)) {
        text += static_cast<unsigned char>(byte) < ' ' || byte == 0x7f ? '?' : byte;
    }
    return text + (shown < name.size() ? "...'" : "'");
}

std::optional<std::size_t> Index::find(SectionKind kind) const {
    const auto found =
        std::find_if(sections.begin(), sections.end(), [&](const Section& section) { return section.kind == kind; });
    if (found == sections.end()) return std::nullopt;
    return static_cast<std::size_t>(found - sections.begin());
}

Index read_index(const Source& file, const PackIndex* pack) {
    const LoadedBytes start(file, 0, std::min(file.size(), first_request));
    const Header header = read_header(start.bytes());
    if (header.file_bytes != file.size()) {
        fail_header("file size at offset 16", "the header says " + std::to_string(header.file_bytes) +
                                                  " bytes, there are " + std::to_string(file.size()));
    }
    const std::uint64_t sections_begin = header_bytes + std::uint64_t{header.index_bytes};
    if (sections_begin > file.size()) {
        fail_header("index size at offset 12", "the file ends inside the index");
    }
    const LoadedBytes loaded = start.bytes().size() >= sections_begin
                                   ? LoadedBytes(MemorySource(start.bytes()), header_bytes, header.index_bytes)
                                   : LoadedBytes(file, header_bytes, header.index_bytes);
    const Bytes bytes = loaded.bytes();
    if (kernels().crc32c(bytes.data(), bytes.size()) != header.index_crc) {
        throw Error(ErrorCode::checksum, "header: index checksum at offset 24: does not match");
    }
    Index index{};
    index.version = header.version;
    index.file_bytes = file.size();
    ByteReader reader(bytes, header_bytes, "index");
    if (header.is_member) read_pack_hash(reader, index, pack);
    read_metadata(reader, index);
    read_sections(reader, index, sections_begin);
    if (header.is_member) {
        read_member_tensors(reader, index, pack->index);
    } else {
        read_tensors(reader, index);
    }
    reader.expect_end("end");
    index.container_bytes = sections_begin + check_padding(file, index, sections_begin);
    return index;
}

}  // namespace vaecomp::core
