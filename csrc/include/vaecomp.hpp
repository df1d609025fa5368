// Decoding latent archives (.vaec), for C++17: a header over the C interface of vaecomp.h, which has the details.
//
//     vaecomp::Archive archive("model.vaec");
//     std::vector<float> weights = archive.decode<float>("fc.weight");
//
// Failures are thrown as vaecomp::Error.
#ifndef VAECOMP_HPP
#define VAECOMP_HPP

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "vaecomp.h"

namespace vaecomp {

class Error : public std::runtime_error {
  public:
    explicit Error(const vaecomp_error& error) : std::runtime_error(error.message), code_(error.code) {}
    // Of vaecomp_code.
    int code() const noexcept { return code_; }

  private:
    int code_;
};

namespace detail {

// Calls a function of the C interface with an error behind its arguments.
template <typename... Parameters, typename... Arguments>
void call(int (*function)(Parameters...), Arguments... arguments) {
    vaecomp_error error = VAECOMP_ERROR_INIT;
    if (function(arguments..., &error) != VAECOMP_OK) throw Error(error);
}

template <typename T>
constexpr bool is_float = std::is_same_v<T, float> || std::is_same_v<T, double>;

// Whether elements of a dtype are objects of type T.
template <typename T>
bool holds(int32_t dtype) {
    switch (dtype) {
        case VAECOMP_BOOL: return std::is_same_v<T, bool>;
        case VAECOMP_FLOAT32: return std::is_same_v<T, float>;
        case VAECOMP_FLOAT64: return std::is_same_v<T, double>;
        case VAECOMP_UINT8:
        case VAECOMP_UINT16:
        case VAECOMP_UINT32:
        case VAECOMP_UINT64:
            return std::is_unsigned_v<T> && !std::is_same_v<T, bool> && sizeof(T) == vaecomp_dtype_bytes(dtype);
        case VAECOMP_INT8:
        case VAECOMP_INT16:
        case VAECOMP_INT32:
        case VAECOMP_INT64: return std::is_signed_v<T> && !is_float<T> && sizeof(T) == vaecomp_dtype_bytes(dtype);
        // Bits, for those who convert them.
        default:
            return std::is_same_v<T, std::byte> ||
                   (std::is_unsigned_v<T> && !std::is_same_v<T, bool> && sizeof(T) == vaecomp_dtype_bytes(dtype));
    }
}

}  // namespace detail

using Options = vaecomp_options;
inline Options default_options() { return VAECOMP_OPTIONS_INIT; }

// SHA-256.
using Hash = std::array<uint8_t, VAECOMP_HASH_BYTES>;

// A tensor as the archive describes it; views of strings and shape live as long as the archive.
struct TensorInfo {
    std::string_view name;
    const std::size_t* shape;
    std::size_t rank, elements, bytes;
    vaecomp_dtype dtype;
    vaecomp_codec codec;
    std::size_t same_data_as;

    std::size_t rows() const { return rank == 0 ? 1 : shape[0]; }
};

// An open archive. Safe to use from several threads at once; moved-from archives may only be destroyed or assigned to.
class Archive {
  public:
    explicit Archive(const std::string& path, const Options& options = default_options()) {
        open(vaecomp_open_file, path.c_str(), &options);
    }
    // The bytes must outlive the archive.
    Archive(const void* data, std::size_t bytes, const Options& options = default_options()) {
        open(vaecomp_open_memory, data, bytes, &options);
    }
    // What the reader's context points to must outlive the archive.
    explicit Archive(const vaecomp_reader& reader, const Options& options = default_options()) {
        open(vaecomp_open_reader, &reader, &options);
    }

    std::size_t size() const { return vaecomp_tensor_count(get()); }

    TensorInfo info(std::size_t tensor) const {
        vaecomp_tensor_info info = VAECOMP_TENSOR_INFO_INIT;
        detail::call(vaecomp_tensor, const_get(), tensor, &info);
        return {{info.name, info.name_bytes},
                info.shape,
                info.rank,
                info.elements,
                info.bytes,
                static_cast<vaecomp_dtype>(info.dtype),
                static_cast<vaecomp_codec>(info.codec),
                info.same_data_as};
    }

    std::size_t find(const std::string& name) const {
        std::size_t tensor = 0;
        detail::call(vaecomp_find, const_get(), name.c_str(), &tensor);
        return tensor;
    }

    std::map<std::string, std::string> metadata() const {
        std::map<std::string, std::string> entries;
        for (std::size_t i = 0; i < vaecomp_metadata_count(get()); ++i) {
            vaecomp_string key{}, value{};
            detail::call(vaecomp_metadata, const_get(), i, &key, &value);
            entries.emplace(std::string(key.data, key.bytes), std::string(value.data, value.bytes));
        }
        return entries;
    }

    // Of the file, by which members name their pack; reads the whole file once.
    Hash hash() const {
        Hash bytes{};
        detail::call(vaecomp_hash, get(), bytes.data());
        return bytes;
    }
    // Of a member: its pack's hash.
    std::optional<Hash> pack_hash() const {
        const uint8_t* const bytes = vaecomp_pack_hash(get());
        if (bytes == nullptr) return std::nullopt;
        Hash hash{};
        std::copy_n(bytes, hash.size(), hash.begin());
        return hash;
    }

    uint32_t format_version() const { return vaecomp_archive_version(get()); }

    vaecomp_accounting accounting() const {
        vaecomp_accounting bytes = VAECOMP_ACCOUNTING_INIT;
        detail::call(vaecomp_account, get(), &bytes);
        return bytes;
    }

    std::vector<vaecomp_chunks> chunk_groups() const {
        std::size_t count = 0;
        detail::call(vaecomp_chunk_groups, get(), static_cast<vaecomp_chunks*>(nullptr), &count);
        std::vector<vaecomp_chunks> groups(count, vaecomp_chunks VAECOMP_CHUNKS_INIT);
        detail::call(vaecomp_chunk_groups, get(), groups.data(), &count);
        return groups;
    }

    // A whole tensor to memory of exactly its size, in host byte order.
    void decode(std::size_t tensor, void* data, std::size_t bytes) const {
        detail::call(vaecomp_decode, get(), tensor, data, bytes);
    }

    void decode_rows(std::size_t tensor, std::size_t first, std::size_t count, void* data, std::size_t bytes) const {
        detail::call(vaecomp_decode_rows, get(), tensor, first, count, data, bytes);
    }

    // Several tensors, or parts of them, at once.
    void decode(const std::vector<vaecomp_output>& outputs) const {
        detail::call(vaecomp_decode_many, get(), outputs.data(), outputs.size());
    }

    // A whole tensor whose elements are objects of type T.
    template <typename T>
    std::vector<T> decode(const std::string& name) const {
        static_assert(!std::is_same_v<T, bool>, "std::vector<bool> has no bytes; decode to memory");
        const std::size_t tensor = find(name);
        const TensorInfo own = info(tensor);
        if (!detail::holds<T>(own.dtype)) {
            vaecomp_error error = VAECOMP_ERROR_INIT;
            error.code = VAECOMP_INVALID_ARGUMENT;
            const std::string message = "tensor '" + name + "' is " + vaecomp_dtype_name(own.dtype) +
                                        ", which is not the type that was asked for";
            message.copy(error.message, sizeof(error.message) - 1);
            throw Error(error);
        }
        std::vector<T> values(own.bytes / sizeof(T));
        decode(tensor, values.data(), own.bytes);
        return values;
    }

    void verify() const { detail::call(vaecomp_verify, get()); }

    // For functions of vaecomp.h.
    vaecomp_archive* get() const { return archive_.get(); }

  private:
    struct Close {
        void operator()(vaecomp_archive* archive) const { vaecomp_close(archive); }
    };

    const vaecomp_archive* const_get() const { return archive_.get(); }

    template <typename Function, typename... Arguments>
    void open(Function function, Arguments... arguments) {
        vaecomp_archive* archive = nullptr;
        detail::call(function, arguments..., &archive);
        archive_.reset(archive);
    }

    std::unique_ptr<vaecomp_archive, Close> archive_;
};

// How a member of the pack is opened. The pack may be closed before it.
inline Options with_pack(const Archive& pack, Options options = default_options()) {
    options.pack = pack.get();
    return options;
}

// Whole tensors of several members of one pack at once, which is faster than member by member.
struct MemberOutputs {
    const Archive& member;
    std::vector<vaecomp_output> outputs;
};
inline void decode_members(const std::vector<MemberOutputs>& members) {
    std::vector<vaecomp_member_outputs> wanted;
    for (const MemberOutputs& own : members) {
        wanted.push_back({own.member.get(), own.outputs.data(), own.outputs.size()});
    }
    detail::call(vaecomp_decode_members, static_cast<const vaecomp_member_outputs*>(wanted.data()), wanted.size());
}

}  // namespace vaecomp

#endif
