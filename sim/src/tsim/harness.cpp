// The clock, the memory and the host around the Verilated accelerator: one call simulates until something happens.
//
// In every cycle the outputs that the last rising edge made are read, the inputs are chosen, and the next edge is made. No output
// depends combinationally on an input, so one evaluation an edge is enough. Everything here belongs to one `Sim`; there is no
// other state. The structs that begin with `Raw` are shared with sys.rs, field by field.

#include "Vtandem.h"

#include "design.h"

#include <cstdarg>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <type_traits>
#include <vector>

#ifndef TANDEM_BUS_BITS
#error "TANDEM_BUS_BITS is the width of the memory bus"
#endif

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "signals are copied as little-endian bytes");

namespace {

constexpr unsigned BYTES = TANDEM_BUS_BITS / 8;
constexpr unsigned MAX_BEATS = 16;
constexpr unsigned PAGE = 4096;
constexpr unsigned MAX_BURSTS = 256;
constexpr unsigned EVENTS = 4096;
constexpr unsigned UNITS = 3;

constexpr uint32_t UNLIMITED = 0xffffffffu;

enum Stop : uint32_t {
    STOP_INTERRUPT = 1,
    STOP_ACCESS = 2,
    STOP_VIOLATION = 4,
    STOP_WATCHDOG = 8,
    STOP_EVENTS = 16,
};

enum Resp : uint8_t { OKAY = 0, DECERR = 3 };

}  // namespace

extern "C" {

struct RawOptions {
    uint64_t stress_seed;
    uint64_t watchdog_cycles;
    uint32_t latency;
    uint32_t bits_per_cycle;
    uint32_t outstanding_reads;
    uint32_t outstanding_writes;
    uint32_t mutant;
    uint8_t stress;
    uint8_t trace;
    uint8_t timeline;
    uint8_t scramble;
};

struct RawEvent {
    uint64_t cycle;
    uint8_t begin;
    uint8_t finish;
    uint8_t push;
    uint8_t pop;
    // Load, compute, store, fetch.
    uint8_t state[4];
    uint32_t insn[UNITS];
    // 1 while the program runs; a record with 0 ends the launch.
    uint32_t running;
};

struct RawView {
    // Counted over the running cycles since the last `tsim_clear`.
    uint64_t cycles;
    uint64_t state_cycles[4][8];
    uint64_t queued_sum[3];
    uint64_t token_sum[4];
    uint32_t queued_max[3];
    uint32_t token_max[4];
    uint32_t padding;
    uint64_t read_bytes;
    uint64_t write_bytes;
    uint64_t read_bursts;
    uint64_t write_bursts;
    // The present.
    uint64_t now;
    uint64_t begun_at[UNITS];
    uint64_t progress_at;
    uint32_t insn[UNITS];
    uint32_t tokens[4];
    uint32_t queued[3];
    uint8_t state[4];
    uint8_t running;
    uint8_t signalled;
    uint8_t access_resp;
    uint8_t reads_open;
    uint8_t writes_open;
    uint8_t spare[3];
    uint32_t access_value;
    uint32_t event_count;
    const RawEvent* events;
    char violation[256];
};

}  // extern "C"

namespace {

// Copies the bytes of a signal of any width out and in.
template <typename Signal>
void bytes_of(const Signal& signal, uint8_t* to) {
    std::memcpy(to, &signal, BYTES);
}

template <typename Signal>
void set_bytes(Signal& signal, const uint8_t* from) {
    std::memcpy(&signal, from, BYTES);
}

struct Random {
    uint64_t state;

    uint64_t next() {
        state += 0x9e3779b97f4a7c15ull;
        uint64_t z = state;
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
        z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
        return z ^ (z >> 31);
    }

    uint32_t below(uint32_t bound) { return static_cast<uint32_t>((next() >> 32) * bound >> 32); }
};

// Withholds a channel for a while, lets it through for a while. Most spells are short, a few are long enough to fill every
// queue behind the channel.
struct Gate {
    bool open = true;
    uint32_t left = 0;

    bool step(Random& random) {
        if (left == 0) {
            open = !open;
            uint32_t kind = random.below(16);
            left = kind < 10 ? 1 + random.below(3) : kind < 15 ? 1 + random.below(16) : 1 + random.below(120);
        }
        --left;
        return open;
    }
};

struct Read {
    uint64_t due;
    uint32_t addr;
    uint16_t beats;
    uint16_t at;
    bool exists;
    bool sampled;
    uint8_t data[MAX_BEATS * BYTES];
};

struct Write {
    uint64_t due;
    uint32_t addr;
    uint16_t beats;
    uint16_t at;
    bool exists;
    bool complete;
    bool committed;
    uint8_t data[MAX_BEATS * BYTES];
    uint64_t strobes[MAX_BEATS];
};

template <typename T>
struct Ring {
    std::vector<T> items = std::vector<T>(MAX_BURSTS);
    unsigned first = 0;
    unsigned count = 0;

    T& at(unsigned index) { return items[(first + index) % MAX_BURSTS]; }
    T& push() { return at(count++); }
    void pop() {
        first = (first + 1) % MAX_BURSTS;
        --count;
    }
    void clear() { first = count = 0; }
};

// What a master showed in a cycle in which the slave was not ready: it must show the same in the next.
struct Address {
    bool stalled = false;
    uint32_t addr = 0;
    uint8_t len = 0;
    uint8_t size = 0;
    uint8_t burst = 0;
};

struct Data {
    bool stalled = false;
    bool last = false;
    uint64_t strobe = 0;
    uint8_t bytes[BYTES] = {};
};

// A register access of the host.
struct Access {
    bool busy = false;
    bool write = false;
    bool address_valid = false;
    bool address_done = false;
    bool data_valid = false;
    bool data_done = false;
    uint32_t address_delay = 0;
    uint32_t data_delay = 0;
    uint32_t addr = 0;
    uint32_t value = 0;
    // The answer that is offered and not yet taken.
    bool offered = false;
    uint32_t offered_value = 0;
    uint8_t offered_resp = 0;
};

class Sim {
public:
    RawView view = {};

    Sim(const RawOptions& options, RawWaves waves, void* user) : m_options(options) {
        m_random.state = options.stress_seed;
        m_events.resize(EVENTS);
        view.events = m_events.data();
        const std::string mutant = "+mutant=" + std::to_string(options.mutant);
        const char* args[] = {"tandem", mutant.c_str()};
        m_design = std::make_unique<Design<Vtandem>>(options.mutant ? 2 : 1, args, options.scramble, options.stress_seed, waves,
                                                     user);
        m_top = m_design->top.get();
        reset();
    }

    void memory(uint8_t* bytes, uint64_t len, const uint8_t* pages, uint64_t page_count) {
        m_bytes = bytes;
        m_len = len;
        m_pages = pages;
        m_page_count = page_count;
    }

    // Holds the reset for four cycles; transactions under way are forgotten on both sides.
    void reset() {
        m_reads.clear();
        m_writes.clear();
        m_filling = 0;
        m_read_offered = m_response_offered = false;
        m_ar = m_aw = Address();
        m_w = Data();
        m_access = Access();
        view.violation[0] = 0;
        m_top->m_axi_arready = m_top->m_axi_awready = m_top->m_axi_wready = 0;
        m_top->m_axi_rvalid = m_top->m_axi_bvalid = 0;
        m_top->s_axil_awvalid = m_top->s_axil_wvalid = m_top->s_axil_arvalid = 0;
        m_top->s_axil_bready = m_top->s_axil_rready = 0;
        m_top->clock = 0;
        m_top->reset = 1;
        for (int i = 0; i < 4; ++i) tick();
        m_top->reset = 0;
        tick();
        m_last_running = m_last_interrupt = false;
        m_stop = 0;
        observe();
        m_stop = 0;
        view.signalled = 0;
        view.event_count = 0;
        view.progress_at = view.now;
    }

    // Forgets what was counted: a launch follows.
    void clear() {
        view.cycles = 0;
        std::memset(view.state_cycles, 0, sizeof view.state_cycles);
        std::memset(view.queued_sum, 0, sizeof view.queued_sum);
        std::memset(view.token_sum, 0, sizeof view.token_sum);
        std::memset(view.queued_max, 0, sizeof view.queued_max);
        std::memset(view.token_max, 0, sizeof view.token_max);
        view.read_bytes = view.write_bytes = view.read_bursts = view.write_bursts = 0;
        view.signalled = 0;
        std::memset(m_last_state, 0xff, sizeof m_last_state);
        touch();
    }

    // Hands out what was dumped so far.
    void flush() { m_design->flush(); }

    // Restarts the watchdog.
    void touch() { view.progress_at = view.now; }

    void access(bool write, uint32_t addr, uint32_t value) {
        m_access = Access();
        m_access.busy = true;
        m_access.write = write;
        m_access.addr = addr;
        m_access.value = value;
        if (m_options.stress) {
            // Either half of a write may come first, by far.
            m_access.address_delay = m_random.below(m_random.below(2) ? 2 : 12);
            m_access.data_delay = m_random.below(m_random.below(2) ? 2 : 12);
        }
    }

    void set_collect(bool trace, bool timeline) {
        m_options.trace = trace;
        m_options.timeline = timeline;
    }

    uint32_t run(uint64_t cycles) {
        view.event_count = 0;
        m_stop = 0;
        for (uint64_t n = 0; n < cycles; ++n) {
            drive();
            tick();
            observe();
            if (VL_UNLIKELY(m_stop)) break;
        }
        return m_stop;
    }

private:
    RawOptions m_options;
    std::unique_ptr<Design<Vtandem>> m_design;
    Vtandem* m_top = nullptr;
    Random m_random{0};
    std::vector<RawEvent> m_events;
    uint32_t m_stop = 0;

    uint8_t* m_bytes = nullptr;
    uint64_t m_len = 0;
    const uint8_t* m_pages = nullptr;
    uint64_t m_page_count = 0;

    Ring<Read> m_reads;
    Ring<Write> m_writes;
    // Position in `m_writes` of the burst whose data comes next.
    unsigned m_filling = 0;
    bool m_read_offered = false;
    bool m_response_offered = false;
    uint64_t m_credit = 0;
    bool m_prefer_write = false;

    enum Channel { AR, R, AW, W, B, LITE_RESPONSE, CHANNELS };
    Gate m_gates[CHANNELS];

    Address m_ar, m_aw;
    Data m_w;
    Access m_access;

    bool m_last_running = false;
    bool m_last_interrupt = false;
    uint8_t m_last_state[4] = {};
    uint32_t m_last_insn[UNITS] = {};

    void tick() {
        m_design->tick(view.now);
        ++view.now;
    }

    bool gate(Channel channel) { return !m_options.stress || m_gates[channel].step(m_random); }

    void violate(const char* format, ...) __attribute__((format(printf, 2, 3))) {
        m_stop |= STOP_VIOLATION;
        // The first one is the cause of the others.
        if (view.violation[0]) return;
        va_list args;
        va_start(args, format);
        std::vsnprintf(view.violation, sizeof view.violation, format, args);
        va_end(args);
    }

    bool exists(uint32_t addr) const { return addr / PAGE < m_page_count && m_pages[addr / PAGE]; }

    // ---- what the host and the memory do in this cycle

    void drive() {
        drive_memory();
        drive_access();
    }

    void drive_memory() {
        Vtandem& top = *m_top;
        const bool unlimited = m_options.bits_per_cycle == UNLIMITED;
        if (!unlimited) {
            const uint64_t most = m_options.bits_per_cycle > TANDEM_BUS_BITS ? m_options.bits_per_cycle : TANDEM_BUS_BITS;
            m_credit += m_options.bits_per_cycle;
            if (m_credit > most) m_credit = most;
        }
        const bool open_r = gate(R), open_w = gate(W), open_b = gate(B), open_ar = gate(AR), open_aw = gate(AW);

        bool read = !m_read_offered && m_reads.count && m_reads.at(0).due <= view.now && open_r;
        const bool room_w = m_filling < m_writes.count && open_w;
        bool write = room_w && top.m_axi_wvalid;
        if (!unlimited) {
            if (read && write && m_credit < 2 * TANDEM_BUS_BITS) {
                (m_prefer_write ? read : write) = false;
                // A turn is over when its word has moved.
                if (m_credit >= TANDEM_BUS_BITS) m_prefer_write = !m_prefer_write;
            }
            const uint64_t asked = TANDEM_BUS_BITS * (uint64_t(read) + uint64_t(write));
            if (asked > m_credit) {
                read = write = false;
            } else {
                m_credit -= asked;
            }
        }

        // Answers come before requests, so that a request is answered in the next cycle at the earliest.
        if (read) offer_read();
        top.m_axi_rvalid = m_read_offered;
        if (m_read_offered && top.m_axi_rready) {
            m_read_offered = false;
            view.read_bytes += BYTES;
            Read& head = m_reads.at(0);
            if (++head.at == head.beats) m_reads.pop();
            touch();
        }
        if (!m_response_offered && m_writes.count && m_writes.at(0).complete && m_writes.at(0).due <= view.now && open_b) {
            Write& head = m_writes.at(0);
            commit(head);
            top.m_axi_bresp = head.exists ? OKAY : DECERR;
            m_response_offered = true;
        }
        top.m_axi_bvalid = m_response_offered;
        if (m_response_offered && top.m_axi_bready) {
            m_response_offered = false;
            m_writes.pop();
            --m_filling;
            touch();
        }

        // Without stress, ready waits for valid: a master that waits for ready first is caught by the watchdog.
        const bool early = m_options.stress && m_random.below(2);
        top.m_axi_wready = write || (early && room_w && !top.m_axi_wvalid);
        m_w.stalled = top.m_axi_wvalid && !write;
        if (write) {
            accept_data();
        } else if (m_w.stalled) {
            m_w.last = top.m_axi_wlast;
            m_w.strobe = top.m_axi_wstrb;
            bytes_of(top.m_axi_wdata, m_w.bytes);
        }

        const bool room_ar = open_ar && m_reads.count < m_options.outstanding_reads;
        top.m_axi_arready = room_ar && (top.m_axi_arvalid || early);
        m_ar.stalled = top.m_axi_arvalid && !room_ar;
        if (top.m_axi_arvalid) {
            m_ar.addr = top.m_axi_araddr;
            m_ar.len = top.m_axi_arlen;
            m_ar.size = top.m_axi_arsize;
            m_ar.burst = top.m_axi_arburst;
            if (room_ar && check_address("read", m_ar)) {
                Read& burst = m_reads.push();
                burst.due = view.now + m_options.latency;
                burst.addr = m_ar.addr;
                burst.beats = m_ar.len + 1;
                burst.at = 0;
                burst.exists = exists(m_ar.addr);
                burst.sampled = false;
                ++view.read_bursts;
                // Memory may read as early as the address comes and as late as the data goes; stress does both.
                if (!m_options.stress || m_random.below(2)) sample(burst);
                touch();
            }
        }

        const bool room_aw = open_aw && m_writes.count < m_options.outstanding_writes;
        top.m_axi_awready = room_aw && (top.m_axi_awvalid || early);
        m_aw.stalled = top.m_axi_awvalid && !room_aw;
        if (top.m_axi_awvalid) {
            m_aw.addr = top.m_axi_awaddr;
            m_aw.len = top.m_axi_awlen;
            m_aw.size = top.m_axi_awsize;
            m_aw.burst = top.m_axi_awburst;
            if (room_aw && check_address("write", m_aw)) {
                Write& burst = m_writes.push();
                burst.addr = m_aw.addr;
                burst.beats = m_aw.len + 1;
                burst.at = 0;
                burst.exists = exists(m_aw.addr);
                burst.complete = burst.committed = false;
                ++view.write_bursts;
                touch();
            }
        }
    }

    bool check_address(const char* which, const Address& address) {
        const unsigned long long at = view.now;
        const uint32_t bytes = (uint32_t(address.len) + 1) * BYTES;
        if ((1u << address.size) != BYTES) {
            violate("the %s burst of cycle %llu has beats of %u bytes on a bus of %u", which, at, 1u << address.size, BYTES);
        } else if (address.burst != 1) {
            violate("the %s burst of cycle %llu has burst type %u, not INCR", which, at, address.burst);
        } else if (address.addr % BYTES) {
            violate("the %s burst of cycle %llu at %#x is not aligned to the %u bytes of the bus", which, at, address.addr, BYTES);
        } else if (address.len >= MAX_BEATS) {
            violate("the %s burst of cycle %llu has %u beats, more than 16", which, at, address.len + 1u);
        } else if (address.addr % PAGE + bytes > PAGE) {
            violate("the %s burst of cycle %llu at %#x of %u bytes crosses a 4 KiB boundary", which, at, address.addr, bytes);
        } else {
            return true;
        }
        return false;
    }

    void sample(Read& burst) {
        const uint64_t bytes = uint64_t(burst.beats) * BYTES;
        burst.sampled = true;
        if (burst.exists && burst.addr + bytes <= m_len) {
            std::memcpy(burst.data, m_bytes + burst.addr, bytes);
        } else {
            std::memset(burst.data, 0, bytes);
        }
    }

    void offer_read() {
        Read& head = m_reads.at(0);
        if (!head.sampled) sample(head);
        set_bytes(m_top->m_axi_rdata, head.data + head.at * BYTES);
        m_top->m_axi_rresp = head.exists ? OKAY : DECERR;
        m_top->m_axi_rlast = head.at + 1 == head.beats;
        m_read_offered = true;
    }

    void accept_data() {
        Write& burst = m_writes.at(m_filling);
        const bool last = burst.at + 1 == burst.beats;
        if (bool(m_top->m_axi_wlast) != last) {
            violate("WLAST is %u in beat %u of %u of the write burst at %#x (cycle %llu)", unsigned(m_top->m_axi_wlast),
                    burst.at + 1u, unsigned(burst.beats), burst.addr, (unsigned long long)view.now);
        }
        bytes_of(m_top->m_axi_wdata, burst.data + burst.at * BYTES);
        burst.strobes[burst.at] = m_top->m_axi_wstrb;
        ++burst.at;
        view.write_bytes += BYTES;
        touch();
        if (last) {
            burst.complete = true;
            burst.due = view.now + m_options.latency;
            ++m_filling;
            check_strobes(burst);
            // A write takes effect between its last beat and its response; stress does both. Writes of one master to the same
            // bytes take effect in order, so that the earlier ones go first.
            if (m_options.stress && m_random.below(2)) {
                for (unsigned at = 0; at < m_filling; ++at) commit(m_writes.at(at));
            }
        }
    }

    // The bytes of a burst are one range: a strobe that is off lies before or after the data. A burst that a reset has cut off
    // has no bytes.
    void check_strobes(const Write& burst) {
        int phase = 0;
        for (unsigned beat = 0; beat < burst.beats; ++beat) {
            for (unsigned byte = 0; byte < BYTES; ++byte) {
                const bool on = burst.strobes[beat] >> byte & 1;
                if (phase == 0 && on) phase = 1;
                if (phase == 1 && !on) phase = 2;
                if (phase == 2 && on) {
                    violate("the strobes of the write burst at %#x have a hole before byte %u (cycle %llu)", burst.addr,
                            beat * BYTES + byte, (unsigned long long)view.now);
                    return;
                }
            }
        }
    }

    void commit(Write& burst) {
        if (burst.committed) return;
        burst.committed = true;
        const uint64_t bytes = uint64_t(burst.beats) * BYTES;
        if (!burst.exists || burst.addr + bytes > m_len) return;
        const uint64_t all = BYTES == 64 ? ~0ull : (1ull << (BYTES % 64)) - 1;
        for (unsigned beat = 0; beat < burst.beats; ++beat) {
            uint8_t* to = m_bytes + burst.addr + beat * BYTES;
            const uint8_t* from = burst.data + beat * BYTES;
            const uint64_t strobe = burst.strobes[beat];
            if (strobe == all) {
                std::memcpy(to, from, BYTES);
                continue;
            }
            for (unsigned byte = 0; byte < BYTES; ++byte) {
                if (strobe >> byte & 1) to[byte] = from[byte];
            }
        }
    }

    void drive_access() {
        Vtandem& top = *m_top;
        Access& a = m_access;
        if (VL_LIKELY(!a.busy)) {
            top.s_axil_bready = top.s_axil_rready = 0;
            return;
        }
        const bool open = gate(LITE_RESPONSE);
        auto request = [](bool& valid, bool& done, uint32_t& delay) {
            if (!done && !valid) {
                if (delay == 0) valid = true;
                else --delay;
            }
        };
        request(a.address_valid, a.address_done, a.address_delay);
        if (a.write) {
            request(a.data_valid, a.data_done, a.data_delay);
            top.s_axil_awvalid = a.address_valid;
            top.s_axil_awaddr = a.addr;
            top.s_axil_wvalid = a.data_valid;
            top.s_axil_wdata = a.value;
            top.s_axil_wstrb = 15;
            top.s_axil_bready = open;
            const bool taken = top.s_axil_bvalid && open;
            if (a.address_valid && top.s_axil_awready) {
                a.address_valid = false;
                a.address_done = true;
            }
            if (a.data_valid && top.s_axil_wready) {
                a.data_valid = false;
                a.data_done = true;
            }
            if (taken) finish_access(top.s_axil_bresp, 0);
        } else {
            top.s_axil_arvalid = a.address_valid;
            top.s_axil_araddr = a.addr;
            top.s_axil_rready = open;
            const bool taken = top.s_axil_rvalid && open;
            if (a.address_valid && top.s_axil_arready) {
                a.address_valid = false;
                a.address_done = true;
            }
            if (taken) finish_access(top.s_axil_rresp, top.s_axil_rdata);
        }
    }

    void finish_access(uint8_t resp, uint32_t value) {
        m_access.busy = false;
        m_access.offered = false;
        view.access_resp = resp;
        view.access_value = value;
        m_stop |= STOP_ACCESS;
    }

    // ---- what the design shows after the edge

    void observe() {
        check_stable();
        check_answers();
        look();
        if (VL_UNLIKELY(design_stopped)) {
            design_stopped = false;
            violate("the design stopped itself in cycle %llu, at line %d of its Verilog", (unsigned long long)view.now, design_line);
        }
        // A register access that is done must not leave its requests up.
        if (m_stop & STOP_ACCESS) {
            m_top->s_axil_awvalid = m_top->s_axil_wvalid = m_top->s_axil_arvalid = 0;
        }
    }

    void check_stable() {
        const Vtandem& top = *m_top;
        if (VL_UNLIKELY(m_ar.stalled)) {
            check_address_stable("read address", m_ar, top.m_axi_arvalid, top.m_axi_araddr, top.m_axi_arlen, top.m_axi_arsize,
                                 top.m_axi_arburst);
        }
        if (VL_UNLIKELY(m_aw.stalled)) {
            check_address_stable("write address", m_aw, top.m_axi_awvalid, top.m_axi_awaddr, top.m_axi_awlen, top.m_axi_awsize,
                                 top.m_axi_awburst);
        }
        if (VL_UNLIKELY(m_w.stalled)) {
            uint8_t bytes[BYTES];
            bytes_of(top.m_axi_wdata, bytes);
            const char* what = !top.m_axi_wvalid                        ? "valid"
                               : bool(top.m_axi_wlast) != m_w.last      ? "WLAST"
                               : top.m_axi_wstrb != m_w.strobe          ? "strobes"
                               : std::memcmp(bytes, m_w.bytes, BYTES)   ? "data"
                                                                        : nullptr;
            if (what) unstable("write data", what);
        }
    }

    void check_address_stable(const char* channel, const Address& was, bool valid, uint32_t addr, uint8_t len, uint8_t size,
                              uint8_t burst) {
        const char* what = !valid              ? "valid"
                           : addr != was.addr  ? "address"
                           : len != was.len    ? "length"
                           : size != was.size  ? "size"
                           : burst != was.burst ? "burst type"
                                               : nullptr;
        if (what) unstable(channel, what);
    }

    void unstable(const char* channel, const char* what) {
        violate("the %s channel changed its %s in cycle %llu before the memory was ready", channel, what,
                (unsigned long long)view.now);
    }

    void check_answers() {
        const Vtandem& top = *m_top;
        Access& a = m_access;
        const bool answer = top.s_axil_bvalid || top.s_axil_rvalid;
        if (VL_LIKELY(!answer && !a.offered)) return;
        const bool wanted = a.busy && a.address_done && (!a.write || a.data_done);
        const bool right = a.write ? top.s_axil_bvalid && !top.s_axil_rvalid : top.s_axil_rvalid && !top.s_axil_bvalid;
        if (answer && !(wanted && right)) {
            violate("the register port answers in cycle %llu what nobody asked", (unsigned long long)view.now);
            return;
        }
        const uint32_t value = a.write ? 0 : top.s_axil_rdata;
        const uint8_t resp = a.write ? top.s_axil_bresp : top.s_axil_rresp;
        if (a.offered && (!answer || value != a.offered_value || resp != a.offered_resp)) {
            violate("the register port changed its answer in cycle %llu before the host was ready", (unsigned long long)view.now);
        }
        a.offered = answer;
        a.offered_value = value;
        a.offered_resp = resp;
    }

    void look() {
        const Vtandem& top = *m_top;
        const bool running = top.probe_running;
        const bool interrupt = top.irq;
        if (VL_UNLIKELY(interrupt && !m_last_interrupt)) {
            view.signalled = 1;
            m_stop |= STOP_INTERRUPT;
        }
        m_last_interrupt = interrupt;
        view.running = running;
        if (!running && !m_last_running) return;
        const uint8_t state[4] = {uint8_t(top.probe_load_state), uint8_t(top.probe_compute_state),
                                  uint8_t(top.probe_store_state), uint8_t(top.probe_fetch_state)};
        const uint32_t insn[UNITS] = {top.probe_load_insn, top.probe_compute_insn, top.probe_store_insn};
        const uint8_t begin =
            uint8_t(top.probe_load_begin | top.probe_compute_begin << 1 | top.probe_store_begin << 2);
        const uint8_t finish =
            uint8_t(top.probe_load_finish | top.probe_compute_finish << 1 | top.probe_store_finish << 2);
        const uint64_t tokens = top.probe_tokens, queued = top.probe_queued;
        if (running) {
            // What the last running cycle showed stays to be seen: it tells why the program stopped.
            std::memcpy(view.state, state, sizeof state);
            std::memcpy(view.insn, insn, sizeof insn);
            view.reads_open = uint8_t(m_reads.count < 255 ? m_reads.count : 255);
            view.writes_open = uint8_t(m_writes.count < 255 ? m_writes.count : 255);
            ++view.cycles;
            for (unsigned i = 0; i < 4; ++i) {
                ++view.state_cycles[i][state[i] & 7];
                view.tokens[i] = tokens >> 16 * i & 0xffff;
                view.token_sum[i] += view.tokens[i];
                if (view.tokens[i] > view.token_max[i]) view.token_max[i] = view.tokens[i];
            }
            for (unsigned i = 0; i < 3; ++i) {
                view.queued[i] = queued >> 16 * i & 0xffff;
                view.queued_sum[i] += view.queued[i];
                if (view.queued[i] > view.queued_max[i]) view.queued_max[i] = view.queued[i];
            }
        }
        if (begin | finish) {
            touch();
            for (unsigned i = 0; i < UNITS; ++i) {
                if (begin >> i & 1) view.begun_at[i] = view.now;
            }
        }
        if (m_options.trace | m_options.timeline) record(running, begin, finish, state, insn);
        if (VL_UNLIKELY(running && view.now - view.progress_at > m_options.watchdog_cycles)) m_stop |= STOP_WATCHDOG;
        m_last_running = running;
    }

    void record(bool running, uint8_t begin, uint8_t finish, const uint8_t* state, const uint32_t* insn) {
        const Vtandem& top = *m_top;
        const bool acts = begin | finish | top.probe_push | top.probe_pop;
        const bool changes = m_options.timeline && (running != m_last_running || std::memcmp(state, m_last_state, 4) ||
                                                    std::memcmp(insn, m_last_insn, sizeof m_last_insn));
        if (VL_LIKELY(!acts && !changes)) return;
        std::memcpy(m_last_state, state, sizeof m_last_state);
        std::memcpy(m_last_insn, insn, sizeof m_last_insn);
        RawEvent& event = m_events[view.event_count++];
        event.cycle = view.now;
        event.begin = begin;
        event.finish = finish;
        event.push = top.probe_push;
        event.pop = top.probe_pop;
        std::memcpy(event.state, state, sizeof event.state);
        std::memcpy(event.insn, insn, sizeof event.insn);
        event.running = running;
        // What a store wrote is read from memory in the cycle in which it finishes.
        const bool stored = m_options.trace && (finish & 4);
        if (stored || view.event_count == EVENTS) m_stop |= STOP_EVENTS;
    }
};

}  // namespace

extern "C" {

#define EXPORT __attribute__((visibility("default")))

EXPORT uint64_t tsim_abi() {
    return uint64_t(sizeof(RawView)) << 32 | uint64_t(sizeof(RawEvent)) << 16 | sizeof(RawOptions);
}
EXPORT Sim* tsim_open(const RawOptions* options, RawWaves waves, void* user) { return new Sim(*options, waves, user); }
EXPORT void tsim_close(Sim* sim) { delete sim; }
EXPORT const RawView* tsim_view(Sim* sim) { return &sim->view; }
EXPORT void tsim_memory(Sim* sim, uint8_t* bytes, uint64_t len, const uint8_t* pages, uint64_t count) {
    sim->memory(bytes, len, pages, count);
}
EXPORT void tsim_reset(Sim* sim) { sim->reset(); }
EXPORT void tsim_clear(Sim* sim) { sim->clear(); }
EXPORT void tsim_flush(Sim* sim) { sim->flush(); }
EXPORT void tsim_touch(Sim* sim) { sim->touch(); }
EXPORT void tsim_collect(Sim* sim, uint8_t trace, uint8_t timeline) { sim->set_collect(trace, timeline); }
EXPORT void tsim_access(Sim* sim, uint8_t write, uint32_t addr, uint32_t value) { sim->access(write, addr, value); }
EXPORT uint32_t tsim_run(Sim* sim, uint64_t cycles) { return sim->run(cycles); }

}  // extern "C"
