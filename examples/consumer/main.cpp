// Decodes an archive's tensors in C++17. Prints their names and sizes, and writes their bytes to a file, one tensor
// behind another.
#include <cstdint>
#include <fstream>
#include <iostream>
#include <vaecomp.hpp>
#include <vector>

int main(int argc, char** argv) {
    if (argc != 3) {
        std::cerr << "usage: consumer_cpp ARCHIVE OUTPUT\n";
        return 2;
    }
    try {
        const vaecomp::Archive archive(argv[1]);
        std::ofstream output(argv[2], std::ios::binary);
        for (std::size_t t = 0; t < archive.size(); ++t) {
            const vaecomp::TensorInfo tensor = archive.info(t);
            std::vector<char> bytes(tensor.bytes);
            archive.decode(t, bytes.data(), bytes.size());
            output.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
            std::cout << tensor.name << ' ' << vaecomp_dtype_name(tensor.dtype) << ' ' << tensor.bytes << '\n';
        }
        output.close();
        if (!output) {
            std::cerr << "cannot write " << argv[2] << '\n';
            return 1;
        }
    } catch (const vaecomp::Error& error) {
        std::cerr << error.what() << '\n';
        return 1;
    }
    return 0;
}
