// What a caller of the library has chosen for its call: where memory comes from, and who runs tasks. Each thread has
// one; tasks take it along.
#pragma once

#include <cstddef>
#include <new>

namespace vaecomp::core {

class Memory {
  public:
    virtual ~Memory() = default;
    // Throws std::bad_alloc, or memory_limit.
    virtual void* allocate(std::size_t bytes, std::size_t alignment) = 0;
    virtual void deallocate(void* data, std::size_t bytes, std::size_t alignment) noexcept = 0;
};

// Runs task(work, i) for each i in [0, tasks) and returns when all have ended.
struct Runner {
    void* context;
    void (*run)(void* context, std::size_t tasks, void (*task)(void* work, std::size_t i), void* work);
};

struct Context {
    Memory* memory = nullptr;        // null: operator new
    const Runner* runner = nullptr;  // null: the threads of this process
    bool alone = false;              // in a runner's task, which shares no work itself

    // The context of this thread.
    static Context& current() {
        thread_local Context context;
        return context;
    }
};

class ContextScope {
  public:
    explicit ContextScope(const Context& context) : before_(Context::current()) { Context::current() = context; }
    ~ContextScope() { Context::current() = before_; }
    ContextScope(const ContextScope&) = delete;
    ContextScope& operator=(const ContextScope&) = delete;

  private:
    Context before_;
};

}  // namespace vaecomp::core
