// An open archive: index, and sections decoded on demand into the caller's buffers.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <mutex>
#include <span>

#include "core/bytes.hpp"
#include "core/containers.hpp"
#include "decode/differences.hpp"
#include "decode/fleet.hpp"
#include "decode/targets.hpp"
#include "format/index.hpp"
#include "format/lossless.hpp"

namespace vaecomp::core {

// Bytes of the file by what they are for; they add up to the file's size.
struct Accounting {
    std::uint64_t container = 0, decoder = 0, latents = 0, weights = 0, tables = 0, passthrough = 0;
};

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

  private:
    // What sections or tensors hold, read when it is first asked for, to memory of the archive's own: members ask their
    // pack.
    template <typename Part>
    class Cache {
      public:
        explicit Cache(std::size_t parts) : parts_(parts) {}

        template <typename Load>
        const Part& get(std::size_t number, const Context& owner, Load load) {
            const std::scoped_lock lock(mutex_);
            std::unique_ptr<Part>& slot = parts_[number];
            if (slot) return *slot;
            const ContextScope scope({owner.memory, owner.runner, Context::current().alone});
            slot = std::make_unique<Part>(load());
            return *slot;
        }

      private:
        std::mutex mutex_;
        Vector<std::unique_ptr<Part>> parts_;
    };
    using LosslessSection = Vector<Vector<Plane>>;
    // What a section's checksum covers, with a reader of it behind the head's size.
    struct CheckedSection {
        LoadedBytes bytes;
        ByteReader reader;
    };

    [[nodiscard]] CheckedSection checked_section(std::size_t section, std::size_t threads) const;
    void check_contents(std::size_t section, std::size_t threads) const;
    // What the file's size allows a stream of symbols, or the bytes of a decoder, to number.
    [[nodiscard]] std::uint64_t most_symbols() const { return most_expansion * index_.counted_bytes(); }

    [[nodiscard]] const LatentGroup& group(std::size_t section, std::size_t threads) const;
    [[nodiscard]] const QuantizedSection& quantized(std::size_t section, std::size_t threads) const;
    [[nodiscard]] const LosslessSection& lossless(std::size_t section, std::size_t threads) const;
    [[nodiscard]] const DifferenceSection& differences(std::size_t section, std::size_t threads) const;
    // Of a pack.
    [[nodiscard]] const Vector<float>& base(std::size_t tensor, std::size_t threads) const;
    // Of a member.
    [[nodiscard]] const MemberLatents& member(std::size_t section, std::size_t threads) const;
    // Null if no tensor needs any.
    [[nodiscard]] const MemberLatents* latents(std::size_t threads) const;
    static void decode_batch(std::span<const MemberDestinations> members, const DecodeOptions& options);
    [[nodiscard]] Fleet load_fleet(std::size_t section, std::size_t threads) const;
    [[nodiscard]] Vector<float> load_base(std::size_t tensor, std::size_t threads) const;
    [[nodiscard]] LatentGroup load_group(std::size_t section, std::size_t threads) const;
    [[nodiscard]] QuantizedSection load_quantized(std::size_t section, std::size_t threads) const;
    [[nodiscard]] LosslessSection load_lossless(std::size_t section, std::size_t threads) const;
    [[nodiscard]] DifferenceSection load_differences(std::size_t section, std::size_t threads) const;
    [[noreturn]] void reject(std::size_t section, const char* field, const std::string& problem) const;

    // The section whose tensors a latents section makes: itself, or the quantized section that it is the base of.
    [[nodiscard]] std::size_t owner(std::size_t latents) const;
    [[nodiscard]] Vector<std::size_t> owners() const;
    // Whether a section may be the base of a quantized section.
    [[nodiscard]] bool makes_base(std::size_t base, std::size_t quantized) const;
    void decode_section(std::size_t section, std::span<const TensorTarget> targets, std::size_t threads,
                        Written written) const;
    void decode_raw_section(std::size_t section, std::span<const TensorTarget> targets, std::size_t threads,
                            Written written) const;
    void decode_quantized_section(std::size_t section, std::span<const TensorTarget> targets, std::size_t threads,
                                  Written written) const;
    void decode_lossless_section(std::size_t section, std::span<const TensorTarget> targets, std::size_t threads) const;
    void decode_differences_section(std::size_t section, std::span<const TensorTarget> targets, std::size_t threads,
                                    Written written) const;
    // What the pack, or the member section that is the base, makes of these elements of a section's tensors.
    [[nodiscard]] Vector<Prediction> predict(std::size_t section, std::optional<std::size_t> base,
                                             std::span<const Extent> elements, std::size_t threads) const;
    void decode_member_section(std::size_t section, std::span<const TensorTarget> targets, std::size_t threads,
                               Written written) const;
    // Base and decoders' values of elements of tensors; called from several threads at once.
    using MemberUse = FunctionRef<void(std::size_t tensor, std::size_t first, std::span<const float> values)>;
    void member_values(std::size_t section, std::span<const Extent> wanted, std::size_t threads, MemberUse use) const;
    [[nodiscard]] Vector<Extent> wanted_of(std::size_t section, std::span<const TensorTarget> targets) const;
    [[nodiscard]] Vector<std::size_t> places_of(std::size_t section) const;
    [[nodiscard]] Vector<BaseValues> base_values(std::size_t section, std::size_t base,
                                                 std::span<const TensorTarget> targets, std::size_t threads) const;
    void check_bools(const Tensor& tensor, const TensorTarget& target) const;
    void check_digests(std::span<const Destination> destinations, std::span<const std::uint64_t> digests) const;
    void check_raw_tensor(const Tensor& tensor, std::size_t threads) const;

    const Source& file_;
    const Archive* pack_;
    Context context_ = Context::current();
    mutable std::once_flag hashed_;
    mutable Sha256 hash_{};
    Index index_;
    mutable std::once_flag owners_found_;
    mutable Vector<std::size_t> owners_;
    mutable Cache<LatentGroup> groups_;
    mutable Cache<QuantizedSection> quantized_;
    mutable Cache<LosslessSection> lossless_;
    mutable Cache<DifferenceSection> differences_;
    mutable Cache<MemberLatents> members_;
    mutable Cache<Fleet> fleets_;
    mutable Cache<Vector<float>> bases_;  // by tensor
};

// What is wanted of one of several members: whole tensors.
struct MemberDestinations {
    const Archive& member;
    std::span<const Destination> destinations;
};

}  // namespace vaecomp::core
