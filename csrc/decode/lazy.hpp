// What is made when it is first asked for.
#pragma once

#include <memory>
#include <mutex>

#include "core/context.hpp"
#include "core/function_ref.hpp"

namespace vaecomp::core {

// Safe to use from several threads at once.
template <typename Part>
class Lazy {
  public:
    // Makes it to memory of the owner's own, as it stays when the caller, who may be another archive, is gone.
    const Part& get(const Context& owner, FunctionRef<Part()> make) const {
        const std::scoped_lock lock(mutex_);
        if (!part_) {
            const ContextScope scope({owner.memory, owner.runner, Context::current().alone});
            part_ = std::make_unique<Part>(make());
        }
        return *part_;
    }

  private:
    mutable std::mutex mutex_;
    mutable std::unique_ptr<const Part> part_;
};

}  // namespace vaecomp::core
