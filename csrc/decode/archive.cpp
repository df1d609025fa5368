#include "decode/archive.hpp"

#include <algorithm>
#include <cstring>

#include "core/digest.hpp"
#include "core/endian.hpp"
#include "core/parallel.hpp"

namespace vaecomp {
namespace {

std::string hex(std::span<const std::uint8_t> bytes) {
    constexpr char digits[] = "0123456789abcdef";
    std::string text;
    for (const std::uint8_t byte : bytes) {
        text += digits[byte >> 4];
        text += digits[byte & 15];
    }
    return text;
}

}  // namespace

// A latents section with its decoder, ready to decode any range of chunks.
struct Archive::Group {
    LatentsHeader header;
    std::variant<IntegerDecoder, Float32Decoder> decoder;
    std::variant<std::vector<std::int8_t>, std::vector<float>> latents;
    std::size_t decoder_table_bytes, latent_table_bytes;
    std::vector<std::size_t> tensors;  // indices in the tensor table
    std::vector<std::size_t> starts;   // of those tensors in the flat vector

    void forward_tile(std::size_t first_chunk, std::size_t rows, float* values) const {
        if (const auto* integer = std::get_if<IntegerDecoder>(&decoder)) {
            const auto& z = std::get<std::vector<std::int8_t>>(latents);
            integer->forward_tile(z.data() + first_chunk * header.latent, rows, values);
        } else {
            const auto& z = std::get<std::vector<float>>(latents);
            std::get<Float32Decoder>(decoder).forward_tile(z.data() + first_chunk * header.latent, rows, values);
        }
    }
};

Archive::Archive(Bytes file) : file_(file), index_(read_index(file)), groups_(index_.sections.size()) {}

Archive::~Archive() = default;

Bytes Archive::checked_section(std::size_t section) const {
    const Section& entry = index_.sections[section];
    if (entry.external) {
        throw Error(ErrorCode::missing_section,
                    "section " + std::to_string(section) + " lies in another file: sha256 " + hex(entry.hash));
    }
    const Bytes bytes = index_.bytes_of(entry, file_);
    if (kernels().crc32c(bytes.data(), bytes.size()) != entry.crc) {
        throw Error(ErrorCode::checksum, "section " + std::to_string(section) + " at offset " +
                                             std::to_string(entry.offset) + ": checksum does not match");
    }
    return bytes;
}

ByteReader Archive::section_reader(std::size_t section) const {
    return {checked_section(section), index_.sections[section].offset, "section " + std::to_string(section)};
}

const Archive::Group& Archive::group(std::size_t section, std::size_t threads) const {
    const std::scoped_lock lock(groups_mutex_);
    std::unique_ptr<Group>& slot = groups_[section];
    if (!slot) slot = load_group(section, threads);
    return *slot;
}

std::unique_ptr<Archive::Group> Archive::load_group(std::size_t section, std::size_t threads) const {
    ByteReader reader = section_reader(section);
    const LatentsHeader header = read_latents_header(reader);
    const auto reject = [&](const char* field, const char* problem) {
        throw Error(ErrorCode::malformed, "section " + std::to_string(section) + ": " + field + " at offset " +
                                              std::to_string(index_.sections[section].offset) + ": " + problem);
    };

    std::vector<std::size_t> tensors, starts;
    std::size_t elements = 0;
    for (std::size_t t = 0; t < index_.tensors.size(); ++t) {
        const Tensor& tensor = index_.tensors[t];
        if (tensor.codec != Codec::latent || tensor.section != section) continue;
        tensors.push_back(t);
        starts.push_back(static_cast<std::size_t>(tensor.first));
        elements += tensor.count();
    }
    if (std::uint64_t{header.chunks} * header.chunk_length - header.padding != elements) {
        reject("chunk count", "the chunks do not hold as many elements as the section's tensors");
    }
    if (header.decoder >= index_.sections.size()) reject("decoder section", "there is no such section");

    const auto finish = [&](auto decoder, auto latents, std::size_t decoder_tables, std::size_t latent_tables) {
        if (decoder.latent() != header.latent || decoder.chunk_length() != header.chunk_length) {
            reject("decoder section", "the decoder's inputs or outputs do not fit the chunks");
        }
        if (decoder.multiplications() > most_work * index_.file_bytes / header.chunks) {
            reject("chunk count", "decoding would take more than 2^24 multiplications for each byte of the file");
        }
        return std::make_unique<Group>(Group{header, std::move(decoder), std::move(latents), decoder_tables,
                                             latent_tables, std::move(tensors), std::move(starts)});
    };
    const SectionKind kind = index_.sections[header.decoder].kind;
    if (kind == SectionKind::integer_decoder) {
        auto decoder = read_integer_decoder(section_reader(header.decoder), most_symbols(), threads);
        Int8Latents latents = read_int8_latents(reader, header, most_symbols(), threads);
        return finish(std::move(decoder.decoder), std::move(latents.values), decoder.table_bytes, latents.table_bytes);
    }
    if (kind != SectionKind::float32_decoder) reject("decoder section", "is no decoder");
    std::vector<float> latents = read_float32_latents(reader, header);
    return finish(read_float32_decoder(section_reader(header.decoder)), std::move(latents), 0, 0);
}

void Archive::decode_raw(const Tensor& tensor, std::uint8_t* data) const {
    const Bytes bytes = index_.bytes_of(index_.sections[tensor.section], file_)
                            .subspan(static_cast<std::size_t>(tensor.first), tensor.bytes());
    if (tensor.dtype == DType::boolean) {
        const auto bad = std::find_if(bytes.begin(), bytes.end(), [](std::uint8_t byte) { return byte > 1; });
        if (bad != bytes.end()) {
            const auto at = index_.sections[tensor.section].offset + tensor.first;
            throw Error(ErrorCode::malformed, "section " + std::to_string(tensor.section) + ": bool of tensor '" +
                                                  tensor.name + "' at offset " +
                                                  std::to_string(at + static_cast<std::uint64_t>(bad - bytes.begin())) +
                                                  ": is neither 0 nor 1");
        }
    }
    const std::size_t item = info(tensor.dtype).swap_size;
    if (host_is_little_endian || item == 1) {
        if (!bytes.empty()) std::memcpy(data, bytes.data(), bytes.size());
    } else {
        swap_items(bytes.data(), data, bytes.size() / item, item);
    }
}

void Archive::decode_group(const Group& group, std::span<std::uint8_t* const> data, std::size_t threads) const {
    std::vector<TensorTarget> targets;
    for (const std::size_t t : group.tensors) {
        targets.push_back({data[t], index_.tensors[t].count(), index_.tensors[t].dtype});
    }
    const std::size_t length = group.header.chunk_length, chunks = group.header.chunks;
    // Tiles of chunks in which some wanted tensor lies.
    std::vector<bool> wanted_tile((chunks + rows_a_tile - 1) / rows_a_tile);
    for (std::size_t i = 0; i < targets.size(); ++i) {
        if (targets[i].data == nullptr || targets[i].count == 0) continue;
        const std::size_t first = group.starts[i] / length / rows_a_tile;
        const std::size_t last = (group.starts[i] + targets[i].count - 1) / length / rows_a_tile;
        std::fill(wanted_tile.begin() + static_cast<std::ptrdiff_t>(first),
                  wanted_tile.begin() + static_cast<std::ptrdiff_t>(last + 1), true);
    }
    std::vector<std::size_t> tiles;
    for (std::size_t tile = 0; tile < wanted_tile.size(); ++tile) {
        if (wanted_tile[tile]) tiles.push_back(tile);
    }
    parallel_for(tiles.size(), threads, [&](std::size_t i) {
        const std::size_t first = tiles[i] * rows_a_tile, rows = std::min(rows_a_tile, chunks - first);
        std::vector<float> values(rows * length);
        group.forward_tile(first, rows, values.data());
        scatter(values, first * length, targets, group.starts);
    });
}

void Archive::check_digest(const Tensor& tensor, const std::uint8_t* data, std::size_t threads) const {
    if (tensor_digest(data, tensor.count(), tensor.dtype, threads) != tensor.digest) {
        throw Error(ErrorCode::checksum, "index: digest of tensor '" + tensor.name + "' at offset " +
                                             std::to_string(tensor.digest_offset) +
                                             ": does not match the decoded values");
    }
}

void Archive::decode(std::span<const Destination> destinations, const DecodeOptions& options) const {
    std::vector<bool> used(index_.sections.size());
    std::vector<std::uint8_t*> data(index_.tensors.size());  // by tensor; null where nobody asks
    for (const Destination& destination : destinations) {
        const Tensor& tensor = index_.tensors.at(destination.tensor);
        if (tensor.codec == Codec::alias) throw Error(ErrorCode::invalid_argument, "an alias has no data of its own");
        used[tensor.section] = true;
        data[destination.tensor] = destination.data;
    }
    for (std::size_t s = 0; s < used.size(); ++s) {
        if (!used[s]) continue;
        if (index_.sections[s].kind == SectionKind::raw) {
            static_cast<void>(checked_section(s));
        } else {
            decode_group(group(s, options.threads), data, options.threads);
        }
    }
    for (const Destination& destination : destinations) {
        const Tensor& tensor = index_.tensors[destination.tensor];
        if (tensor.codec == Codec::raw) decode_raw(tensor, destination.data);
        if (options.verify) check_digest(tensor, destination.data, options.threads);
    }
}

void Archive::check_contents(std::size_t section, std::size_t threads) const {
    switch (index_.sections[section].kind) {
        case SectionKind::raw: static_cast<void>(checked_section(section)); break;
        case SectionKind::latents: static_cast<void>(group(section, threads)); break;
        case SectionKind::integer_decoder:
            static_cast<void>(read_integer_decoder(section_reader(section), most_symbols(), threads));
            break;
        case SectionKind::float32_decoder: static_cast<void>(read_float32_decoder(section_reader(section))); break;
    }
}

void Archive::verify(std::size_t threads) const {
    // Also sections that no tensor needs must be what the format says.
    for (std::size_t s = 0; s < index_.sections.size(); ++s) {
        if (!index_.sections[s].external) check_contents(s, threads);
    }
    for (std::size_t t = 0; t < index_.tensors.size(); ++t) {
        const Tensor& tensor = index_.tensors[t];
        if (tensor.codec == Codec::alias) continue;
        std::vector<std::uint8_t> data(tensor.bytes());
        const Destination destination{t, data.data()};
        decode({&destination, 1}, {.verify = true, .threads = threads});
    }
}

Accounting Archive::accounting() const {
    Accounting bytes;
    bytes.container = index_.container_bytes;
    std::vector<bool> decoder_seen(index_.sections.size());
    for (std::size_t s = 0; s < index_.sections.size(); ++s) {
        const Section& section = index_.sections[s];
        const std::uint64_t stored = section.external ? 0 : section.size;
        switch (section.kind) {
            case SectionKind::raw: bytes.passthrough += stored; break;
            case SectionKind::integer_decoder:
            case SectionKind::float32_decoder: bytes.decoder += stored; break;
            case SectionKind::latents: {
                const Group& members = group(s, 0);
                bytes.latents += stored - members.latent_table_bytes;
                bytes.tables += members.latent_table_bytes;
                // A decoder that several groups share is counted once.
                if (!decoder_seen[members.header.decoder]) {
                    decoder_seen[members.header.decoder] = true;
                    bytes.decoder -= members.decoder_table_bytes;
                    bytes.tables += members.decoder_table_bytes;
                }
                break;
            }
        }
    }
    return bytes;
}

std::vector<ChunkSummary> Archive::chunks() const {
    std::vector<ChunkSummary> summaries;
    for (std::size_t s = 0; s < index_.sections.size(); ++s) {
        if (index_.sections[s].kind != SectionKind::latents) continue;
        const LatentsHeader& header = group(s, 0).header;
        summaries.push_back({s, header.chunk_length, header.chunks, header.latent, header.padding});
    }
    return summaries;
}

}  // namespace vaecomp
