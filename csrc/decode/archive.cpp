#include "decode/archive.hpp"

#include <algorithm>
#include <limits>
#include <string>

#include "core/digest.hpp"
#include "decode/latents.hpp"
#include "kernels/kernels.hpp"

namespace vaecomp::core {
namespace {

// What `verify` decodes at a time: neighbours share blocks and tiles.
constexpr std::size_t verified_bytes = std::size_t{1} << 24;
constexpr std::size_t verified_alignment = 16;
// Bytes of which a hash is taken at a time.
constexpr std::size_t hashed_bytes = std::size_t{1} << 20;
constexpr std::size_t unchecked = std::numeric_limits<std::size_t>::max();

Index index_of(const Source& file, const Archive* pack) {
    if (pack == nullptr) return read_index(file, nullptr);
    const PackIndex of_pack{pack->index(), pack->hash()};
    return read_index(file, &of_pack);
}

Sha256 hash_of(const Source& file) {
    Sha256Hasher hasher;
    for (std::uint64_t at = 0; at < file.size(); at += hashed_bytes) {
        const LoadedBytes piece(file, at, std::min<std::uint64_t>(hashed_bytes, file.size() - at));
        hasher.add(piece.bytes());
    }
    return hasher.finish();
}

// A destination as its section sees it.
struct Wanted {
    const Tensor* tensor;
    TensorTarget target;
    std::size_t digest;  // its place among the digests that are taken, or unchecked
};

// The bytes of what a tensor's targets count: raw tensors follow each other byte by byte.
std::size_t unit_of(const Tensor& tensor) { return tensor.codec == Codec::raw ? 1 : info(tensor.dtype).size; }

TensorTarget target_of(const Tensor& tensor, const Destination& destination) {
    const std::size_t all = tensor.count(), first = destination.first;
    const std::size_t count = destination.count == all_elements ? all : destination.count;
    if (tensor.codec == Codec::alias) throw Error(ErrorCode::invalid_argument, "an alias has no data of its own");
    if (first > all || count > all - first) {
        throw Error(ErrorCode::invalid_argument, "tensor " + tensor.quoted_name() + " has " + std::to_string(all) +
                                                     " elements; ask for a part of these");
    }
    const std::size_t units = info(tensor.dtype).size / unit_of(tensor);
    return {destination.data, count * units, tensor.dtype, static_cast<std::size_t>(tensor.first) + first * units,
            tensor.place};
}

bool is_whole(const Tensor& tensor, const Destination& destination) {
    return destination.count == all_elements || destination.count == tensor.count();
}

// By section, and there in the order of its tensors.
void sort(std::span<Wanted> wanted) {
    const auto before = [](const Wanted& a, const Wanted& b) {
        return a.tensor->section != b.tensor->section ? a.tensor->section < b.tensor->section : a.tensor < b.tensor;
    };
    if (!std::is_sorted(wanted.begin(), wanted.end(), before)) std::sort(wanted.begin(), wanted.end(), before);
    const auto twice = std::adjacent_find(wanted.begin(), wanted.end(), [](const Wanted& a, const Wanted& b) {
        return a.tensor == b.tensor && a.target.data != nullptr;
    });
    if (twice != wanted.end()) throw Error(ErrorCode::invalid_argument, "a tensor has two destinations");
}

// All of it lies in one section.
void decode_section(const OpenSection& section, std::span<const Wanted> wanted, std::size_t threads,
                    TensorDigests& digests) {
    Vector<TensorTarget> targets;
    targets.reserve(wanted.size());
    for (const Wanted& own : wanted) targets.push_back(own.target);
    section.decode(targets, threads, [&](std::size_t target, std::size_t first, std::size_t count) {
        const Wanted& own = wanted[target];
        const std::size_t unit = unit_of(*own.tensor);
        if (own.digest != unchecked) digests.written(own.digest, first * unit, (first + count) * unit);
    });
}

}  // namespace

Archive::Archive(const Source& file, const Archive* pack)
    : file_(file), pack_(pack), index_(index_of(file, pack)), bases_(is_pack() ? index_.tensors.size() : 0) {
    for (std::size_t s = 0; s < index_.sections.size(); ++s) sections_.push_back(open_section(*this, s));
}

const Sha256& Archive::hash() const {
    return hash_.get(context_, [&] { return hash_of(file_); });
}

const Fleet& Archive::fleet(std::size_t threads) const {
    return section_as<OpenFleet>(index_.find(SectionKind::fleet).value()).fleet(threads);
}

const OpenMember& Archive::member() const { return section_as<OpenMember>(index_.find(SectionKind::member).value()); }

Vector<IntegerLayer> Archive::integer_layers(std::size_t section, std::size_t threads) const {
    return read_integer_layers(sections_[section]->read(threads).reader, index_.max_symbols(), threads).layers;
}

std::size_t Archive::owner(std::size_t latents) const {
    if (!index_.sections[latents].tensors.empty()) return latents;
    return owners_.get(context_, [&] { return find_owners(file_, index_); })[latents];
}

const Vector<float>& Archive::base(std::size_t tensor, std::size_t threads) const {
    return bases_[tensor].get(context_, [&] { return load_base(tensor, threads); });
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

void Archive::check_digests(std::span<const Destination> destinations, std::span<const std::uint64_t> digests) const {
    for (std::size_t i = 0; i < digests.size(); ++i) {
        const Tensor& tensor = index_.tensors[destinations[i].tensor];
        if (digests[i] == tensor.digest) continue;
        throw Error(ErrorCode::checksum, "index: digest of tensor " + tensor.quoted_name() + " at offset " +
                                             std::to_string(tensor.digest_offset) +
                                             ": does not match the decoded values");
    }
}

// Of a raw tensor nothing but the whole has a checksum.
void Archive::check_raw_tensor(const Tensor& tensor, std::size_t threads) const {
    Vector<std::uint8_t> data(tensor.bytes());
    const Destination whole{static_cast<std::size_t>(&tensor - index_.tensors.data()), data.data()};
    decode({&whole, 1}, {.verify = true, .threads = threads});
}

void Archive::decode(std::span<const Destination> destinations, const DecodeOptions& options) const {
    Vector<Wanted> wanted;
    Vector<Destination> shared, checked;
    Vector<DigestSource> sources;
    wanted.reserve(destinations.size());
    for (const Destination& destination : destinations) {
        const Tensor& tensor = index_.tensors.at(destination.tensor);
        if (tensor.codec == Codec::shared) {
            shared.push_back(destination);
            continue;
        }
        wanted.push_back({&tensor, target_of(tensor, destination), unchecked});
        if (!options.verify) continue;
        if (is_whole(tensor, destination)) {
            wanted.back().digest = checked.size();
            checked.push_back(destination);
            sources.push_back({destination.data, tensor.count(), tensor.dtype});
        } else if (tensor.codec == Codec::raw) {
            check_raw_tensor(tensor, options.threads);
        }
    }
    sort(wanted);
    if (!shared.empty()) pack_->decode(shared, options);
    TensorDigests digests(sources);
    for (std::span<const Wanted> rest = wanted; !rest.empty();) {
        const std::size_t section = rest.front().tensor->section;
        const auto end =
            std::find_if(rest.begin(), rest.end(), [&](const Wanted& own) { return own.tensor->section != section; });
        const auto count = static_cast<std::size_t>(end - rest.begin());
        decode_section(*sections_[section], rest.first(count), options.threads, digests);
        rest = rest.subspan(count);
    }
    check_digests(checked, digests.finish(options.threads));
}

void Archive::verify(std::size_t threads) const {
    // Also sections that no tensor needs must be what the format says.
    for (const auto& section : sections_) section->check(threads);
    // Memory is taken once: the system's fresh pages would cost as much as decoding.
    Vector<std::uint8_t> memory;
    for (std::size_t t = 0; t < index_.tensors.size();) {
        Vector<Destination> destinations;
        Vector<std::size_t> places;
        std::size_t bytes = 0;
        for (; t < index_.tensors.size() && bytes < verified_bytes; ++t) {
            const Tensor& tensor = index_.tensors[t];
            if (tensor.codec == Codec::alias) continue;
            destinations.push_back({t, nullptr});
            places.push_back(bytes);
            bytes += (tensor.bytes() + verified_alignment - 1) / verified_alignment * verified_alignment;
        }
        if (memory.size() < bytes) memory = Vector<std::uint8_t>(bytes);
        for (std::size_t d = 0; d < places.size(); ++d) destinations[d].data = memory.data() + places[d];
        decode(destinations, {.verify = true, .threads = threads});
    }
}

Accounting Archive::accounting() const {
    Ledger ledger(sections_.size());
    ledger.bytes.container = index_.container_bytes;
    for (const auto& section : sections_) section->account(ledger);
    return ledger.bytes;
}

Vector<ChunkSummary> Archive::chunks() const {
    Vector<ChunkSummary> summaries;
    for (std::size_t s = 0; s < index_.sections.size(); ++s) {
        if (index_.sections[s].kind != SectionKind::latents) continue;
        const LatentsHeader& header = section_as<OpenLatents>(s).group(0).header;
        summaries.push_back({s, header.chunk_length, header.chunks, header.latent, header.padding});
    }
    return summaries;
}

}  // namespace vaecomp::core
