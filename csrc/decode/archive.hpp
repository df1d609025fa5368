// An open archive: index, and sections decoded on demand into the caller's buffers.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <span>

#include "core/containers.hpp"
#include "core/sha256.hpp"
#include "core/source.hpp"
#include "decode/accounting.hpp"
#include "decode/fleet.hpp"
#include "decode/lazy.hpp"
#include "decode/member.hpp"
#include "decode/section.hpp"
#include "format/index.hpp"
#include "format/sections.hpp"

namespace vaecomp::core {

// The chunks that one latents section makes.
struct ChunkSummary {
    std::size_t section, chunk_length, chunks, latent, padding;
};

struct DecodeOptions {
    bool verify = true;  // compare every tensor with its digest
    std::size_t threads = 0;
};

inline constexpr std::size_t all_elements = std::numeric_limits<std::size_t>::max();

// Where elements of tensor `tensor` of the index go, contiguous and in host byte order: all of them, or `count` from
// element `first` of its C order on.
struct Destination {
    std::size_t tensor;
    std::uint8_t* data;
    std::size_t first = 0, count = all_elements;
};

struct MemberDestinations;

// Safe to use from several threads at once.
class Archive {
  public:
    // The source must outlive the archive, and so must the pack if it is a member. Reads and checks the index; sections
    // are read and checked when they are used.
    explicit Archive(const Source& file, const Archive* pack = nullptr);
    Archive(const Archive&) = delete;
    Archive& operator=(const Archive&) = delete;

    [[nodiscard]] const Index& index() const { return index_; }
    // Of all bytes of the file.
    [[nodiscard]] const Sha256& hash() const;
    // Reads no other blocks than those with elements that are asked for. A digest is that of a whole tensor; elements
    // of a part are checked by the checksums of what they are made from. A tensor may have one destination.
    void decode(std::span<const Destination> destinations, const DecodeOptions& options) const;
    // Members of one pack, all at once: what its decoders make, they make for many members together.
    static void decode_members(std::span<const MemberDestinations> members, const DecodeOptions& options);
    // Checks every section and every digest.
    void verify(std::size_t threads) const;
    [[nodiscard]] Accounting accounting() const;
    [[nodiscard]] Vector<ChunkSummary> chunks() const;
    // Whether it has a fleet section, and that section, which it must have.
    [[nodiscard]] bool is_pack() const { return index_.find(SectionKind::fleet).has_value(); }
    [[nodiscard]] const Fleet& fleet(std::size_t threads) const;
    // Of an integer decoder's section, as the format has them: the decoders above hold theirs packed.
    [[nodiscard]] Vector<IntegerLayer> integer_layers(std::size_t section, std::size_t threads) const;

    // What sections need of the archive that they are in.
    [[nodiscard]] const Source& file() const { return file_; }
    [[nodiscard]] const Archive* pack() const { return pack_; }
    // Whose memory keeps what is read once.
    [[nodiscard]] const Context& context() const { return context_; }
    [[nodiscard]] const OpenSection& section(std::size_t number) const { return *sections_[number]; }
    // The member section, which it must have.
    [[nodiscard]] const OpenMember& member() const;
    // Of a pack: a tensor's values, which members are made from.
    [[nodiscard]] const Vector<float>& base(std::size_t tensor, std::size_t threads) const;
    // See find_owners.
    [[nodiscard]] std::size_t owner(std::size_t latents) const;

  private:
    // A section of a kind, which is the caller's to know.
    template <typename Kind>
    [[nodiscard]] const Kind& section_as(std::size_t number) const {
        return static_cast<const Kind&>(*sections_[number]);
    }
    static void decode_batch(std::span<const MemberDestinations> members, const DecodeOptions& options);
    [[nodiscard]] Vector<float> load_base(std::size_t tensor, std::size_t threads) const;
    void check_raw_tensor(const Tensor& tensor, std::size_t threads) const;
    void check_digests(std::span<const Destination> destinations, std::span<const std::uint64_t> digests) const;

    const Source& file_;
    const Archive* pack_;
    Context context_ = Context::current();
    Index index_;
    Vector<std::unique_ptr<OpenSection>> sections_;
    Lazy<Sha256> hash_;
    Lazy<Vector<std::size_t>> owners_;
    Vector<Lazy<Vector<float>>> bases_;  // by tensor of a pack
};

// What is wanted of one of several members: whole tensors.
struct MemberDestinations {
    const Archive& member;
    std::span<const Destination> destinations;
};

}  // namespace vaecomp::core
