// Products with weights of four bits: out = a bᵀ, with scales of groups of channels and with the last channels in eight bits.
//
// SCHEME: 0 activations of four bits, 1 of eight, 2 of bfloat16. TILES: tiles of 8 rows of activations that a block has. WHOLE: whether
// groups are of whole chunks of 128 channels, and rows of activations and weights of whole vectors of 16 bytes.
//
// A block has 16 output channels, whose weights are the left operand of mma.sync and go from memory to its registers. A sum does not
// depend on the order of its channels, so a thread's channels are those that lie side by side in memory. The warps of a block take
// groups in turn and add what they have at the end, in their order.
#include "prelude.cuh"

#define WARPS 8
#define CHANNELS 16
#define ROWS (TILES * 8)
#define CHUNK 128

#if SCHEME == 0
#define X_WORDS 1
#elif SCHEME == 1
#define X_WORDS 2
#else
#define X_WORDS 4
#endif
// Of products of codes, and of what they are worth.
#if SCHEME == 2
typedef float Sum;
#else
typedef int Sum;
#endif
#if SCHEME == 1
typedef int Total;
#else
typedef float Total;
#endif

struct Operands {
    const u8* a;
    const float* a_scale;
    const i8* a8;
    const float* a8_scale;
    const u8* b;
    const u16* b_scale;
    const u8 *b_step, *b_zero;
    const i8* b8;
    // That of b8, or of all of a row.
    const float* row_scale;
    u16* out;
};

// What becomes of the codes of a group in two rows of weights: each word is of one of them.
struct Group {
    u32 step[2], minus[2];
    float scale[2];
};

// The sums of the bytes of two words.
DEVICE u32 add_bytes(u32 x, u32 y) { return ((x & 0x7f7f7f7fu) + (y & 0x7f7f7f7fu)) ^ ((x ^ y) & 0x80808080u); }
// x less y, both of two bfloat16; `minus` is -y.
DEVICE u32 add_bf16_pairs(u32 x, u32 minus) { return fma_bf16x2(x, 0x3f803f80u, minus); }

DEVICE Group group_at(const Operands& operands, const size_t (&rows)[2], size_t group, int n) {
    Group all;
#pragma unroll
    for (int i = 0; i < 2; i++) {
        const size_t at = group * n + rows[i];
#if SCHEME == 0
        // Codes are in the high half of a byte, in both operands.
        all.scale[i] = bf16_to_float(operands.b_scale[at]) * (1.0f / 256.0f);
#elif SCHEME == 1
        all.step[i] = operands.b_step[at];
        all.minus[i] = (256u - operands.b_zero[at] * all.step[i] & 0xffu) * 0x01010101u;
#else
        all.scale[i] = bf16_to_float(operands.b_scale[at]);
        // -(128 + zero) as bfloat16, whose last bit is worth 1.
        all.minus[i] = (0xc300u | operands.b_zero[at]) * 0x00010001u;
#endif
    }
    return all;
}

// Adds the products of 8 channels a thread with codes of four bits: a word of each of two rows of weights.
DEVICE void add_codes(Sum (&sums)[TILES][4], const u32 (&w)[2], const Group& group, const u32 (&x)[TILES][X_WORDS]) {
#if SCHEME == 2
#pragma unroll
    for (int part = 0; part < 2; part++) {
        u32 a[4];
#pragma unroll
        for (int i = 0; i < 4; i++) {
            // 128 + code: bits below the exponent are worth 1. The pairs are of codes that lie four apart.
            const u32 codes = w[i % 2] >> 4 * (2 * part + i / 2) & 0x000f000fu | 0x43004300u;
            a[i] = add_bf16_pairs(codes, group.minus[i % 2]);
        }
#pragma unroll
        for (int tile = 0; tile < TILES; tile++) {
            const u32 low = x[tile][part], high = x[tile][part + 2];
            const u32 b[2] = {__byte_perm(low, high, 0x5410), __byte_perm(low, high, 0x7632)};
            mma_bf16(sums[tile], a, b);
        }
    }
#else
    // Codes of even channels, then those of odd ones.
    u32 a[4];
#pragma unroll
    for (int i = 0; i < 2; i++) {
#if SCHEME == 0
        a[i] = w[i] << 4 & 0xf0f0f0f0u;
        a[i + 2] = w[i] & 0xf0f0f0f0u;
#else
        a[i] = add_bytes((w[i] & 0x0f0f0f0fu) * group.step[i], group.minus[i]);
        a[i + 2] = add_bytes((w[i] >> 4 & 0x0f0f0f0fu) * group.step[i], group.minus[i]);
#endif
    }
#pragma unroll
    for (int tile = 0; tile < TILES; tile++) {
#if SCHEME == 0
        const u32 b[2] = {x[tile][0] << 4 & 0xf0f0f0f0u, x[tile][0] & 0xf0f0f0f0u};
#else
        const u32 b[2] = {__byte_perm(x[tile][0], x[tile][1], 0x6420), __byte_perm(x[tile][0], x[tile][1], 0x7531)};
#endif
        mma_s8(sums[tile], a, b);
    }
#endif
}

// The same with bytes: two words of each of two rows of weights.
DEVICE void add_bytes_of(Sum (&sums)[TILES][4], const u32 (&w)[2][2], const u32 (&x)[TILES][X_WORDS == 1 ? 2 : X_WORDS]) {
#if SCHEME == 2
#pragma unroll
    for (int part = 0; part < 2; part++) {
        u32 a[4];
#pragma unroll
        for (int i = 0; i < 4; i++) {
            const u32 pair = w[i % 2][part] >> 16 * (i / 2);
            a[i] = pack_bf16((float)(i8)pair, (float)(i8)(pair >> 8));
        }
#pragma unroll
        for (int tile = 0; tile < TILES; tile++) {
            const u32 b[2] = {x[tile][2 * part], x[tile][2 * part + 1]};
            mma_bf16(sums[tile], a, b);
        }
    }
#else
    const u32 a[4] = {w[0][0], w[1][0], w[0][1], w[1][1]};
#pragma unroll
    for (int tile = 0; tile < TILES; tile++) {
        const u32 b[2] = {x[tile][0], x[tile][1]};
        mma_s8(sums[tile], a, b);
    }
#endif
}

// The words of a vector in their places.
template <int COUNT>
DEVICE void put(u32 (&words)[COUNT], int at, const uint4& x) {
    words[at] = x.x, words[at + 1] = x.y, words[at + 2] = x.z, words[at + 3] = x.w;
}

// Four bytes, of which `inside` are there; the others are 0.
DEVICE u32 load_word(const u8* from, int inside) {
    if (inside >= 4 && (size_t)from % 4 == 0) return *(const u32*)from;
    u32 word = 0;
#pragma unroll
    for (int i = 0; i < 4; i++) {
        if (i < inside) word |= (u32)from[i] << 8 * i;
    }
    return word;
}

// COUNT words of a row of `end` bytes from byte `at` on.
template <int COUNT>
DEVICE void load_words(u32 (&words)[COUNT], const u8* row, int at, int end) {
#pragma unroll
    for (int i = 0; i < COUNT; i++) words[i] = load_word(row + at + 4 * i, end - at - 4 * i);
}

extern "C" __global__ void __launch_bounds__(WARPS * 32, 1)
lowbit(const __grid_constant__ Operands operands, int m, int n, int k, int group, int outliers) {
    __shared__ Total partials[WARPS][CHANNELS][ROWS];
    const int inner = k - outliers, groups = (inner + group - 1) / group;
    const int warp = warp_id(), lane = lane_id(), place = lane / 4, quarter = lane % 4;
    const int first_channel = blockIdx.x * CHANNELS, first_row = blockIdx.y * ROWS;
    // What lies beyond the last channel or row is computed like it, and not stored.
    const size_t channels[2] = {(size_t)min_of(first_channel + place, n - 1), (size_t)min_of(first_channel + place + 8, n - 1)};
    auto row_of = [&](int tile) { return (size_t)min_of(first_row + tile * 8 + place, m - 1); };
    Total totals[TILES][4] = {};

    for (int at = warp; at < groups; at += WARPS) {
        const Group own = group_at(operands, channels, at, n);
        const int begin = at * group, end = min_of(begin + group, inner);
#if SCHEME == 1
        auto& sums = totals;
#else
        Sum sums[TILES][4] = {};
#endif
#if WHOLE
        for (int chunk = begin; chunk < end; chunk += CHUNK) {
            const int channel = chunk + quarter * 32;
            const bool inside = channel < end;
            u32 w[2][4] = {}, x[TILES][4 * X_WORDS] = {};
            if (inside) {
#pragma unroll
                for (int i = 0; i < 2; i++) {
                    put(w[i], 0, load_streaming_16(operands.b + channels[i] * (inner / 2) + channel / 2));
                }
#pragma unroll
                for (int tile = 0; tile < TILES; tile++) {
#if SCHEME == 0
                    const u8* from = operands.a + row_of(tile) * (inner / 2) + channel / 2;
#elif SCHEME == 1
                    const u8* from = (const u8*)operands.a8 + row_of(tile) * k + channel;
#else
                    const u8* from = operands.a + (row_of(tile) * k + channel) * 2;
#endif
#pragma unroll
                    for (int i = 0; i < X_WORDS; i++) put(x[tile], 4 * i, *(const uint4*)(from + 16 * i));
                }
            }
#pragma unroll
            for (int step = 0; step < 4; step++) {
                const u32 pair[2] = {w[0][step], w[1][step]};
                u32 part[TILES][X_WORDS];
#pragma unroll
                for (int tile = 0; tile < TILES; tile++) {
#pragma unroll
                    for (int i = 0; i < X_WORDS; i++) part[tile][i] = x[tile][step * X_WORDS + i];
                }
                add_codes(sums, pair, own, part);
            }
        }
#else
        for (int step = begin; step < end; step += 32) {
            const int channel = step + quarter * 8;
            u32 w[2], x[TILES][X_WORDS];
#pragma unroll
            for (int i = 0; i < 2; i++) {
                w[i] = load_word(operands.b + channels[i] * (inner / 2) + channel / 2, (end - channel) / 2);
            }
#pragma unroll
            for (int tile = 0; tile < TILES; tile++) {
#if SCHEME == 0
                load_words(x[tile], operands.a + row_of(tile) * (inner / 2), channel / 2, end / 2);
#elif SCHEME == 1
                load_words(x[tile], (const u8*)operands.a8 + row_of(tile) * k, channel, end);
#else
                load_words(x[tile], operands.a + row_of(tile) * k * 2, channel * 2, end * 2);
#endif
            }
            add_codes(sums, w, own, x);
        }
#endif
#if SCHEME != 1
#pragma unroll
        for (int tile = 0; tile < TILES; tile++) {
#pragma unroll
            for (int i = 0; i < 4; i++) {
                float scale = own.scale[i / 2];
#if SCHEME == 0
                const size_t row = min_of(first_row + tile * 8 + quarter * 2 + i % 2, m - 1);
                scale *= operands.a_scale[row * groups + at];
#endif
                totals[tile][i] += (float)sums[tile][i] * scale;
            }
        }
#endif
    }

    if (outliers > 0 && warp == WARPS - 1) {
#if SCHEME == 1
        auto& sums = totals;
#else
        Sum sums[TILES][4] = {};
#endif
        for (int step = 0; step < outliers; step += 32) {
            const int at = step + quarter * 8;
            u32 w[2][2], x[TILES][X_WORDS == 1 ? 2 : X_WORDS];
#pragma unroll
            for (int i = 0; i < 2; i++) load_words(w[i], (const u8*)operands.b8 + channels[i] * outliers, at, outliers);
#pragma unroll
            for (int tile = 0; tile < TILES; tile++) {
#if SCHEME == 0
                load_words(x[tile], (const u8*)operands.a8 + row_of(tile) * outliers, at, outliers);
#elif SCHEME == 1
                load_words(x[tile], (const u8*)operands.a8 + row_of(tile) * k + inner, at, outliers);
#else
                load_words(x[tile], operands.a + (row_of(tile) * k + inner) * 2, at * 2, outliers * 2);
#endif
            }
            add_bytes_of(sums, w, x);
        }
#if SCHEME != 1
#pragma unroll
        for (int tile = 0; tile < TILES; tile++) {
#pragma unroll
            for (int i = 0; i < 4; i++) {
                float scale = operands.row_scale[channels[i / 2]];
#if SCHEME == 0
                scale *= operands.a8_scale[min_of(first_row + tile * 8 + quarter * 2 + i % 2, m - 1)];
#endif
                totals[tile][i] += (float)sums[tile][i] * scale;
            }
        }
#endif
    }

#pragma unroll
    for (int tile = 0; tile < TILES; tile++) {
#pragma unroll
        for (int i = 0; i < 4; i++) {
            partials[warp][place + i / 2 * 8][tile * 8 + quarter * 2 + i % 2] = totals[tile][i];
        }
    }
    __syncthreads();
    for (int at = threadIdx.x; at < CHANNELS * ROWS; at += WARPS * 32) {
        const int channel = first_channel + at % CHANNELS, row = first_row + at / CHANNELS;
        if (channel >= n || row >= m) continue;
        Total result = 0;
#pragma unroll
        for (int i = 0; i < WARPS; i++) result += partials[i][at % CHANNELS][at / CHANNELS];
#if SCHEME == 1
        const float scaled = k == 0 ? 0.0f : (float)result * (operands.a8_scale[row] * operands.row_scale[channel]);
#else
        const float scaled = result;
#endif
        operands.out[(size_t)row * n + channel] = float_to_bf16(scaled);
    }
}
