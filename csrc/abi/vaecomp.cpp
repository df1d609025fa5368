// The C interface: arguments checked, exceptions turned into codes, everything else left to decode/archive.hpp.
#include "vaecomp.h"

#include <algorithm>
#include <memory>
#include <new>
#include <optional>
#include <string>
#include <string_view>

#include "abi/open_archive.hpp"
#include "abi/structures.hpp"
#include "core/file_source.hpp"

using namespace vaecomp::core;

namespace {

static_assert(VAECOMP_INVALID_ARGUMENT == static_cast<int>(ErrorCode::invalid_argument) &&
              VAECOMP_MALFORMED == static_cast<int>(ErrorCode::malformed) &&
              VAECOMP_UNSUPPORTED_VERSION == static_cast<int>(ErrorCode::unsupported_version) &&
              VAECOMP_CHECKSUM == static_cast<int>(ErrorCode::checksum) &&
              VAECOMP_MISSING_PACK == static_cast<int>(ErrorCode::missing_pack) &&
              VAECOMP_IO == static_cast<int>(ErrorCode::io) &&
              VAECOMP_MEMORY_LIMIT == static_cast<int>(ErrorCode::memory_limit) &&
              VAECOMP_INTERNAL == static_cast<int>(ErrorCode::internal));
static_assert(VAECOMP_BFLOAT16 == static_cast<int>(DType::bf16) && VAECOMP_COMPLEX32 == static_cast<int>(DType::c32) &&
              VAECOMP_UINT7 == static_cast<int>(DType::u7) && VAECOMP_UINT7 + 1 == dtype_table.size());
static_assert(VAECOMP_SHARED == static_cast<int>(Codec::shared) &&
              VAECOMP_DIFFERENCES == static_cast<int>(Codec::differences) &&
              VAECOMP_LOSSLESS == static_cast<int>(Codec::lossless) && VAECOMP_ALIAS == static_cast<int>(Codec::alias));
static_assert(VAECOMP_HEADER_BYTES == header_bytes && VAECOMP_HASH_BYTES == sha256_bytes);

class ReaderSource : public Source {
  public:
    explicit ReaderSource(const vaecomp_reader& reader) : reader_(reader) {}

    [[nodiscard]] std::uint64_t size() const override { return reader_.file_bytes; }
    [[nodiscard]] std::size_t request_bytes() const override { return reader_.request_bytes; }
    void read(std::uint64_t offset, std::span<std::uint8_t> out) const override {
        if (out.empty() || reader_.read(reader_.context, offset, out.data(), out.size()) == 0) return;
        throw Error(ErrorCode::io, "the reader failed to read " + std::to_string(out.size()) + " bytes at offset " +
                                       std::to_string(offset));
    }

  private:
    vaecomp_reader reader_;
};

void require(bool condition, const char* problem) {
    if (!condition) throw Error(ErrorCode::invalid_argument, problem);
}

int report(vaecomp_error* error, int code, const char* message) {
    if (error == nullptr || !has_size(*error)) return code;
    vaecomp_error own = VAECOMP_ERROR_INIT;
    own.code = code;
    std::string_view(message).copy(own.message, fitting(message, sizeof(own.message) - 1));
    write_structure(*error, own);
    return code;
}

// Runs the body of a function of the interface.
template <typename Body>
int guarded(vaecomp_error* error, const Body& body) noexcept {
    try {
        body();
        return VAECOMP_OK;
    } catch (const Error& failure) {
        return report(error, static_cast<int>(failure.code()), failure.what());
    } catch (const std::bad_alloc&) {
        return report(error, VAECOMP_OUT_OF_MEMORY, "out of memory");
    } catch (const std::exception& failure) {
        return report(error, VAECOMP_INTERNAL, failure.what());
    } catch (...) {
        return report(error, VAECOMP_INTERNAL, "an unknown exception");
    }
}

vaecomp_options options_of(const vaecomp_options* given) {
    const vaecomp_options defaults = VAECOMP_OPTIONS_INIT;
    if (given == nullptr) return defaults;
    const vaecomp_options options = read_structure(*given, defaults);
    require((options.allocator.allocate == nullptr) == (options.allocator.deallocate == nullptr),
            "options: an allocator has both functions or none");
    return options;
}

const Tensor& tensor_of(const vaecomp_archive& archive, std::size_t number) {
    require(number < archive.index().tensors.size(), "there is no such tensor");
    return archive.index().tensors[number];
}

// Opens what make_source() gives.
template <typename MakeSource>
int open(const vaecomp_options* options, vaecomp_archive** out, vaecomp_error* error, const MakeSource& make_source) {
    if (out != nullptr) *out = nullptr;
    return guarded(error, [&] {
        require(out != nullptr, "archive: null");
        auto state = std::make_shared<OpenArchive>(options_of(options));
        auto opened = std::make_unique<vaecomp_archive>();
        if (state->options.pack != nullptr) state->pack = state->options.pack->state;
        const ContextScope scope(state->context());
        state->source = make_source();
        state->archive.emplace(*state->source, state->pack ? &*state->pack->archive : nullptr);
        opened->state = std::move(state);
        *out = opened.release();
    });
}

// Runs a function that reads the archive.
template <typename Body>
int with_archive(vaecomp_archive* archive, vaecomp_error* error, const Body& body) {
    return guarded(error, [&] {
        require(archive != nullptr, "archive: null");
        const ContextScope scope(archive->state->context());
        body();
    });
}

std::size_t owner_of(const vaecomp_archive& archive, std::size_t number) {
    const Tensor& tensor = tensor_of(archive, number);
    return tensor.codec == Codec::alias ? tensor.section : number;
}

Destination destination_of(const vaecomp_archive& archive, const vaecomp_output& output) {
    const std::size_t owner = owner_of(archive, output.tensor);
    const Tensor& tensor = tensor_of(archive, owner);
    const std::size_t all = tensor.count(), item = info(tensor.dtype).size;
    require(output.first <= all && output.count <= all - output.first, "the tensor has not as many elements");
    require(output.bytes == output.count * item, "the buffer's size is not that of the elements");
    require(output.data != nullptr || output.bytes == 0, "data: null");
    return {owner, static_cast<std::uint8_t*>(output.data), output.first, output.count};
}

}  // namespace

int vaecomp_open_file(const char* path, const vaecomp_options* options, vaecomp_archive** archive,
                      vaecomp_error* error) {
    return open(options, archive, error, [&] {
        require(path != nullptr, "path: null");
        return std::make_unique<FileSource>(path);
    });
}

int vaecomp_open_memory(const void* data, size_t bytes, const vaecomp_options* options, vaecomp_archive** archive,
                        vaecomp_error* error) {
    return open(options, archive, error, [&] {
        require(data != nullptr || bytes == 0, "data: null");
        // Not null, which would mean that the bytes are not in memory.
        const auto* first = data != nullptr ? static_cast<const std::uint8_t*>(data) : magic.data();
        return std::make_unique<MemorySource>(Bytes{first, bytes});
    });
}

int vaecomp_open_reader(const vaecomp_reader* reader, const vaecomp_options* options, vaecomp_archive** archive,
                        vaecomp_error* error) {
    return open(options, archive, error, [&] {
        require(reader != nullptr && reader->read != nullptr, "reader: null");
        return std::make_unique<ReaderSource>(*reader);
    });
}

void vaecomp_close(vaecomp_archive* archive) { delete archive; }

int vaecomp_file_bytes(const void* header, uint64_t* bytes, vaecomp_error* error) {
    return guarded(error, [&] {
        require(header != nullptr && bytes != nullptr, "header or bytes: null");
        *bytes = read_file_bytes({static_cast<const std::uint8_t*>(header), header_bytes});
    });
}

size_t vaecomp_tensor_count(const vaecomp_archive* archive) {
    return archive == nullptr ? 0 : archive->index().tensors.size();
}

int vaecomp_tensor(const vaecomp_archive* archive, size_t tensor, vaecomp_tensor_info* info, vaecomp_error* error) {
    return guarded(error, [&] {
        require(archive != nullptr && info != nullptr, "archive or info: null");
        const Tensor& own = tensor_of(*archive, tensor);
        write_structure(*info, {0, own.name.c_str(), own.name.size(), own.shape.data(), own.shape.size(), own.count(),
                                own.bytes(), static_cast<std::int32_t>(own.dtype), static_cast<std::int32_t>(own.codec),
                                owner_of(*archive, tensor)});
    });
}

int vaecomp_find(const vaecomp_archive* archive, const char* name, size_t* tensor, vaecomp_error* error) {
    return guarded(error, [&] {
        require(archive != nullptr && name != nullptr && tensor != nullptr, "archive, name or tensor: null");
        const auto& tensors = archive->index().tensors;
        const auto found = std::find_if(tensors.begin(), tensors.end(),
                                        [&](const Tensor& own) { return std::string_view(own.name) == name; });
        if (found == tensors.end()) {
            throw Error(ErrorCode::invalid_argument, "the archive has no tensor '" + std::string(name) + "'");
        }
        *tensor = static_cast<std::size_t>(found - tensors.begin());
    });
}

size_t vaecomp_metadata_count(const vaecomp_archive* archive) {
    return archive == nullptr ? 0 : archive->index().metadata.size();
}

int vaecomp_metadata(const vaecomp_archive* archive, size_t entry, vaecomp_string* key, vaecomp_string* value,
                     vaecomp_error* error) {
    return guarded(error, [&] {
        require(archive != nullptr && key != nullptr && value != nullptr, "archive, key or value: null");
        require(entry < archive->index().metadata.size(), "there is no such entry");
        const auto& [own_key, own_value] = archive->index().metadata[entry];
        *key = {own_key.c_str(), own_key.size()};
        *value = {own_value.c_str(), own_value.size()};
    });
}

int vaecomp_account(vaecomp_archive* archive, vaecomp_accounting* accounting, vaecomp_error* error) {
    return with_archive(archive, error, [&] {
        require(accounting != nullptr, "accounting: null");
        const Accounting own = archive->archive().accounting();
        write_structure(*accounting,
                        {0, own.container, own.decoder, own.latents, own.weights, own.tables, own.passthrough});
    });
}

int vaecomp_chunk_groups(vaecomp_archive* archive, vaecomp_chunks* groups, size_t* count, vaecomp_error* error) {
    return with_archive(archive, error, [&] {
        require(count != nullptr && (groups != nullptr || *count == 0), "groups or count: null");
        const Vector<ChunkSummary> own = archive->archive().chunks();
        for (std::size_t i = 0; i < std::min(*count, own.size()); ++i) {
            write_structure(*groups, {0, own[i].chunks, own[i].chunk_length, own[i].latent, own[i].padding});
            groups = behind(groups);
        }
        *count = own.size();
    });
}

const uint8_t* vaecomp_pack_hash(const vaecomp_archive* archive) {
    return archive != nullptr && archive->index().pack ? archive->index().pack->data() : nullptr;
}

int vaecomp_hash(vaecomp_archive* archive, uint8_t* hash, vaecomp_error* error) {
    return with_archive(archive, error, [&] {
        require(hash != nullptr, "hash: null");
        std::copy_n(archive->archive().hash().data(), sha256_bytes, hash);
    });
}

uint32_t vaecomp_archive_version(const vaecomp_archive* archive) {
    return archive == nullptr ? 0 : archive->index().version;
}

int vaecomp_decode(vaecomp_archive* archive, size_t tensor, void* data, size_t bytes, vaecomp_error* error) {
    return with_archive(archive, error, [&] {
        const Destination whole =
            destination_of(*archive, {tensor, 0, tensor_of(*archive, tensor).count(), data, bytes});
        archive->archive().decode({&whole, 1}, archive->decoding());
    });
}

int vaecomp_decode_rows(vaecomp_archive* archive, size_t tensor, size_t first, size_t count, void* data, size_t bytes,
                        vaecomp_error* error) {
    return with_archive(archive, error, [&] {
        const Tensor& own = tensor_of(*archive, tensor);
        require(!own.shape.empty(), "a tensor without dimensions has no rows");
        const std::size_t rows = own.shape.front(), row = rows == 0 ? 0 : own.count() / rows;
        require(first <= rows && count <= rows - first, "the tensor has fewer rows");
        const Destination part = destination_of(*archive, {tensor, first * row, count * row, data, bytes});
        archive->archive().decode({&part, 1}, archive->decoding());
    });
}

int vaecomp_decode_many(vaecomp_archive* archive, const vaecomp_output* outputs, size_t count, vaecomp_error* error) {
    return with_archive(archive, error, [&] {
        require(outputs != nullptr || count == 0, "outputs: null");
        Vector<Destination> destinations;
        for (std::size_t i = 0; i < count; ++i) destinations.push_back(destination_of(*archive, outputs[i]));
        archive->archive().decode(destinations, archive->decoding());
    });
}

int vaecomp_decode_members(const vaecomp_member_outputs* members, size_t count, vaecomp_error* error) {
    return guarded(error, [&] {
        require(members != nullptr || count == 0, "members: null");
        if (count == 0) return;
        require(members[0].member != nullptr && members[0].member->state->pack, "an archive is no member of a pack");
        const ContextScope scope(members[0].member->state->pack->context());
        Vector<Vector<Destination>> destinations(count);
        Vector<MemberDestinations> wanted;
        for (std::size_t m = 0; m < count; ++m) {
            const auto& [member, outputs, output_count] = members[m];
            require(member != nullptr && (outputs != nullptr || output_count == 0), "member or outputs: null");
            for (std::size_t i = 0; i < output_count; ++i) {
                require(outputs[i].first == 0 && outputs[i].count == tensor_of(*member, outputs[i].tensor).count(),
                        "of members whole tensors are decoded");
                destinations[m].push_back(destination_of(*member, outputs[i]));
            }
            wanted.push_back({member->archive(), destinations[m]});
        }
        Archive::decode_members(wanted, members[0].member->decoding());
    });
}

int vaecomp_verify(vaecomp_archive* archive, vaecomp_error* error) {
    return with_archive(archive, error, [&] { archive->archive().verify(archive->state->options.threads); });
}

const char* vaecomp_version(void) { return VAECOMP_VERSION; }
uint32_t vaecomp_abi_version(void) { return VAECOMP_ABI_VERSION; }
uint32_t vaecomp_format_version(void) { return format_version; }

const char* vaecomp_dtype_name(int32_t dtype) {
    return dtype >= 0 && static_cast<std::size_t>(dtype) < dtype_table.size()
               ? dtype_table[static_cast<std::size_t>(dtype)].name.data()
               : nullptr;
}

size_t vaecomp_dtype_bytes(int32_t dtype) {
    return dtype >= 0 && static_cast<std::size_t>(dtype) < dtype_table.size()
               ? dtype_table[static_cast<std::size_t>(dtype)].size
               : 0;
}

const char* vaecomp_code_name(int32_t code) {
    constexpr const char* names[] = {"ok",           "invalid argument", "malformed", "unsupported version",
                                     "checksum",     "missing pack",     "io",        "out of memory",
                                     "memory limit", "internal"};
    return code >= 0 && static_cast<std::size_t>(code) < std::size(names) ? names[code] : nullptr;
}
