#include "fuzz/seal_blocks.hpp"

#include <algorithm>

#include "format/planes.hpp"
#include "format/quantized.hpp"
#include "kernels/kernels.hpp"

namespace vaecomp::core::fuzz {
namespace {

// Walks through a head, and reads only what it needs to find the checksums.
class Walk {
  public:
    Walk(const Index& index, const Section& section, SectionPart& part)
        : index_(index),
          section_(section),
          part_(part),
          head_(part.head, 0, "head"),
          blocks_(part.blocks, 0, "blocks") {}

    void run() {
        switch (section_.kind) {
            case SectionKind::latents: latents(); break;
            case SectionKind::integer_decoder: integer_decoder(); break;
            case SectionKind::quantized: quantized(); break;
            case SectionKind::lossless: lossless(); break;
            case SectionKind::differences: differences(); break;
            case SectionKind::fleet: fleet(); break;
            case SectionKind::raw:
            case SectionKind::float32_decoder:
            case SectionKind::member: break;
        }
    }

  private:
    struct Block {
        std::size_t crc_at;
        std::uint64_t bytes;
    };
    using Directory = Vector<Block>;

    Directory directory(std::uint64_t symbols) {
        Directory blocks;
        for (std::uint64_t left = symbols; left > 0; left -= std::min<std::uint64_t>(left, block_symbols)) {
            const std::uint64_t bytes = head_.varint("");
            blocks.push_back({static_cast<std::size_t>(head_.offset()), bytes});
            head_.take(4, "");
        }
        return blocks;
    }

    void seal(const Directory& blocks, ByteReader& content) {
        for (const Block& block : blocks) {
            const Bytes bytes = content.take(block.bytes, "");
            store_le(part_.head.data() + block.crc_at, kernels().crc32c(bytes.data(), bytes.size()));
        }
    }

    void table() {
        head_.zigzag("");
        for (std::uint64_t size = head_.varint(""); size > 0; --size) head_.varint("");
    }

    Directory stream_head() {
        const std::uint64_t count = head_.varint("");
        head_.take(1, "");
        for (std::uint64_t segments = head_.varint(""); segments > 0; --segments) {
            head_.varint("");
            table();
        }
        return directory(count);
    }

    void stream() { seal(stream_head(), head_); }

    void coded_symbols(std::uint64_t count) {
        for (std::uint64_t tables = head_.varint(""); tables > 0; --tables) table();
        head_.take(1, "");
        seal(directory(count), blocks_);
    }

    void latents() {
        const std::uint64_t decoder = head_.varint("");
        for (int number = 0; number < 4; ++number) head_.varint("");
        if (decoder < index_.sections.size() && index_.sections[decoder].kind == SectionKind::integer_decoder) stream();
    }

    void parameter(std::uint64_t outputs, std::uint64_t bytes) {
        const auto form = static_cast<ParameterForm>(head_.fixed<std::uint8_t>(""));
        if (form == ParameterForm::one) head_.take(bytes, "");
        if (form == ParameterForm::each) head_.take(std::min(outputs, max_outputs) * bytes, "");
    }

    void integer_decoder() {
        for (std::uint64_t layers = head_.varint(""); layers > 0; --layers) {
            head_.varint("");
            const std::uint64_t outputs = head_.varint("");
            parameter(outputs, sizeof(std::int32_t));                  // bias
            parameter(outputs, sizeof(std::int32_t));                  // multiplier, or scale
            if (layers > 1) parameter(outputs, sizeof(std::uint8_t));  // shift
            stream();
        }
    }

    void fleet() {
        head_.varint("");
        for (std::uint64_t segments = head_.varint(""); segments > 0; --segments) {
            head_.varint("");
            table();
        }
        for (std::uint64_t groups = head_.varint(""); groups > 0; --groups) {
            head_.varint("");
            head_.varint("");
            for (std::uint64_t numbers = 2 * head_.varint("", 0, max_slices); numbers > 0; --numbers) head_.varint("");
            for (std::uint64_t tensors = head_.varint(""); tensors > 0; --tensors) head_.varint("");
            if (head_.varint("") > 0) stream();
        }
    }

    void matrix() {
        head_.take(2, "");
        const auto flags = head_.fixed<std::uint8_t>("");
        head_.varint("");
        if ((flags & codebook_flag) == 0) return;
        head_.zigzag("");
        head_.take(2 * std::min<std::uint64_t>(head_.varint(""), head_.remaining()), "");
    }

    void quantized() {
        head_.varint("");
        std::uint64_t symbols = 0;
        for (const std::size_t t : section_.tensors) {
            matrix();
            symbols += index_.tensors[t].count();
        }
        stream();
        coded_symbols(symbols);
    }

    void differences() {
        head_.varint("");
        head_.take(1, "");
        std::uint64_t symbols = 0;
        for (const std::size_t t : section_.tensors) {
            head_.take(1, "");
            head_.zigzag("");
            symbols += index_.tensors[t].count();
        }
        stream();
        coded_symbols(symbols);
    }

    Directory stored_blocks(std::size_t items) {
        Directory blocks;
        for (std::size_t b = 0; b < block_count(items); ++b) {
            blocks.push_back({static_cast<std::size_t>(head_.offset()), stored_size(b, items)});
            head_.take(4, "");
        }
        return blocks;
    }

    void split(const PlanesShape& shape) {
        head_.take(1, "");
        head_.varint("");
        head_.varint("");
        head_.take(1, "");
        head_.varint("");
        stream();
        coded_symbols(shape.items());
    }

    void plane(const PlanesShape& shape, PlaneForm form) {
        if (form == PlaneForm::coded) {
            const Directory blocks = stream_head();
            seal(blocks, is_small(shape) ? head_ : blocks_);
        } else if (is_small(shape)) {
            head_.take(shape.items(), "");
        } else {
            seal(stored_blocks(shape.items()), blocks_);
        }
    }

    void lossless() {
        for (const std::size_t t : section_.tensors) {
            const PlanesShape shape{index_.tensors[t].count(), index_.tensors[t].dtype};
            for (std::size_t p = 0; shape.items() > 0 && p < shape.item_bytes(); ++p) {
                const auto form = static_cast<PlaneForm>(head_.fixed<std::uint8_t>(""));
                if (form == PlaneForm::split) {
                    split(shape);
                    break;
                }
                plane(shape, form);
            }
        }
    }

    const Index& index_;
    const Section& section_;
    SectionPart& part_;
    ByteReader head_, blocks_;
};

}  // namespace

void seal_blocks(const Index& index, std::size_t section, SectionPart& part) {
    try {
        Walk(index, index.sections[section], part).run();
    } catch (const Error&) {
        // What follows the first nonsense keeps its checksums, because the decoder stops there, too.
    }
}

}  // namespace vaecomp::core::fuzz
