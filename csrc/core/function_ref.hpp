// A reference to a function that outlives it. It copies nothing and takes no memory. One made from a temporary may only
// be an argument.
#pragma once

#include <memory>
#include <type_traits>
#include <utility>

namespace vaecomp::core {

template <typename Signature>
class FunctionRef;

template <typename Result, typename... Arguments>
class FunctionRef<Result(Arguments...)> {
  public:
    template <typename Function>
    requires(!std::is_same_v<std::remove_cvref_t<Function>, FunctionRef> &&
             std::is_invocable_r_v<Result, Function&, Arguments...>) FunctionRef(Function&& function)
        : function_(const_cast<void*>(static_cast<const void*>(std::addressof(function)))),
          call_([](void* own, Arguments... arguments) -> Result {
              return (*static_cast<std::remove_reference_t<Function>*>(own))(std::forward<Arguments>(arguments)...);
          }) {}

    Result operator()(Arguments... arguments) const { return call_(function_, std::forward<Arguments>(arguments)...); }

  private:
    void* function_;
    Result (*call_)(void*, Arguments...);
};

}  // namespace vaecomp::core
