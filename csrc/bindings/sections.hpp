// Parts of a new archive, as Python gives them.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "bindings/numpy.hpp"
#include "encode/archive.hpp"

namespace vaecomp::core::bindings {

inline Codec codec_of(const std::string& name) {
    if (name == "raw") return Codec::raw;
    if (name == "latent") return Codec::latent;
    if (name == "quantized") return Codec::quantized;
    require(name == "lossless", "a tensor's codec must be raw, latent, quantized, lossless or alias");
    return Codec::lossless;
}

inline SectionKind kind_of(const std::string& name) {
    if (name == "raw") return SectionKind::raw;
    if (name == "latents") return SectionKind::latents;
    if (name == "integer_decoder") return SectionKind::integer_decoder;
    if (name == "float32_decoder") return SectionKind::float32_decoder;
    if (name == "quantized") return SectionKind::quantized;
    if (name == "fleet") return SectionKind::fleet;
    if (name == "member") return SectionKind::member;
    if (name == "differences") return SectionKind::differences;
    require(name == "lossless",
            "a section must be raw, latents, integer_decoder, float32_decoder, quantized, lossless, fleet, member or "
            "differences");
    return SectionKind::lossless;
}

// A string's UTF-8, which lone surrogates have not; `what` is it for.
inline std::string text_of(const py::handle& text, const std::string& what) {
    require(PyUnicode_Check(text.ptr()), what + " must be a string, not " + py::repr(text).cast<std::string>());
    py::ssize_t size = 0;
    const char* const data = PyUnicode_AsUTF8AndSize(text.ptr(), &size);
    if (data != nullptr) return {data, static_cast<std::size_t>(size)};
    PyErr_Clear();
    throw Error(ErrorCode::invalid_argument, what + " " + py::repr(text).cast<std::string>() +
                                                 " holds lone surrogates, which no file can; rename it");
}

// (key, value).
using MetadataList = std::vector<std::pair<py::object, py::object>>;
inline std::vector<std::pair<std::string, std::string>> strings_of(const MetadataList& metadata) {
    std::vector<std::pair<std::string, std::string>> strings;
    for (const auto& [key, value] : metadata) {
        std::string own = text_of(key, "metadata key");
        strings.emplace_back(own, text_of(value, "the value of metadata '" + own + "'"));
    }
    return strings;
}

using SectionList = std::vector<std::pair<std::string, py::buffer>>;

// Sections with what holds their bytes.
struct Sections {
    explicit Sections(const SectionList& list) {
        for (const auto& [kind, bytes] : list) {
            buffers.emplace_back(bytes);
            parts.push_back({kind_of(kind), buffers.back().bytes()});
        }
    }

    std::vector<Buffer> buffers;
    Vector<NewSection> parts;
};

}  // namespace vaecomp::core::bindings
