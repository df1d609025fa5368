#include "decode/archive.hpp"

#include <algorithm>
#include <cstring>
#include <limits>
#include <numeric>
#include <optional>
#include <string>

#include "core/digest.hpp"
#include "core/endian.hpp"
#include "core/parallel.hpp"
#include "format/head.hpp"
#include "kernels/crc32c/checksum.hpp"
#include "kernels/kernels.hpp"

namespace vaecomp::core {
namespace {

// What `verify` decodes at a time: neighbours share blocks and tiles.
constexpr std::size_t verified_bytes = std::size_t{1} << 24;
// Raw bytes that a task copies, and bytes of which a hash is taken at a time.
constexpr std::size_t raw_grain = std::size_t{1} << 20;
constexpr std::size_t no_decoder = std::numeric_limits<std::size_t>::max();

Index index_of(const Source& file, const Archive* pack) {
    if (pack == nullptr) return read_index(file, nullptr);
    const PackIndex of_pack{pack->index(), pack->hash()};
    return read_index(file, &of_pack);
}

}  // namespace

Archive::Archive(const Source& file, const Archive* pack)
    : file_(file),
      pack_(pack),
      index_(index_of(file, pack)),
      groups_(index_.sections.size()),
      quantized_(index_.sections.size()),
      lossless_(index_.sections.size()),
      differences_(index_.sections.size()),
      members_(index_.sections.size()),
      fleets_(index_.sections.size()),
      bases_(index_.tensors.size()) {}

const Sha256& Archive::hash() const {
    std::call_once(hashed_, [&] {
        Sha256Hasher hasher;
        for (std::uint64_t at = 0; at < file_.size(); at += raw_grain) {
            const LoadedBytes piece(file_, at, std::min<std::uint64_t>(raw_grain, file_.size() - at));
            hasher.add(piece.bytes());
        }
        hash_ = hasher.finish();
    });
    return hash_;
}

std::size_t Archive::owner(std::size_t latents) const {
    if (!index_.sections[latents].tensors.empty()) return latents;
    std::call_once(owners_found_, [&] { owners_ = owners(); });
    return owners_[latents];
}

// Only looks at where quantized sections say what their base is: they are read, and the answer checked, when they are
// used.
Vector<std::size_t> Archive::owners() const {
    Vector<std::size_t> owners(index_.sections.size());
    std::iota(owners.begin(), owners.end(), std::size_t{0});
    for (std::size_t s = 0; s < owners.size(); ++s) {
        const Section& section = index_.sections[s];
        if (section.kind != SectionKind::quantized) continue;
        const LoadedBytes start(file_, section.offset, std::min<std::uint64_t>(section.size, base_bytes));
        const std::optional<std::size_t> base = peek_base(start.bytes());
        if (!base || *base >= owners.size() || owners[*base] != *base) continue;
        const Section& latents = index_.sections[*base];
        if (latents.kind == SectionKind::latents && latents.tensors.empty()) owners[*base] = s;
    }
    return owners;
}

Archive::CheckedSection Archive::checked_section(std::size_t section, std::size_t threads) const {
    const Section& entry = index_.sections[section];
    const std::string name = "section " + std::to_string(section);
    std::uint64_t size = has_head(entry.kind) ? std::min(entry.size, first_request) : entry.size;
    LoadedBytes loaded(file_, entry.offset, size);
    ByteReader reader(loaded.bytes(), entry.offset, name);
    if (has_head(entry.kind)) {
        const std::uint64_t head_bytes = read_head_bytes(reader, entry.size);
        const std::uint64_t size_bytes = reader.offset() - entry.offset;
        if (size_bytes + head_bytes > size) loaded = LoadedBytes(file_, entry.offset, size_bytes + head_bytes);
        size = size_bytes + head_bytes;
        reader = ByteReader(loaded.bytes().first(static_cast<std::size_t>(size)), entry.offset, name);
        reader.take(size_bytes, "head's size");
    }
    if (checksum(MemorySource(loaded.bytes()), 0, size, threads) != entry.crc) {
        throw Error(ErrorCode::checksum,
                    name + " at offset " + std::to_string(entry.offset) + ": checksum does not match");
    }
    return {std::move(loaded), std::move(reader)};
}

void Archive::reject(std::size_t section, const char* field, const std::string& problem) const {
    throw Error(ErrorCode::malformed, "section " + std::to_string(section) + ": " + field + " at offset " +
                                          std::to_string(index_.sections[section].offset) + ": " + problem);
}

const LatentGroup& Archive::group(std::size_t section, std::size_t threads) const {
    return groups_.get(section, context_, [&] { return load_group(section, threads); });
}

const QuantizedSection& Archive::quantized(std::size_t section, std::size_t threads) const {
    return quantized_.get(section, context_, [&] { return load_quantized(section, threads); });
}

const Archive::LosslessSection& Archive::lossless(std::size_t section, std::size_t threads) const {
    return lossless_.get(section, context_, [&] { return load_lossless(section, threads); });
}

const DifferenceSection& Archive::differences(std::size_t section, std::size_t threads) const {
    return differences_.get(section, context_, [&] { return load_differences(section, threads); });
}

const Fleet& Archive::fleet(std::size_t threads) const {
    const std::size_t section = index_.find(SectionKind::fleet).value();
    return fleets_.get(section, context_, [&] { return load_fleet(section, threads); });
}

Vector<IntegerLayer> Archive::integer_layers(std::size_t section, std::size_t threads) const {
    return read_integer_layers(checked_section(section, threads).reader, most_symbols(), threads).layers;
}

const Vector<float>& Archive::base(std::size_t tensor, std::size_t threads) const {
    return bases_.get(tensor, context_, [&] { return load_base(tensor, threads); });
}

const MemberLatents& Archive::member(std::size_t section, std::size_t threads) const {
    return members_.get(section, context_, [&] {
        const Fleet& fleet = pack_->fleet(threads);
        return read_member(checked_section(section, threads).reader, fleet.section().coding, fleet.tables());
    });
}

const MemberLatents* Archive::latents(std::size_t threads) const {
    const std::optional<std::size_t> section = index_.find(SectionKind::member);
    return section ? &member(*section, threads) : nullptr;
}

Fleet Archive::load_fleet(std::size_t section, std::size_t threads) const {
    FleetSection content = read_fleet(checked_section(section, threads).reader, index_, most_symbols(), threads);
    Vector<FleetDecoder> decoders;
    Vector<std::size_t> places(index_.sections.size(), no_decoder);
    std::uint64_t left = most_work * index_.file_bytes;
    for (const FleetGroup& group : content.groups) {
        std::size_t& place = places[group.decoder];
        if (place == no_decoder) {
            place = decoders.size();
            const CheckedSection read = checked_section(group.decoder, threads);
            decoders.push_back({group.decoder, read_integer_decoder(read.reader, most_symbols(), threads)});
        }
        const IntegerDecoder& own = decoders[place].content.decoder;
        if (own.latent() != group.inputs() || own.chunk_length() != group.chunk_length) {
            reject(section, "decoder section", "the decoder's inputs or outputs do not fit the group");
        }
        if (own.multiplications() > left / std::max<std::size_t>(group.chunks, 1)) {
            reject(section, "groups", "decoding would take more than 2^24 multiplications for each byte of the file");
        }
        left -= own.multiplications() * group.chunks;
    }
    return Fleet(std::move(content), std::move(decoders), index_);
}

Vector<float> Archive::load_base(std::size_t tensor, std::size_t threads) const {
    const Tensor& own = index_.tensors[tensor];
    Vector<float> values(own.count());
    Vector<std::uint8_t> data(own.dtype == DType::f32 ? 0 : own.bytes());
    auto* const decoded = data.empty() ? reinterpret_cast<std::uint8_t*>(values.data()) : data.data();
    if (values.empty()) return values;
    const Destination whole{tensor, decoded};
    decode({&whole, 1}, {.verify = true, .threads = threads});
    if (!data.empty()) kernels().to_float32[convertible_index(own.dtype)](data.data(), values.data(), values.size());
    return values;
}

LatentGroup Archive::load_group(std::size_t section, std::size_t threads) const {
    CheckedSection content = checked_section(section, threads);
    ByteReader& reader = content.reader;
    const LatentsHeader header = read_latents_header(reader);
    std::size_t elements = 0;
    for (const std::size_t t : index_.sections[owner(section)].tensors) elements += index_.tensors[t].count();
    if (std::uint64_t{header.chunks} * header.chunk_length - header.padding != elements) {
        reject(section, "chunk count", "the chunks do not hold as many elements as the section's tensors");
    }
    if (header.decoder >= index_.sections.size()) reject(section, "decoder section", "there is no such section");

    const auto finish = [&](auto decoder, auto latents, std::size_t decoder_tables, std::size_t latent_tables) {
        if (decoder.latent() != header.latent || decoder.chunk_length() != header.chunk_length) {
            reject(section, "decoder section", "the decoder's inputs or outputs do not fit the chunks");
        }
        if (decoder.multiplications() > most_work * index_.counted_bytes() / header.chunks) {
            reject(section, "chunk count",
                   "decoding would take more than 2^24 multiplications for each byte of the file");
        }
        return LatentGroup{header, std::move(decoder), std::move(latents), decoder_tables, latent_tables};
    };
    const SectionKind kind = index_.sections[header.decoder].kind;
    if (kind == SectionKind::integer_decoder) {
        auto decoder = read_integer_decoder(checked_section(header.decoder, threads).reader, most_symbols(), threads);
        Int8Latents latents = read_int8_latents(reader, header, most_symbols(), threads);
        return finish(std::move(decoder.decoder), std::move(latents.values), decoder.table_bytes, latents.table_bytes);
    }
    if (kind != SectionKind::float32_decoder) reject(section, "decoder section", "is no decoder");
    Vector<float> latents = read_float32_latents(reader, header);
    return finish(read_float32_decoder(checked_section(header.decoder, threads).reader), std::move(latents), 0, 0);
}

bool Archive::makes_base(std::size_t base, std::size_t quantized) const {
    if (base >= index_.sections.size()) return false;
    const SectionKind kind = index_.sections[base].kind;
    return kind == SectionKind::member || (kind == SectionKind::latents && owner(base) == quantized);
}

QuantizedSection Archive::load_quantized(std::size_t section, std::size_t threads) const {
    Vector<MatrixShape> shapes;
    for (const std::size_t t : index_.sections[section].tensors)
        shapes.push_back(matrix_shape(index_.tensors[t].shape));
    QuantizedSection result = read_quantized(checked_section(section, threads).reader, index_.sections[section].end(),
                                             shapes, most_symbols(), threads);
    if (result.base && !makes_base(*result.base, section)) {
        reject(section, "base section", "is neither a latents section of this section alone nor the member's");
    }
    return result;
}

Archive::LosslessSection Archive::load_lossless(std::size_t section, std::size_t threads) const {
    Vector<PlanesShape> shapes;
    for (const std::size_t t : index_.sections[section].tensors) {
        shapes.push_back({index_.tensors[t].count(), index_.tensors[t].dtype});
    }
    return read_lossless(checked_section(section, threads).reader, index_.sections[section].end(), shapes);
}

DifferenceSection Archive::load_differences(std::size_t section, std::size_t threads) const {
    Vector<DifferenceShape> shapes;
    for (const std::size_t t : index_.sections[section].tensors) {
        shapes.push_back({matrix_shape(index_.tensors[t].shape), index_.tensors[t].dtype});
    }
    DifferenceSection result = read_differences(checked_section(section, threads).reader,
                                                index_.sections[section].end(), shapes, most_symbols(), threads);
    if (result.base && result.base != index_.find(SectionKind::member)) {
        reject(section, "base section", "is not the member's");
    }
    return result;
}

void Archive::check_bools(const Tensor& tensor, const TensorTarget& target) const {
    if (tensor.dtype != DType::boolean) return;
    const auto* const bad =
        std::find_if(target.data, target.data + target.count, [](std::uint8_t byte) { return byte > 1; });
    if (bad == target.data + target.count) return;
    const std::uint64_t at = index_.sections[tensor.section].offset + target.start;
    throw Error(ErrorCode::malformed, "section " + std::to_string(tensor.section) + ": bool of tensor " +
                                          tensor.quoted_name() + " at offset " +
                                          std::to_string(at + static_cast<std::uint64_t>(bad - target.data)) +
                                          ": is neither 0 nor 1");
}

// Targets of raw tensors count and start in bytes.
void Archive::decode_raw_section(std::size_t section, std::span<const TensorTarget> targets, std::size_t threads,
                                 Written written) const {
    const Section& entry = index_.sections[section];
    for (std::size_t i = 0; i < targets.size(); ++i) {
        const TensorTarget& target = targets[i];
        if (target.data == nullptr) continue;
        const std::size_t item = info(target.dtype).swap_size;
        parallel_ranges(target.count, raw_grain, threads, [&](std::size_t begin, std::size_t end) {
            const std::span<std::uint8_t> out(target.data + begin, end - begin);
            file_.read(entry.offset + target.start + begin, out);
            if (!host_is_little_endian) swap_items(out.data(), out.data(), out.size() / item, item);
            written(i, begin, end - begin);
        });
        check_bools(index_.tensors[entry.tensors[i]], target);
    }
}

void Archive::member_values(std::size_t section, std::span<const Extent> wanted, std::size_t threads,
                            MemberUse use) const {
    const MemberLatents* const latents = &member(section, threads);
    const Fleet& fleet = pack_->fleet(threads);
    Vector<const float*> bases(wanted.size());
    Vector<Extent> changed(wanted.begin(), wanted.end());
    for (std::size_t t = 0; t < wanted.size(); ++t) {
        if (wanted[t].count == 0) continue;
        bases[t] = pack_->base(t, threads).data();
        if (fleet.changes(t)) continue;
        use(t, wanted[t].start, {bases[t] + wanted[t].start, wanted[t].count});
        changed[t].count = 0;
    }
    fleet.decode({&latents, 1}, changed, threads, [&](const FleetTile& tile) {
        const std::span<float> values = tile.of(0);
        add_base(bases[tile.tensor] + tile.first, values);
        use(tile.tensor, tile.first, values);
    });
}

// What is wanted of a section's tensors, by tensor of the index.
Vector<Extent> Archive::wanted_of(std::size_t section, std::span<const TensorTarget> targets) const {
    Vector<Extent> wanted(index_.tensors.size(), Extent{0, 0});
    const Vector<std::size_t>& numbers = index_.sections[section].tensors;
    for (std::size_t i = 0; i < targets.size(); ++i) {
        if (targets[i].data == nullptr) continue;
        const std::size_t first = targets[i].start - static_cast<std::size_t>(index_.tensors[numbers[i]].first);
        wanted[numbers[i]] = {first, targets[i].count};
    }
    return wanted;
}

// By tensor of the index: its place among those of a section.
Vector<std::size_t> Archive::places_of(std::size_t section) const {
    Vector<std::size_t> places(index_.tensors.size());
    const Vector<std::size_t>& numbers = index_.sections[section].tensors;
    for (std::size_t i = 0; i < numbers.size(); ++i) places[numbers[i]] = i;
    return places;
}

void Archive::decode_member_section(std::size_t section, std::span<const TensorTarget> targets, std::size_t threads,
                                    Written written) const {
    const Vector<Extent> wanted = wanted_of(section, targets);
    const Vector<std::size_t> places = places_of(section);
    member_values(section, wanted, threads, [&](std::size_t tensor, std::size_t first, std::span<const float> values) {
        const std::size_t target = places[tensor], begin = first - wanted[tensor].start;
        write(targets[target], begin, values);
        written(target, begin, values.size());
    });
}

Vector<BaseValues> Archive::base_values(std::size_t section, std::size_t base, std::span<const TensorTarget> targets,
                                        std::size_t threads) const {
    Vector<BaseValues> bases(targets.size());
    Vector<TensorTarget> base_targets(targets.begin(), targets.end());
    for (std::size_t t = 0; t < targets.size(); ++t) {
        if (targets[t].data == nullptr) continue;
        bases[t].resize(targets[t].count);
        base_targets[t].data = reinterpret_cast<std::uint8_t*>(bases[t].data());
        base_targets[t].dtype = DType::f32;
    }
    if (index_.sections[base].kind == SectionKind::latents) {
        group(base, threads).decode(base_targets, threads, [](std::size_t, std::size_t, std::size_t) {});
        return bases;
    }
    const Vector<Extent> wanted = wanted_of(section, targets);
    const Vector<std::size_t> places = places_of(section);
    member_values(base, wanted, threads, [&](std::size_t tensor, std::size_t first, std::span<const float> values) {
        write(base_targets[places[tensor]], first - wanted[tensor].start, values);
    });
    return bases;
}

void Archive::decode_quantized_section(std::size_t section, std::span<const TensorTarget> targets, std::size_t threads,
                                       Written written) const {
    const QuantizedSection& content = quantized(section, threads);
    Vector<BaseValues> bases(targets.size());
    if (content.base) bases = base_values(section, *content.base, targets, threads);
    try {
        decode_quantized(file_, content, bases, targets, threads, written);
    } catch (const Error& error) {
        throw Error(error.code(), "section " + std::to_string(section) + ": " + error.what());
    }
}

void Archive::decode_lossless_section(std::size_t section, std::span<const TensorTarget> targets,
                                      std::size_t threads) const {
    const LosslessSection& content = lossless(section, threads);
    for (std::size_t i = 0; i < targets.size(); ++i) {
        const TensorTarget& target = targets[i];
        if (target.data == nullptr) continue;
        const Tensor& tensor = index_.tensors[index_.sections[section].tensors[i]];
        const auto first = target.start - static_cast<std::size_t>(tensor.first);
        try {
            decode_planes(file_, content[i], first, {target.count, target.dtype}, target.data, threads);
        } catch (const Error& error) {
            throw Error(error.code(), "section " + std::to_string(section) + ": tensor " + tensor.quoted_name() + ": " +
                                          error.what());
        }
    }
}

Vector<Prediction> Archive::predict(std::size_t section, std::optional<std::size_t> base,
                                    std::span<const Extent> elements, std::size_t threads) const {
    const Vector<std::size_t>& numbers = index_.sections[section].tensors;
    Vector<Prediction> predictions(numbers.size());
    Vector<Extent> wanted(index_.tensors.size(), Extent{0, 0});
    Vector<Destination> destinations;
    for (std::size_t i = 0; i < numbers.size(); ++i) {
        const auto [first, count] = elements[i];
        if (count == 0) continue;
        const std::size_t t = numbers[i], size = info(index_.tensors[t].dtype).size;
        predictions[i] = {elements[i], Vector<std::uint8_t>(count * size)};
        wanted[t] = elements[i];
        if (base) continue;
        std::uint8_t* const data = predictions[i].data.data();
        if (index_.tensors[t].dtype == DType::f32) {
            // Which other members ask for, too.
            std::memcpy(data, pack_->base(t, threads).data() + first, count * size);
        } else {
            destinations.push_back({t, data, first, count});
        }
    }
    if (!base) {
        pack_->decode(destinations, {.verify = true, .threads = threads});
        return predictions;
    }
    const Vector<std::size_t> places = places_of(section);
    member_values(*base, wanted, threads, [&](std::size_t tensor, std::size_t first, std::span<const float> values) {
        Prediction& own = predictions[places[tensor]];
        write({own.data.data(), own.elements.count, index_.tensors[tensor].dtype}, first - own.elements.start, values);
    });
    return predictions;
}

void Archive::decode_differences_section(std::size_t section, std::span<const TensorTarget> targets,
                                         std::size_t threads, Written written) const {
    const DifferenceSection& content = differences(section, threads);
    Vector<Prediction> predictions = predict(section, content.base, predicted_elements(content, targets), threads);
    try {
        decode_differences(file_, content, predictions, targets, threads, written);
    } catch (const Error& error) {
        throw Error(error.code(), "section " + std::to_string(section) + ": " + error.what());
    }
}

void Archive::decode_section(std::size_t section, std::span<const TensorTarget> targets, std::size_t threads,
                             Written written) const {
    switch (index_.sections[section].kind) {
        case SectionKind::raw: decode_raw_section(section, targets, threads, written); break;
        case SectionKind::latents: group(section, threads).decode(targets, threads, written); break;
        case SectionKind::quantized: decode_quantized_section(section, targets, threads, written); break;
        case SectionKind::lossless: decode_lossless_section(section, targets, threads); break;
        case SectionKind::member: decode_member_section(section, targets, threads, written); break;
        case SectionKind::differences: decode_differences_section(section, targets, threads, written); break;
        case SectionKind::integer_decoder:
        case SectionKind::float32_decoder:
        case SectionKind::fleet: break;
    }
}

void Archive::check_digests(std::span<const Destination> destinations, std::span<const std::uint64_t> digests) const {
    for (std::size_t i = 0; i < digests.size(); ++i) {
        const Tensor& tensor = index_.tensors[destinations[i].tensor];
        if (digests[i] == tensor.digest) continue;
        throw Error(ErrorCode::checksum, "index: digest of tensor " + tensor.quoted_name() + " at offset " +
                                             std::to_string(tensor.digest_offset) +
                                             ": does not match the decoded values");
    }
}

namespace {

constexpr std::size_t unchecked = std::numeric_limits<std::size_t>::max();

// The bytes of what a tensor's targets count.
std::size_t unit_of(const Tensor& tensor) { return tensor.codec == Codec::raw ? 1 : info(tensor.dtype).size; }

// What a destination asks for, in elements, within its section's tensors.
TensorTarget target_of(const Tensor& tensor, const Destination& destination) {
    const std::size_t all = tensor.count(), first = destination.first;
    const std::size_t count = destination.count == all_elements ? all : destination.count;
    if (tensor.codec == Codec::alias) throw Error(ErrorCode::invalid_argument, "an alias has no data of its own");
    if (first > all || count > all - first) {
        throw Error(ErrorCode::invalid_argument, "tensor " + tensor.quoted_name() + " has " + std::to_string(all) +
                                                     " elements; ask for a part of these");
    }
    // Raw tensors follow each other byte by byte.
    const std::size_t bytes = tensor.codec == Codec::raw ? info(tensor.dtype).size : 1;
    return {destination.data, count * bytes, tensor.dtype, static_cast<std::size_t>(tensor.first) + first * bytes};
}

bool is_whole(const Tensor& tensor, const Destination& destination) {
    return destination.count == all_elements || destination.count == tensor.count();
}

}  // namespace

// Of a raw tensor nothing but the whole has a checksum.
void Archive::check_raw_tensor(const Tensor& tensor, std::size_t threads) const {
    Vector<std::uint8_t> data(tensor.bytes());
    const Destination whole{static_cast<std::size_t>(&tensor - index_.tensors.data()), data.data()};
    decode({&whole, 1}, {.verify = true, .threads = threads});
}

void Archive::decode(std::span<const Destination> destinations, const DecodeOptions& options) const {
    Vector<bool> used(index_.sections.size());
    Vector<TensorTarget> by_tensor(index_.tensors.size());
    // Tensors to compare with their digests, and by tensor its place among them.
    Vector<Destination> checked;
    Vector<DigestSource> sources;
    Vector<std::size_t> places(index_.tensors.size(), unchecked);
    Vector<Destination> shared;
    for (const Destination& destination : destinations) {
        const Tensor& tensor = index_.tensors.at(destination.tensor);
        if (tensor.codec == Codec::shared) {
            shared.push_back(destination);
            continue;
        }
        TensorTarget& target = by_tensor[destination.tensor];
        if (target.data != nullptr) throw Error(ErrorCode::invalid_argument, "a tensor has two destinations");
        target = target_of(tensor, destination);
        used[tensor.section] = true;
        if (!options.verify) continue;
        if (is_whole(tensor, destination)) {
            places[destination.tensor] = checked.size();
            checked.push_back(destination);
            sources.push_back({destination.data, tensor.count(), tensor.dtype});
        } else if (tensor.codec == Codec::raw) {
            check_raw_tensor(tensor, options.threads);
        }
    }
    if (!shared.empty()) pack_->decode(shared, options);
    TensorDigests digests(sources);
    for (std::size_t s = 0; s < used.size(); ++s) {
        if (!used[s]) continue;
        const Vector<std::size_t>& numbers = index_.sections[s].tensors;
        Vector<TensorTarget> targets;
        for (const std::size_t t : numbers) {
            const Tensor& tensor = index_.tensors[t];
            targets.push_back(by_tensor[t].data != nullptr ? by_tensor[t] : target_of(tensor, {t, nullptr}));
        }
        const auto written = [&](std::size_t target, std::size_t first, std::size_t count) {
            const std::size_t place = places[numbers[target]];
            if (place == unchecked) return;
            const std::size_t unit = unit_of(index_.tensors[numbers[target]]);
            digests.written(place, first * unit, (first + count) * unit);
        };
        decode_section(s, targets, options.threads, written);
    }
    check_digests(checked, digests.finish(options.threads));
}

void Archive::check_contents(std::size_t section, std::size_t threads) const {
    const Section& entry = index_.sections[section];
    switch (entry.kind) {
        case SectionKind::raw:
            if (checksum(file_, entry.offset, entry.size, threads) != entry.crc) {
                throw Error(ErrorCode::checksum, "section " + std::to_string(section) + " at offset " +
                                                     std::to_string(entry.offset) + ": checksum does not match");
            }
            break;
        case SectionKind::latents: static_cast<void>(group(section, threads)); break;
        case SectionKind::integer_decoder: static_cast<void>(integer_layers(section, threads)); break;
        case SectionKind::float32_decoder:
            static_cast<void>(read_float32_decoder(checked_section(section, threads).reader));
            break;
        case SectionKind::quantized: static_cast<void>(quantized(section, threads)); break;
        case SectionKind::lossless: static_cast<void>(lossless(section, threads)); break;
        case SectionKind::fleet: static_cast<void>(fleet(threads)); break;
        case SectionKind::member: static_cast<void>(member(section, threads)); break;
        case SectionKind::differences: static_cast<void>(differences(section, threads)); break;
    }
}

void Archive::verify(std::size_t threads) const {
    // Also sections that no tensor needs must be what the format says.
    for (std::size_t s = 0; s < index_.sections.size(); ++s) check_contents(s, threads);
    for (std::size_t t = 0; t < index_.tensors.size();) {
        Vector<Vector<std::uint8_t>> arrays;
        Vector<Destination> destinations;
        for (std::size_t bytes = 0; t < index_.tensors.size() && bytes < verified_bytes; ++t) {
            const Tensor& tensor = index_.tensors[t];
            if (tensor.codec == Codec::alias) continue;
            arrays.emplace_back(tensor.bytes());
            destinations.push_back({t, arrays.back().data()});
            bytes += tensor.bytes();
        }
        decode(destinations, {.verify = true, .threads = threads});
    }
}

Accounting Archive::accounting() const {
    Accounting bytes;
    bytes.container = index_.container_bytes;
    Vector<bool> decoder_seen(index_.sections.size());
    for (std::size_t s = 0; s < index_.sections.size(); ++s) {
        const Section& section = index_.sections[s];
        const std::uint64_t stored = section.size;
        switch (section.kind) {
            case SectionKind::raw:
            case SectionKind::lossless: bytes.passthrough += stored; break;
            case SectionKind::quantized:
            case SectionKind::differences: {
                const bool are_differences = section.kind == SectionKind::differences;
                const std::uint64_t payload =
                    (are_differences ? differences(s, 0).blocks : quantized(s, 0).blocks).payload_bytes();
                bytes.weights += payload;
                bytes.tables += stored - payload;
                break;
            }
            case SectionKind::integer_decoder:
            case SectionKind::float32_decoder: bytes.decoder += stored; break;
            case SectionKind::member: bytes.latents += stored; break;
            case SectionKind::fleet: {
                const std::size_t tables = fleet(0).section().table_bytes;
                bytes.decoder += stored - tables;
                bytes.tables += tables;
                for (const FleetDecoder& own : fleet(0).decoders()) {
                    if (decoder_seen[own.section]) continue;
                    decoder_seen[own.section] = true;
                    bytes.decoder -= own.content.table_bytes;
                    bytes.tables += own.content.table_bytes;
                }
                break;
            }
            case SectionKind::latents: {
                const LatentGroup& members = group(s, 0);
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

Vector<ChunkSummary> Archive::chunks() const {
    Vector<ChunkSummary> summaries;
    for (std::size_t s = 0; s < index_.sections.size(); ++s) {
        if (index_.sections[s].kind != SectionKind::latents) continue;
        const LatentsHeader& header = group(s, 0).header;
        summaries.push_back({s, header.chunk_length, header.chunks, header.latent, header.padding});
    }
    return summaries;
}

}  // namespace vaecomp::core
