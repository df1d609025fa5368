// Opening, and all that an archive says of itself before anything is decoded.
#include <cstring>

#include "fuzz/target.hpp"

using namespace vaecomp::core::fuzz;

namespace {

struct Input {
    const std::uint8_t* data;
    std::size_t size;
};

int read_input(void* context, std::uint64_t offset, void* data, std::size_t size) {
    const auto& input = *static_cast<const Input*>(context);
    VAECOMP_REQUIRE(offset <= input.size && size <= input.size - offset);
    std::memcpy(data, input.data + offset, size);
    return 0;
}

// A reader must only be asked for what is there, and give the same archive.
void require_same_through_a_reader(Input input, const Handle& archive) {
    const vaecomp_reader reader{&input, input.size, 1, read_input};
    const vaecomp_options chosen = options(true);
    vaecomp_archive* other = nullptr;
    const int code = vaecomp_open_reader(&reader, &chosen, &other, nullptr);
    const Handle handle(other);
    VAECOMP_REQUIRE((code == VAECOMP_OK) == (archive != nullptr));
    if (archive) VAECOMP_REQUIRE(vaecomp_tensor_count(other) == vaecomp_tensor_count(archive.get()));
}

void require_sound_tensor(const Handle& archive, std::size_t tensor) {
    const vaecomp_tensor_info own = info(archive, tensor), owner = info(archive, own.same_data_as);
    VAECOMP_REQUIRE(own.name != nullptr && own.name[own.name_bytes] == '\0' && own.rank <= 32);
    VAECOMP_REQUIRE(own.bytes == own.elements * vaecomp_dtype_bytes(own.dtype));
    std::size_t elements = 1;
    for (std::size_t d = 0; d < own.rank; ++d) elements *= own.shape[d];
    VAECOMP_REQUIRE(own.elements == elements);
    VAECOMP_REQUIRE((own.codec == VAECOMP_ALIAS) == (own.same_data_as != tensor));
    VAECOMP_REQUIRE(owner.codec != VAECOMP_ALIAS && owner.bytes == own.bytes && owner.dtype == own.dtype);
    std::size_t found = 0;
    const bool is_c_string = std::strlen(own.name) == own.name_bytes;
    VAECOMP_REQUIRE(!is_c_string ||
                    (vaecomp_find(archive.get(), own.name, &found, nullptr) == VAECOMP_OK && found == tensor));
}

void require_every_byte_counted(const Handle& archive, std::size_t size) {
    vaecomp_accounting bytes = VAECOMP_ACCOUNTING_INIT;
    vaecomp_error error = VAECOMP_ERROR_INIT;
    const int code = vaecomp_account(archive.get(), &bytes, &error);
    if (code != VAECOMP_OK) return require_described(code, error);
    VAECOMP_REQUIRE(
        bytes.container + bytes.decoder + bytes.latents + bytes.weights + bytes.tables + bytes.passthrough == size);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const Handle archive = open(data, size, true);
    require_same_through_a_reader({data, size}, archive);
    std::uint64_t bytes = 0;
    const bool has_header = size >= VAECOMP_HEADER_BYTES && vaecomp_file_bytes(data, &bytes, nullptr) == VAECOMP_OK;
    if (!archive) return 0;
    VAECOMP_REQUIRE(has_header && bytes == size && vaecomp_archive_version(archive.get()) == 1);
    for (std::size_t t = 0; t < vaecomp_tensor_count(archive.get()); ++t) require_sound_tensor(archive, t);
    for (std::size_t m = 0; m < vaecomp_metadata_count(archive.get()); ++m) {
        vaecomp_string key{}, value{};
        VAECOMP_REQUIRE(vaecomp_metadata(archive.get(), m, &key, &value, nullptr) == VAECOMP_OK);
        VAECOMP_REQUIRE(key.data[key.bytes] == '\0' && value.data[value.bytes] == '\0');
    }
    require_every_byte_counted(archive, size);
    return 0;
}
