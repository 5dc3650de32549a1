// What surrounds a Verilated board: the clock, the other end of the serial line, and the memory chip, which the caller has.
//
// In every cycle the outputs that the last rising edge made are read, the inputs are chosen, and the next edge is made. The
// outputs of a board are registers, so one evaluation an edge is enough. Everything here belongs to one `Board`; there is no
// other state. The structs that begin with `Raw` are shared with sys.rs, field by field.

#include "Vboard.h"

#include "design.h"

#include <cstdarg>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <type_traits>
#include <utility>
#include <vector>

namespace {

constexpr uint64_t NEVER = ~0ull;
constexpr unsigned RESET_CYCLES = 16;
// A start bit, eight data bits, a stop bit.
constexpr unsigned FRAME_BITS = 10;

enum Stop : uint32_t {
    STOP_VIOLATION = 1,
    STOP_RECEIVED = 2,
    STOP_SENT = 4,
    STOP_LEDS = 8,
};

}  // namespace

extern "C" {

// What a memory chip sees at an edge of its clock and what it drives afterwards, in the low half; a bit above tells of a broken
// rule.
typedef uint64_t (*RawChip)(void* user, uint32_t pins, uint32_t data);

struct RawBoardOptions {
    uint64_t seed;
    uint64_t clock_hz;
    uint64_t baud;
    uint8_t scramble;
};

struct RawBoardView {
    uint64_t now;
    uint64_t leds;
    // Bytes with a good stop bit, and others.
    uint64_t received;
    uint64_t misframed;
    // Bytes that have crossed the line to the board.
    uint64_t sent;
    // Bytes received since the last `run` began.
    const uint8_t* bytes;
    uint64_t byte_count;
    // Bytes that wait for the line or are on it.
    uint64_t sending;
    // Whether a byte from the board is on the line.
    uint8_t receiving;
    char violation[256];
};

}  // extern "C"

namespace {

template <typename Top, typename = void>
struct Chip {
    static constexpr bool PRESENT = false;
    static uint32_t pins(const Top&) { return 0; }
    static uint32_t data(const Top&) { return 0; }
    static void drive(Top&, uint32_t) {}
};

template <typename Top>
struct Chip<Top, std::void_t<decltype(std::declval<Top>().sdram_cs_n)>> {
    static constexpr bool PRESENT = true;
    static uint32_t pins(const Top& top) {
        return uint32_t(top.sdram_cke) | uint32_t(top.sdram_cs_n) << 1 | uint32_t(top.sdram_ras_n) << 2 |
               uint32_t(top.sdram_cas_n) << 3 | uint32_t(top.sdram_we_n) << 4 | uint32_t(top.sdram_dq_oe) << 5 |
               uint32_t(top.sdram_ba) << 6 | uint32_t(top.sdram_dqm) << 8 | uint32_t(top.sdram_a) << 16;
    }
    static uint32_t data(const Top& top) { return uint32_t(top.sdram_dq_out); }
    static void drive(Top& top, uint32_t data) { top.sdram_dq_in = static_cast<std::decay_t<decltype(top.sdram_dq_in)>>(data); }
};

class Board {
public:
    RawBoardView view = {};

    Board(const RawBoardOptions& options, RawChip chip, void* chip_user, RawWaves waves, void* waves_user)
        : m_clock_hz(options.clock_hz), m_baud(options.baud), m_chip(chip), m_chip_user(chip_user) {
        const char* args[] = {"board"};
        m_design = std::make_unique<Design<Vboard>>(1, args, options.scramble, options.seed, waves, waves_user);
        m_top = m_design->top.get();
        m_top->uart_rx = 1;
        reset();
    }

    // What is on the line or waits for it is forgotten on both sides.
    void reset() {
        m_queue.clear();
        m_queue_at = 0;
        m_send_at = m_sample_at = NEVER;
        m_send_bit = FRAME_BITS;
        m_on_the_line = false;
        m_stop = 0;
        m_top->uart_rx = 1;
        m_top->reset = 1;
        for (unsigned i = 0; i < RESET_CYCLES; ++i) step();
        m_top->reset = 0;
        m_powered = true;
        m_bytes.clear();
        m_sample_at = NEVER;
        m_line = true;
        view.sending = 0;
        view.receiving = 0;
        view.leds = uint64_t(m_top->led);
    }

    void send(const uint8_t* bytes, uint64_t count, uint32_t idle_bits) {
        for (uint64_t n = 0; n < count; ++n) m_queue.push_back(uint64_t(n == 0 ? idle_bits : 0) << 8 | bytes[n]);
        view.sending += count;
        if (count && m_send_at == NEVER) {
            m_send_at = m_send_origin = view.now;
            m_send_steps = 0;
        }
    }

    uint32_t run(uint64_t cycles, uint32_t stops) {
        m_stop = 0;
        m_bytes.clear();
        for (uint64_t n = 0; n < cycles; ++n) {
            step();
            if (VL_UNLIKELY(m_stop & (stops | STOP_VIOLATION))) break;
        }
        view.bytes = m_bytes.data();
        view.byte_count = m_bytes.size();
        view.receiving = m_sample_at != NEVER;
        return m_stop;
    }

    void flush() { m_design->flush(); }

private:
    uint64_t m_clock_hz;
    uint64_t m_baud;
    RawChip m_chip;
    void* m_chip_user;
    std::unique_ptr<Design<Vboard>> m_design;
    Vboard* m_top = nullptr;
    uint32_t m_stop = 0;
    // Before the first reset the outputs of a board say nothing.
    bool m_powered = false;

    // To the board. Bit edges are counted from the moment at which the line was idle last, so that no fraction of a cycle is lost
    // from byte to byte. An entry of the queue is a byte and, above it, the bit times for which the line is idle before it.
    std::vector<uint64_t> m_queue;
    size_t m_queue_at = 0;
    uint64_t m_send_at = NEVER;
    uint64_t m_send_origin = 0;
    uint64_t m_send_steps = 0;
    unsigned m_send_bit = FRAME_BITS;
    uint32_t m_send_byte = 0;
    bool m_on_the_line = false;

    // From the board.
    std::vector<uint8_t> m_bytes;
    bool m_line = true;
    uint64_t m_sample_at = NEVER;
    uint64_t m_start = 0;
    unsigned m_sample_bit = 0;
    uint32_t m_sample_byte = 0;

    void step() {
        if (VL_UNLIKELY(view.now >= m_send_at)) shift_out();
        if (Chip<Vboard>::PRESENT && m_chip && m_powered) {
            // Board and chip have the same edge: each sees what the other drove before it.
            const uint64_t answer = m_chip(m_chip_user, Chip<Vboard>::pins(*m_top), Chip<Vboard>::data(*m_top));
            if (VL_UNLIKELY(answer >> 32)) m_stop |= STOP_VIOLATION;
            m_design->tick(view.now);
            Chip<Vboard>::drive(*m_top, uint32_t(answer));
        } else {
            m_design->tick(view.now);
        }
        ++view.now;
        const bool line = m_top->uart_tx;
        if (VL_UNLIKELY(view.now >= m_sample_at)) {
            sample(line);
        } else if (VL_UNLIKELY(m_sample_at == NEVER && m_line && !line)) {
            m_start = view.now;
            m_sample_bit = 0;
            m_sample_at = middle(0);
        }
        m_line = line;
        const uint64_t leds = uint64_t(m_top->led);
        if (VL_UNLIKELY(leds != view.leds)) {
            view.leds = leds;
            m_stop |= STOP_LEDS;
        }
        if (VL_UNLIKELY(design_stopped)) {
            design_stopped = false;
            violate("the board stopped itself in cycle %llu, at line %d of its Verilog", (unsigned long long)view.now, design_line);
        }
    }

    void shift_out() {
        while (view.now >= m_send_at) {
            if (m_send_bit == FRAME_BITS) {
                if (m_on_the_line) {
                    m_on_the_line = false;
                    ++view.sent;
                    --view.sending;
                }
                if (m_queue_at == m_queue.size()) {
                    m_queue.clear();
                    m_queue_at = 0;
                    m_send_at = NEVER;
                    m_stop |= STOP_SENT;
                    return;
                }
                uint64_t& entry = m_queue[m_queue_at];
                const uint64_t idle = entry >> 8;
                m_send_byte = entry & 0xff;
                if (idle) {
                    entry = m_send_byte;
                    m_send_steps += idle;
                    m_send_at = edge();
                    continue;
                }
                ++m_queue_at;
                m_send_bit = 0;
                m_on_the_line = true;
            }
            const unsigned bit = m_send_bit++;
            m_top->uart_rx = bit == 0 ? 0 : bit <= 8 ? m_send_byte >> (bit - 1) & 1 : 1;
            ++m_send_steps;
            m_send_at = edge();
        }
    }

    uint64_t edge() const { return m_send_origin + m_send_steps * m_clock_hz / m_baud; }

    uint64_t middle(unsigned bit) const { return m_start + (2 * bit + 1) * m_clock_hz / (2 * m_baud); }

    void sample(bool line) {
        if (m_sample_bit == 0) {
            // Shorter than half a bit: no byte begins.
            if (line) {
                m_sample_at = NEVER;
                return;
            }
            m_sample_byte = 0;
        } else if (m_sample_bit <= 8) {
            m_sample_byte |= uint32_t(line) << (m_sample_bit - 1);
        } else {
            m_sample_at = NEVER;
            if (line) {
                ++view.received;
                m_bytes.push_back(uint8_t(m_sample_byte));
                m_stop |= STOP_RECEIVED;
            } else {
                ++view.misframed;
            }
            return;
        }
        m_sample_at = middle(++m_sample_bit);
    }

    void violate(const char* format, ...) __attribute__((format(printf, 2, 3))) {
        m_stop |= STOP_VIOLATION;
        // The first one is the cause of the others.
        if (view.violation[0]) return;
        va_list args;
        va_start(args, format);
        std::vsnprintf(view.violation, sizeof view.violation, format, args);
        va_end(args);
    }
};

}  // namespace

extern "C" {

#define EXPORT __attribute__((visibility("default")))

EXPORT uint64_t board_abi() { return uint64_t(sizeof(RawBoardView)) << 32 | sizeof(RawBoardOptions); }
EXPORT Board* board_open(const RawBoardOptions* options, RawChip chip, void* chip_user, RawWaves waves, void* waves_user) {
    return new Board(*options, chip, chip_user, waves, waves_user);
}
EXPORT void board_close(Board* board) { delete board; }
EXPORT const RawBoardView* board_view(Board* board) { return &board->view; }
EXPORT uint8_t board_has_chip() { return Chip<Vboard>::PRESENT; }
EXPORT void board_reset(Board* board) { board->reset(); }
EXPORT void board_flush(Board* board) { board->flush(); }
EXPORT void board_send(Board* board, const uint8_t* bytes, uint64_t count, uint32_t idle_bits) {
    board->send(bytes, count, idle_bits);
}
EXPORT uint32_t board_run(Board* board, uint64_t cycles, uint32_t stops) { return board->run(cycles, stops); }

}  // extern "C"
