// What every harness has: the Verilated design with its clock, its waves, and the moment in which it stops itself.
//
// It is included after the header that Verilator wrote for the design.

#pragma once

#include "verilated.h"
#if VM_TRACE
#include "verilated_vcd_c.h"
#endif

#include <cstdint>
#include <memory>
#include <string>

extern "C" {

// Receives the text of a waveform dump.
typedef int64_t (*RawWaves)(void* user, const char* text, uint64_t bytes);

}  // extern "C"

namespace {

#if VM_TRACE
class WaveFile final : public VerilatedVcdFile {
public:
    WaveFile(RawWaves write, void* user) : m_write(write), m_user(user) {}
    bool open(const std::string&) override { return true; }
    void close() override {}
    ssize_t write(const char* text, ssize_t bytes) override {
        // Losing a part of a dump is reported by the receiver; the simulation goes on.
        m_write(m_user, text, static_cast<uint64_t>(bytes));
        return bytes;
    }

private:
    RawWaves m_write;
    void* m_user;
};
#endif

// The design calls `$stop` or `$fatal`: there is no way to hand a pointer through, and a simulation is single-threaded.
thread_local bool design_stopped = false;
thread_local int design_line = 0;

void stop_design(int line) {
    design_stopped = true;
    design_line = line;
}

template <class Top>
class Design {
public:
    // `scramble`: registers and memories hold random values at first, not zeros.
    Design(int argc, const char** argv, bool scramble, uint64_t seed, RawWaves waves, void* user) {
        m_context.commandArgs(argc, argv);
        m_context.randReset(scramble ? 2 : 0);
        m_context.randSeed(static_cast<int>(seed & 0x3fffffff) + 1);
#if VM_TRACE
        m_context.traceEverOn(waves != nullptr);
#endif
        top = std::make_unique<Top>(&m_context, "");
#if VM_TRACE
        if (waves) {
            m_wave_file = std::make_unique<WaveFile>(waves, user);
            m_waves = std::make_unique<VerilatedVcdC>(m_wave_file.get());
            top->trace(m_waves.get(), 99);
            m_waves->open("waves");
        }
#else
        (void)waves;
        (void)user;
#endif
    }

    ~Design() {
        top->final();
#if VM_TRACE
        if (m_waves) m_waves->close();
#endif
    }

    // Both edges of the clock.
    void tick(uint64_t cycle) {
        top->clock = 1;
        top->eval();
        dump(2 * cycle);
        top->clock = 0;
        top->eval();
        dump(2 * cycle + 1);
    }

    // Hands out what was dumped so far.
    void flush() {
#if VM_TRACE
        if (m_waves) m_waves->flush();
#endif
    }

private:
    VerilatedContext m_context;

public:
    std::unique_ptr<Top> top;

private:
#if VM_TRACE
    std::unique_ptr<WaveFile> m_wave_file;
    std::unique_ptr<VerilatedVcdC> m_waves;
#endif

    void dump(uint64_t time) {
#if VM_TRACE
        if (m_waves) m_waves->dump(time);
#else
        (void)time;
#endif
    }
};

}  // namespace

void vl_finish(const char*, int line, const char*) VL_MT_UNSAFE { stop_design(line); }
void vl_stop(const char*, int line, const char*) VL_MT_UNSAFE { stop_design(line); }
void vl_fatal(const char*, int line, const char*, const char*) VL_MT_UNSAFE { stop_design(line); }
