// A Verilated block of hw/src/stream, its ports by number as 32-bit words, least significant first.
//
// TANDEM_HEADER is what Verilator wrote for the block, TANDEM_TOP its class, and TANDEM_PORTS(PORT) a PORT(number, name) for each
// port. There is no state but the block; whoever drives it chooses the inputs of every cycle.

#include TANDEM_HEADER

#include "design.h"

#include <cstddef>
#include <cstdint>

namespace {

using Block = Design<TANDEM_TOP>;

void put(CData& port, const uint32_t* words) { port = static_cast<CData>(words[0]); }
void put(SData& port, const uint32_t* words) { port = static_cast<SData>(words[0]); }
void put(IData& port, const uint32_t* words) { port = words[0]; }
void put(QData& port, const uint32_t* words) { port = static_cast<QData>(words[1]) << 32 | words[0]; }
template <std::size_t N>
void put(VlWide<N>& port, const uint32_t* words) {
    for (std::size_t at = 0; at < N; ++at) port[at] = words[at];
}

void take(CData port, uint32_t* words) { words[0] = port; }
void take(SData port, uint32_t* words) { words[0] = port; }
void take(IData port, uint32_t* words) { words[0] = port; }
void take(QData port, uint32_t* words) {
    words[0] = static_cast<uint32_t>(port);
    words[1] = static_cast<uint32_t>(port >> 32);
}
template <std::size_t N>
void take(const VlWide<N>& port, uint32_t* words) {
    for (std::size_t at = 0; at < N; ++at) words[at] = port[at];
}

}  // namespace

extern "C" {

#define EXPORT __attribute__((visibility("default")))

// Registers and memories hold what the seed says, until reset or a write.
EXPORT Block* stream_open(uint64_t seed) {
    const char* arguments[] = {"stream"};
    return new Block(1, arguments, true, seed, nullptr, nullptr);
}

EXPORT void stream_close(Block* block) { delete block; }

EXPORT void stream_set(Block* block, uint32_t port, const uint32_t* words) {
    switch (port) {
#define PORT(number, name) \
    case number: put(block->top->name, words); break;
        TANDEM_PORTS(PORT)
#undef PORT
    }
}

EXPORT void stream_get(Block* block, uint32_t port, uint32_t* words) {
    switch (port) {
#define PORT(number, name) \
    case number: take(block->top->name, words); break;
        TANDEM_PORTS(PORT)
#undef PORT
    }
}

EXPORT void stream_eval(Block* block) { block->top->eval(); }

// One edge of the clock and back; the line of a `$stop`, or nothing.
EXPORT uint32_t stream_tick(Block* block) {
    design_stopped = false;
    block->tick(0);
    return design_stopped ? static_cast<uint32_t>(design_line) : 0;
}

}  // extern "C"
