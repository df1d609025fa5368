// decode_file ARCHIVE DIRECTORY [PACK]: decodes an archive, so that machines and compilers can be compared.
//
// Every tensor is decoded from the file, from memory and through a reader, whole and by rows. Members of a pack are
// also decoded together with other members. All must give the same bytes. These go, little-endian on every machine, to
// DIRECTORY/0, DIRECTORY/1 and so on. A line for each goes to standard output: number, dtype, shape and name, with tabs
// between.
#include <algorithm>
#include <bit>
#include <cstring>
#include <fstream>
#include <iostream>
#include <iterator>

#include "vaecomp.hpp"

namespace {

using vaecomp::Archive;
using vaecomp::TensorInfo;
using Bytes = std::vector<char>;

Bytes read_file(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    if (!file) throw std::runtime_error("'" + path + "' can not be read");
    return {std::istreambuf_iterator<char>(file), {}};
}

void write_file(const std::string& path, const Bytes& bytes) {
    std::ofstream file(path, std::ios::binary);
    file.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
    if (!file.flush()) throw std::runtime_error("'" + path + "' can not be written");
}

// Small requests, so that blocks are read alone as well.
vaecomp_reader reader_of(Bytes& file) {
    return {&file, file.size(), 1, [](void* context, std::uint64_t offset, void* data, std::size_t size) {
                std::memcpy(data, static_cast<const Bytes*>(context)->data() + offset, size);
                return 0;
            }};
}

Bytes decode_whole(const Archive& archive, std::size_t tensor) {
    Bytes values(archive.info(tensor).bytes);
    archive.decode(tensor, values.data(), values.size());
    return values;
}

// A third of the rows, then the others.
Bytes decode_by_rows(const Archive& archive, std::size_t tensor) {
    const TensorInfo info = archive.info(tensor);
    const std::size_t rows = info.rows(), head = rows / 3;
    Bytes values(info.bytes);
    const std::size_t head_bytes = rows == 0 ? 0 : info.bytes / rows * head;
    archive.decode_rows(tensor, 0, head, values.data(), head_bytes);
    archive.decode_rows(tensor, head, rows - head, values.data() + head_bytes, info.bytes - head_bytes);
    return values;
}

void make_little_endian(Bytes& values, vaecomp_dtype dtype) {
    if (std::endian::native == std::endian::little) return;
    const bool complex = dtype == VAECOMP_COMPLEX32 || dtype == VAECOMP_COMPLEX64 || dtype == VAECOMP_COMPLEX128;
    const std::size_t size = vaecomp_dtype_bytes(dtype) / (complex ? 2 : 1);
    for (char* number = values.data(); number != values.data() + values.size(); number += size) {
        std::reverse(number, number + size);
    }
}

void print(std::size_t tensor, const TensorInfo& info) {
    std::cout << tensor << '\t' << vaecomp_dtype_name(info.dtype) << '\t';
    for (std::size_t i = 0; i < info.rank; ++i) std::cout << (i == 0 ? "" : ",") << info.shape[i];
    std::cout << '\t' << info.name << '\n';
}

// With another member, which here is itself.
Bytes decode_with_another(const Archive& member, std::size_t tensor) {
    const TensorInfo info = member.info(tensor);
    Bytes values(info.bytes), others(info.bytes);
    vaecomp::decode_members({{member, {{tensor, 0, info.elements, values.data(), info.bytes}}},
                             {member, {{tensor, 0, info.elements, others.data(), info.bytes}}}});
    return others == values ? values : Bytes();
}

void decode_file(const std::string& path, const std::string& directory, const vaecomp::Options& options) {
    Bytes file = read_file(path);
    const Archive from_file(path, options), from_memory(file.data(), file.size(), options),
        from_reader(reader_of(file), options);
    from_reader.verify();
    for (std::size_t tensor = 0; tensor < from_file.size(); ++tensor) {
        const TensorInfo info = from_file.info(tensor);
        Bytes values = decode_whole(from_file, tensor);
        for (const Archive* archive : {&from_file, &from_memory, &from_reader}) {
            if (decode_whole(*archive, tensor) == values &&
                (info.rank == 0 || decode_by_rows(*archive, tensor) == values) &&
                (!archive->pack_hash() || decode_with_another(*archive, tensor) == values))
                continue;
            throw std::runtime_error("tensor '" + std::string(info.name) + "' depends on how it is read");
        }
        make_little_endian(values, info.dtype);
        write_file(directory + "/" + std::to_string(tensor), values);
        print(tensor, info);
    }
}

}  // namespace

int main(int count, char** arguments) {
    if (count != 3 && count != 4) {
        std::cerr << "usage: decode_file ARCHIVE DIRECTORY [PACK]\n";
        return 2;
    }
    try {
        std::optional<Archive> pack;
        if (count == 4) pack.emplace(arguments[3]);
        decode_file(arguments[1], arguments[2], pack ? vaecomp::with_pack(*pack) : vaecomp::default_options());
    } catch (const std::exception& error) {
        std::cerr << "decode_file: " << error.what() << '\n';
        return 1;
    }
}
