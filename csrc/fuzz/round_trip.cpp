// Tensors made from the input, written by the encoder and decoded again: the same. And so a member of them.
#include <cmath>
#include <cstring>
#include <string>
#include <string_view>

#include "core/digest.hpp"
#include "core/sha256.hpp"
#include "encode/archive.hpp"
#include "encode/differences.hpp"
#include "encode/fleet.hpp"
#include "encode/latents.hpp"
#include "encode/lossless.hpp"
#include "encode/quantized.hpp"
#include "format/ordered.hpp"
#include "fuzz/target.hpp"
#include "kernels/chunk/chunk.hpp"

using namespace vaecomp::core;
using namespace vaecomp::core::fuzz;

namespace {

// What the input says, byte by byte; then zeros.
class Draw {
  public:
    Draw(const std::uint8_t* data, std::size_t size) : at_(data), end_(data + size) {}

    std::uint8_t byte() { return at_ == end_ ? std::uint8_t{0} : *at_++; }
    std::size_t below(std::size_t end) { return (byte() | std::size_t{byte()} << 8) % end; }
    bool chance() { return byte() % 2 != 0; }
    template <typename Value>
    Vector<Value> values(std::size_t count, int least, int most) {
        Vector<Value> values(count);
        for (Value& value : values) value = static_cast<Value>(least + byte() % (most - least + 1));
        return values;
    }

  private:
    const std::uint8_t* at_;
    const std::uint8_t* end_;
};

// The tensors of one section, the section, and what they must decode to.
struct Written {
    Vector<std::uint8_t> section;
    SectionKind kind{};
    Vector<Tensor> tensors;
    Vector<Vector<std::uint8_t>> data;

    void add(Codec codec, DType dtype, const Vector<std::size_t>& shape, const Vector<std::uint8_t>& bytes) {
        Tensor tensor{};
        tensor.codec = codec;
        tensor.dtype = dtype;
        tensor.shape = shape;
        tensor.digest = tensor_digest({bytes.data(), tensor.count(), dtype}, 1);
        tensors.push_back(std::move(tensor));
        data.push_back(bytes);
    }
};

Vector<std::size_t> draw_shape(Draw& draw) {
    Vector<std::size_t> shape(draw.below(4));
    for (std::size_t& length : shape) length = draw.below(9);
    // Sometimes enough for planes with blocks of their own.
    if (!shape.empty() && draw.byte() == 255) shape.back() = 4097;
    return shape;
}

std::size_t count_of(const Vector<std::size_t>& shape) {
    std::size_t count = 1;
    for (const std::size_t length : shape) count *= length;
    return count;
}

void draw_differences(Draw& draw, Codec codec, Written& written) {
    const auto dtype = static_cast<DType>(draw.below(dtype_table.size()));
    const Vector<std::size_t> shape = draw_shape(draw);
    written.add(codec, dtype, shape,
                draw.values<std::uint8_t>(count_of(shape) * info(dtype).size, 0, dtype == DType::boolean ? 1 : 255));
}

Written draw_raw(Draw& draw) {
    Written written;
    written.kind = SectionKind::raw;
    for (std::size_t left = draw.below(4); left > 0; --left) {
        draw_differences(draw, Codec::raw, written);
        const Vector<std::uint8_t>& data = written.data.back();
        written.section.insert(written.section.end(), data.begin(), data.end());
    }
    return written;
}

Written draw_lossless(Draw& draw) {
    Written written;
    written.kind = SectionKind::lossless;
    for (std::size_t left = draw.below(4); left > 0; --left) draw_differences(draw, Codec::lossless, written);
    Vector<PlanesSource> sources;
    for (std::size_t t = 0; t < written.tensors.size(); ++t) {
        sources.push_back({{written.tensors[t].count(), written.tensors[t].dtype}, written.data[t].data()});
    }
    written.section = encode_lossless(sources);
    return written;
}

Vector<std::uint8_t> converted(const Vector<float>& values, DType dtype) {
    Vector<std::uint8_t> data(values.size() * info(dtype).size);
    if (!values.empty()) write({data.data(), values.size(), dtype}, 0, values);
    return data;
}

// docs/kernels.md, 7, element by element.
float value_of(const QuantizedMatrix& matrix, std::size_t at, int symbol) {
    const std::size_t row = matrix.shape.columns == 0 ? 0 : at / matrix.shape.columns;
    const auto of = [&](Axis axis, std::size_t i) { return matrix.axes[axis].empty() ? 0 : int{matrix.axes[axis][i]}; };
    const int exponent = of(row_exponents, row) + of(column_exponents, at - row * matrix.shape.columns);
    const float root_two = 1.41421356f;
    const float step = exponent % 2 == 0 ? matrix.step : matrix.step * root_two;
    const float scale = std::ldexp(step, static_cast<int>(std::floor(exponent / 2.0)));
    const float value = matrix.codebook
                            ? matrix.codebook->values[static_cast<std::size_t>(symbol - matrix.codebook->first)]
                            : static_cast<float>(symbol);
    return value * scale;
}

QuantizedMatrix draw_matrix(Draw& draw, const Vector<std::size_t>& shape, int least, int most) {
    QuantizedMatrix matrix;
    matrix.shape = matrix_shape(shape);
    matrix.step = std::ldexp(1.0f + static_cast<float>(draw.byte() % 128) / 128.0f, draw.byte() % 8 - 4);
    matrix.level = draw.below(4);
    for (std::size_t axis = 0; axis < axis_count; ++axis) {
        const bool exponents = axis == row_exponents || axis == column_exponents;
        if (!draw.chance()) continue;
        matrix.axes[axis] = draw.values<std::int16_t>(matrix.length(axis), exponents ? -9 : 0, exponents ? 9 : 5);
    }
    if (draw.chance()) {
        matrix.codebook = Codebook{least, {}};
        for (int symbol = least; symbol <= most; ++symbol) {
            matrix.codebook->values.push_back(static_cast<float>(draw.byte() % 64 - 32) / 8.0f);
        }
    }
    return matrix;
}

Written draw_quantized(Draw& draw) {
    Written written;
    written.kind = SectionKind::quantized;
    Vector<QuantizedMatrix> matrices;
    Vector<Vector<std::int16_t>> symbols;
    for (std::size_t left = draw.below(4); left > 0; --left) {
        const Vector<std::size_t> shape = draw_shape(draw);
        const int least = draw.byte() - 128, most = least + draw.byte() % 16;
        matrices.push_back(draw_matrix(draw, shape, least, most));
        symbols.push_back(draw.values<std::int16_t>(count_of(shape), least, most));
        Vector<float> values;
        for (std::size_t i = 0; i < symbols.back().size(); ++i) {
            values.push_back(value_of(matrices.back(), i, symbols.back()[i]));
        }
        const auto dtype = static_cast<DType>(static_cast<std::size_t>(DType::f16) + draw.below(6));
        written.add(Codec::quantized, dtype, shape, converted(values, dtype));
    }
    const Vector<Symbols> views(symbols.begin(), symbols.end());
    written.section = encode_quantized(std::nullopt, matrices, views, 1 + draw.below(8));
    return written;
}

struct WrittenLatents {
    Vector<std::uint8_t> decoder;
    Written latents;
};

// One layer, whose sums are exact in float32.
WrittenLatents draw_latents(Draw& draw, std::size_t decoder_section) {
    const std::size_t inputs = 1 + draw.below(5), chunk = 1 + draw.below(9), chunks = 1 + draw.below(5),
                      padding = draw.below(chunk);
    IntegerLayer layer{inputs,
                       chunk,
                       draw.values<std::int8_t>(inputs * chunk, -128, 127),
                       draw.values<std::int32_t>(chunk, -128, 127),
                       {},
                       {},
                       Vector<float>(chunk, 0.125f)};
    const auto z = draw.values<std::int8_t>(chunks * inputs, -128, 127);
    Vector<float> values;
    for (std::size_t i = 0; i < chunks * chunk - padding; ++i) {
        int sum = layer.bias[i % chunk];
        for (std::size_t j = 0; j < inputs; ++j) {
            sum += z[i / chunk * inputs + j] * layer.weight[i % chunk * inputs + j];
        }
        values.push_back(static_cast<float>(sum) / 8);
    }
    const std::size_t weights[] = {layer.weight.size()}, all[] = {z.size()};
    const std::span<const std::size_t> segments[] = {weights};
    WrittenLatents written;
    written.decoder = encode_integer_decoder({&layer, 1}, segments);
    written.latents.kind = SectionKind::latents;
    written.latents.section = encode_int8_latents({decoder_section, chunk, chunks, inputs, padding}, z, all);
    const auto dtype = static_cast<DType>(static_cast<std::size_t>(DType::f16) + draw.below(6));
    written.latents.add(Codec::latent, dtype, {values.size()}, converted(values, dtype));
    return written;
}

String draw_name(Draw& draw, std::size_t number) {
    String name(draw.below(5), 'n');
    for (char& letter : name) letter = static_cast<char>(draw.byte() % 128);
    return name + String(std::to_string(number));
}

struct StateDict {
    Vector<std::uint8_t> file;
    Vector<Tensor> tensors;
    Vector<Vector<std::uint8_t>> data;
};

StateDict write(Draw& draw) {
    Vector<Written> parts;
    parts.push_back(draw_raw(draw));
    parts.push_back(draw_lossless(draw));
    parts.push_back(draw_quantized(draw));
    auto [decoder, latents] = draw_latents(draw, 4);
    parts.push_back(std::move(latents));
    Vector<NewSection> sections;
    StateDict result;
    for (const Written& part : parts) {
        for (std::size_t t = 0; t < part.tensors.size(); ++t) {
            Tensor tensor = part.tensors[t];
            tensor.section = sections.size();
            tensor.name = draw_name(draw, result.tensors.size());
            result.tensors.push_back(std::move(tensor));
            result.data.push_back(part.data[t]);
        }
        sections.push_back({part.kind, part.section});
    }
    sections.push_back({SectionKind::integer_decoder, decoder});
    const Vector<std::uint8_t> fleet = encode_fleet({}, {});
    sections.push_back({SectionKind::fleet, fleet});
    Tensor alias{};
    alias.name = "alias";
    alias.codec = Codec::alias;
    alias.section = draw.below(result.tensors.size());
    result.data.push_back(result.data[alias.section]);
    result.tensors.push_back(std::move(alias));
    const Vector<std::pair<std::string, std::string>> metadata = {{"key", std::string(draw.below(9), 'v')}};
    result.file = write_archive(metadata, sections, result.tensors);
    return result;
}

// Any bits, but where the levels say that nothing changes.
Vector<std::uint8_t> draw_changed(Draw& draw, const DifferenceMatrix& matrix, const Vector<std::uint8_t>& predicted) {
    const std::size_t item = info(matrix.shape.dtype).size, columns = matrix.shape.matrix.columns;
    Vector<std::uint8_t> data = predicted;
    for (std::size_t i = 0; i < data.size() / item; ++i) {
        if (!matrix.rows.empty() && matrix.rows[i / columns] == 0) continue;
        if (!matrix.columns.empty() && matrix.columns[i % columns] == 0) continue;
        for (std::size_t b = 0; b < item; ++b)
            data[i * item + b] = static_cast<std::uint8_t>(data[i * item + b] ^ draw.byte());
    }
    return data;
}

// A member whose floats are differences from the pack's, the other tensors being the pack's.
StateDict write_member_of(Draw& draw, const StateDict& pack) {
    StateDict member{{}, pack.tensors, pack.data};
    Vector<DifferenceSource> sources;
    for (std::size_t t = 0; t < pack.tensors.size(); ++t) {
        Tensor& tensor = member.tensors[t];
        if (tensor.codec == Codec::alias) {
            member.data[t] = member.data[tensor.section];
            tensor.codec = Codec::shared;
        } else if (!is_ordered(tensor.dtype)) {
            tensor.codec = Codec::shared;
        } else {
            DifferenceSource source{
                {{matrix_shape(tensor.shape), tensor.dtype}, draw.byte() % 64 - 32, {}, {}}, {}, {}};
            DifferenceMatrix& matrix = source.matrix;
            if (draw.chance()) matrix.rows = draw.values<std::int16_t>(matrix.shape.matrix.rows, 0, 5);
            if (draw.chance()) matrix.columns = draw.values<std::int16_t>(matrix.shape.matrix.columns, 0, 5);
            member.data[t] = draw_changed(draw, matrix, pack.data[t]);
            source.data = member.data[t].data();
            source.predicted = pack.data[t].data();
            sources.push_back(std::move(source));
            tensor.codec = Codec::differences;
            tensor.section = 0;
            tensor.digest = tensor_digest({member.data[t].data(), tensor.count(), tensor.dtype}, 1);
        }
    }
    const Vector<std::uint8_t> section =
        encode_differences(std::nullopt, static_cast<unsigned>(draw.below(2)), sources, 1 + draw.below(8));
    const NewSection sections[] = {{SectionKind::differences, section}};
    Sha256Hasher hasher;
    hasher.add(pack.file);
    const Index index = read_index(MemorySource(pack.file));
    member.file =
        write_member({index, hasher.finish()}, {}, std::span(sections).first(sources.empty() ? 0 : 1), member.tensors);
    return member;
}

void require_back(const StateDict& written, const Handle& archive) {
    VAECOMP_REQUIRE(archive && vaecomp_tensor_count(archive.get()) == written.tensors.size());
    for (std::size_t t = 0; t < written.tensors.size(); ++t) {
        const vaecomp_tensor_info own = info(archive, t);
        VAECOMP_REQUIRE(std::string_view(own.name, own.name_bytes) == written.tensors[t].name);
        const Decoded tensor = decode(archive, t);
        VAECOMP_REQUIRE(tensor.code == VAECOMP_OK);
        VAECOMP_REQUIRE(
            std::equal(tensor.data.begin(), tensor.data.end(), written.data[t].begin(), written.data[t].end()));
    }
    VAECOMP_REQUIRE(vaecomp_verify(archive.get(), nullptr) == VAECOMP_OK);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    Draw draw(data, size);
    const StateDict written = write(draw), changed = write_member_of(draw, written);
    const Handle archive = open(written.file.data(), written.file.size(), true);
    require_back(written, archive);
    require_back(changed, open(changed.file.data(), changed.file.size(), true, archive.get()));
    return 0;
}
