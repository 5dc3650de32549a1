// The ports of a verilated block by number, as 32-bit words, least significant first. `ports.inc` has a PORT(number, name) for
// each.
#include <cstdint>

#include "Vblock.h"
#include "verilated.h"

struct Bench {
    VerilatedContext context;
    Vblock block{&context};
};

namespace {

void put(CData &port, const uint32_t *words) { port = static_cast<CData>(words[0]); }
void put(SData &port, const uint32_t *words) { port = static_cast<SData>(words[0]); }
void put(IData &port, const uint32_t *words) { port = words[0]; }
void put(QData &port, const uint32_t *words) { port = static_cast<QData>(words[1]) << 32 | words[0]; }
template <std::size_t N> void put(VlWide<N> &port, const uint32_t *words) {
    for (std::size_t at = 0; at < N; ++at) port[at] = words[at];
}

void take(CData port, uint32_t *words) { words[0] = port; }
void take(SData port, uint32_t *words) { words[0] = port; }
void take(IData port, uint32_t *words) { words[0] = port; }
void take(QData port, uint32_t *words) {
    words[0] = static_cast<uint32_t>(port);
    words[1] = static_cast<uint32_t>(port >> 32);
}
template <std::size_t N> void take(const VlWide<N> &port, uint32_t *words) {
    for (std::size_t at = 0; at < N; ++at) words[at] = port[at];
}

}  // namespace

#define EXPORT extern "C" __attribute__((visibility("default")))

EXPORT void *bench_new() { return new Bench; }

EXPORT void bench_delete(Bench *bench) { delete bench; }

EXPORT void bench_eval(Bench *bench) { bench->block.eval(); }

EXPORT void bench_set(Bench *bench, uint32_t port, const uint32_t *words) {
    switch (port) {
#define PORT(number, name) \
    case number: put(bench->block.name, words); break;
#include "ports.inc"
#undef PORT
    }
}

EXPORT void bench_get(Bench *bench, uint32_t port, uint32_t *words) {
    switch (port) {
#define PORT(number, name) \
    case number: take(bench->block.name, words); break;
#include "ports.inc"
#undef PORT
    }
}
