// Attention of small tiles, at most 16 packed rows: decoding, and short queries. Persistent blocks of four warps go through their
// lists of tiles. Those of more rows are in attention_prefill.cu.
//
// All warps have the same rows; each takes every fourth run of 16 positions, which it copies for itself, so that warps wait for no
// one until their states are merged. A warp has SLOTS buffers of 16 rows. Keys and values of a run are two loads, each a group of
// cp.async; load i lies in buffer i % SLOTS. While load i is used, the SLOTS - 1 loads behind it are on their way.
//
// Keys and values may be codes of four bits. Those are numbers in registers only, as the operand of a product, whose order of elements
// is the one in which a lane reads whole words of codes: elements of a sum stand in any order if the queries do, and elements of values
// are put where they belong at the end.
//
// D: elements of a head. SLOTS: buffers of a warp. BLOCKS: blocks of a multiprocessor. CODES: whether keys and values are codes. The
// header variant.cuh has what becomes of scores.
#include "attention.cuh"

#ifndef CODES
#define CODES 0
#endif

#define SMALL 16
#define WARPS 4
#define THREADS (WARPS * 32)

#define RUN 16
#if CODES
// 16-byte pieces of a row of codes, and its bytes in a buffer, where scales and zeros are behind all rows.
#define CODE_PIECES (D / 32)
#define CODE_ROW (D <= 64 ? 32 : D <= 128 ? 64 : 128)
#define SLOT_BYTES (RUN * (CODE_ROW + 4))
#else
#define SLOT_BYTES (RUN * ROW_BYTES)
#endif
#define WARP_BYTES (SLOTS * SLOT_BYTES)
// Floats from a row of a warp's state to the next: eight rows begin in different banks.
#define STATE_ROW (D + 8)

// The rows of a head.
#if CODES
struct Rows {
    const u8* codes;
    const u32* scales;
};
#else
typedef const u16* Rows;
#endif

struct Loader {
    Rows k;
    Rows v;
    u32 slots;
    int lane;
    // Lanes 0 to 15 have the line of a position of the run that is being loaded, and of the next; -1 behind the end.
    int line, next_line;
#if CODES
    // Their places in their pages.
    int place, next_place;
#endif
};

DEVICE int line_or_none(const Parameters& p, const Request& r, const Item& item, int position) {
    return position < item.end ? line_of(p, r, position) : -1;
}

// Goes on to the lines of the next run; those of the one behind it, where this lane's position is `position`, are fetched meanwhile.
DEVICE void advance(const Parameters& p, const Request& r, const Item& item, Loader& loader, int position) {
    loader.line = loader.next_line;
    loader.next_line = line_or_none(p, r, item, position);
#if CODES
    loader.place = loader.next_place;
    loader.next_place = (int)((u32)position % (u32)p.page);
#endif
}

#if CODES

// The address of a 16-byte piece of a row of codes. Even rows are before odd ones, and pieces are permuted, so that neither the words that
// eight rows' keys have, nor those that four even rows' values have, meet in a bank.
DEVICE u32 code_address(u32 buffer, int row, int piece) {
    constexpr int WHOLE = CODE_ROW / 16, LINE = 128 / CODE_ROW;
    const int slot = row % 2 * 8 + row / 2;
    return buffer + slot * CODE_ROW + ((piece ^ ((slot / LINE & (WHOLE / 2 - 1)) << 1 ^ slot / 8)) << 4);
}
DEVICE u32 scale_address(u32 buffer, int row) { return buffer + RUN * CODE_ROW + row * 4; }

// Begins to copy rows of 16 positions. What lies behind the end becomes codes and scales of zero, so that it weighs nothing.
DEVICE void load_rows(const Parameters& p, const Loader& loader, const Rows& from, int slot) {
    const u32 to = loader.slots + slot * SLOT_BYTES;
#pragma unroll
    for (int i = 0; i < RUN * CODE_PIECES / 32; i++) {
        int at = i * 32 + loader.lane, row = at / CODE_PIECES, piece = at % CODE_PIECES;
        int line = __shfl_sync(FULL_WARP, loader.line, row);
        const u8* source = from.codes + (line < 0 ? 0 : (i64)line * (p.line / 2)) + piece * 16;
        cp_async_16(code_address(to, row, piece), source, line < 0 ? 0 : 16);
    }
    if (loader.lane < RUN) {
        // Those of a head and a page are side by side.
        const i64 first = (i64)(loader.line - loader.place) * (p.line / D) + loader.place;
        const u32* source = from.scales + (loader.line < 0 ? 0 : first);
        cp_async<4>(scale_address(to, loader.lane), source, loader.line < 0 ? 0 : 4);
    }
}

// What codes are worth in both halves of a word.
struct Worth {
    u32 scale, minus;
};
// Of two rows, whose words of scale and zero these are.
DEVICE Worth worth_of(u32 low, u32 high) { return {__byte_perm(low, high, 0x5410), __byte_perm(low, high, 0x7632) ^ 0x80008000u}; }
// Two numbers of the codes in the lowest bits of both halves: code scale - zero, rounded once.
DEVICE u32 numbers_of(u32 codes, const Worth& worth) {
    // 128 + code: bits below the exponent are worth 1.
    const u32 whole = fma_bf16x2(codes & 0x000f000fu | 0x43004300u, 0x3f803f80u, 0xc300c300u);
    return fma_bf16x2(whole, worth.scale, worth.minus);
}

// Eight elements in the order that eight codes of a word become numbers in.
DEVICE uint4 in_order_of_codes(const uint4& x) {
    return make_uint4(__byte_perm(x.x, x.z, 0x5410), __byte_perm(x.x, x.z, 0x7632), __byte_perm(x.y, x.w, 0x5410),
                      __byte_perm(x.y, x.w, 0x7632));
}

#else

// Begins to copy rows of 16 positions. What lies behind the end becomes zero, so that it weighs nothing.
DEVICE void load_rows(const Parameters& p, const Loader& loader, const u16* from, int slot) {
    const u32 to = loader.slots + slot * SLOT_BYTES;
#pragma unroll
    for (int i = 0; i < ceil_div(RUN * PIECES, 32); i++) {
        int at = i * 32 + loader.lane, row = at / PIECES, piece = at % PIECES;
        int line = __shfl_sync(FULL_WARP, loader.line, row & 15);
        if (RUN * PIECES % 32 == 0 || row < RUN) {
            const u16* source = from + (line < 0 ? 0 : (i64)line * p.line) + piece * 8;
            cp_async_16(piece_address(to, row, piece), source, line < 0 ? 0 : 16);
        }
    }
}

#endif

DEVICE void small_tile(const Parameters& p, const Item& item, u8* shared) {
    const Request r = request_of(p, item.request);
    const int warp = warp_id(), lane = lane_id();
    // Behind the buffers: largest score and sum of weights of every warp's rows, and what the rows are.
    float2* sums = (float2*)(shared + WARPS * WARP_BYTES);
    Row* rows = (Row*)(sums + WARPS * SMALL);
    if (threadIdx.x < SMALL) rows[threadIdx.x] = row_of(p, r, item, threadIdx.x);
    __syncthreads();

    // Queries as left operands, straight from memory; of wide heads, for which there are no registers, from shared memory.
#if D <= 128
    u32 q[D / 16][4];
#pragma unroll
    for (int half = 0; half < 2; half++) {
        const int at = lane / 4 + half * 8;
#if CODES
        const u16* from = p.q + element_of(p, r, rows[at]) + lane % 4 * 8;
#pragma unroll
        for (int i = 0; i < D / 32; i++) {
            uint4 x = make_uint4(0, 0, 0, 0);
            if (at < item.count) x = in_order_of_codes(*(const uint4*)(from + i * 32));
            q[i * 2][half] = x.x, q[i * 2][half + 2] = x.y, q[i * 2 + 1][half] = x.z, q[i * 2 + 1][half + 2] = x.w;
        }
#else
        const u16* from = p.q + element_of(p, r, rows[at]) + lane % 4 * 2;
#pragma unroll
        for (int i = 0; i < D / 8; i++) q[i / 2][i % 2 * 2 + half] = at < item.count ? *(const u32*)(from + i * 8) : 0;
#endif
    }
#else
    const u32 queries = shared_address(rows + SMALL);
    for (int i = threadIdx.x; i < SMALL * PIECES; i += THREADS) {
        int at = i / PIECES, piece = i % PIECES;
        uint4 x = make_uint4(0, 0, 0, 0);
        if (at < item.count) x = *(const uint4*)(p.q + element_of(p, r, rows[at]) + piece * 8);
#if CODES
        // Of four pieces, every word is that of a lane.
        x = in_order_of_codes(x);
        const u32 words[4] = {x.x, x.y, x.z, x.w};
#pragma unroll
        for (int j = 0; j < 4; j++) store_shared_4(piece_address(queries, at, piece / 4 * 4 + j) + piece % 4 * 4, words[j]);
#else
        store_shared_16(piece_address(queries, at, piece), x);
#endif
    }
    __syncthreads();
#endif

    const Seen both = seen_by_both(rows[lane / 4], rows[lane / 4 + 8], lane / 4, item.count);
    float o[D / 8][4] = {};
    float largest[2] = {-INF, -INF}, total[2] = {0.0f, 0.0f};
    const int all = ceil_div(item.end - item.begin, RUN);
    // Runs of this warp.
    const int runs = all > warp ? (all - warp + WARPS - 1) / WARPS : 0;
    const int first = item.begin + warp * RUN;
#if CODES
    const Rows k = {(const u8*)p.k + item.head * (D / 2), p.k_scales + item.head * p.page};
    const Rows v = {(const u8*)p.v + item.head * (D / 2), p.v_scales + item.head * p.page};
#else
    const Rows k = p.k + item.head * D, v = p.v + item.head * D;
#endif
    Loader loader = {k, v, shared_address(shared) + warp * WARP_BYTES, lane, -1, -1};
    advance(p, r, item, loader, first + (lane & 15));

    // Load i: keys of run i / 2, or its values.
#define LOAD(i)                                                                                              \
    if ((i) < runs * 2) {                                                                                    \
        if ((i) % 2 == 0) advance(p, r, item, loader, first + ((i) / 2 + 1) * WARPS * RUN + (lane & 15));    \
        load_rows(p, loader, (i) % 2 == 0 ? loader.k : loader.v, (i) % SLOTS);                               \
    }                                                                                                        \
    cp_async_commit();

#pragma unroll
    for (int i = 0; i < SLOTS - 1; i++) {
        LOAD(i);
    }
    for (int run = 0; run < runs; run++) {
        const int position = first + run * WARPS * RUN;
        float s[2][4] = {};
        // The keys of this run are there, for every lane.
        cp_async_wait<SLOTS - 2>();
        __syncwarp();
        LOAD(run * 2 + SLOTS - 1);
        u32 keys = loader.slots + run * 2 % SLOTS * SLOT_BYTES;
#if CODES
        Worth worth[2];
#pragma unroll
        for (int half = 0; half < 2; half++) {
            const u32 word = load_shared_4(scale_address(keys, lane / 4 + half * 8));
            worth[half] = worth_of(word, word);
        }
#pragma unroll(D <= 128 ? D / 32 : 2)
        for (int k = 0; k < D / 32; k++) {
            u32 b[2][4];
#pragma unroll
            for (int half = 0; half < 2; half++) {
                const u32 codes = load_shared_4(code_address(keys, lane / 4 + half * 8, k) + lane % 4 * 4);
#pragma unroll
                for (int j = 0; j < 4; j++) b[half][j] = numbers_of(codes >> 4 * j, worth[half]);
            }
#pragma unroll
            for (int j = 0; j < 2; j++) {
                const u32 low[2] = {b[0][j * 2], b[0][j * 2 + 1]}, high[2] = {b[1][j * 2], b[1][j * 2 + 1]};
#if D <= 128
                const u32(&a)[4] = q[k * 2 + j];
#else
                u32 a[4];
                ldmatrix_x4(a, piece_address(queries, lane % 16, (k * 2 + j) * 2 + lane / 16));
#endif
                mma_bf16(s[0], a, low);
                mma_bf16(s[1], a, high);
            }
        }
#else
        // Wide heads leave no registers for the addresses of all pieces.
#pragma unroll(D <= 128 ? D / 16 : 4)
        for (int k = 0; k < D / 16; k++) {
            // Matrices of 8 positions by 8 elements: elements first, then positions.
            u32 b[4];
            ldmatrix_x4(b, piece_address(keys, lane / 16 * 8 + lane % 8, k * 2 + lane / 8 % 2));
            const u32 low[2] = {b[0], b[1]}, high[2] = {b[2], b[3]};
#if D <= 128
            const u32(&a)[4] = q[k];
#else
            u32 a[4];
            ldmatrix_x4(a, piece_address(queries, lane % 16, k * 2 + lane / 16));
#endif
            mma_bf16(s[0], a, low);
            mma_bf16(s[1], a, high);
        }
#endif
        float factor[2];
        auto row_at = [=](int half) { return rows[lane / 4 + half * 8]; };
        const bool whole = position >= both.begin && position + RUN <= both.end;
        const float unit = transform(p, r, row_at, position + lane % 4 * 2, whole, s);
        weigh(s, unit, largest, total, factor);
        if (__any_sync(FULL_WARP, factor[0] != 1.0f || factor[1] != 1.0f)) {
#pragma unroll
            for (int j = 0; j < D / 8; j++) {
#pragma unroll
                for (int i = 0; i < 4; i++) o[j][i] *= factor[i / 2];
            }
        }
        // Memory is what a small tile waits for, so that its weights may have twice the bits of a bfloat16.
        u32 weights[4], rest[4];
#pragma unroll
        for (int i = 0; i < 4; i++) {
            const float x = s[i / 2][i % 2 * 2], y = s[i / 2][i % 2 * 2 + 1];
            weights[i] = cut_bf16(x, y);
            rest[i] = rest_bf16(x, y);
        }
        // So are its values.
        cp_async_wait<SLOTS - 2>();
        __syncwarp();
        LOAD(run * 2 + SLOTS);
        u32 values = loader.slots + (run * 2 + 1) % SLOTS * SLOT_BYTES;
#if CODES
        // A lane has the positions 2 (lane % 4) and the next, and those 8 further, of elements 8 (lane / 4) and the next seven of 64: element
        // j of each eight is in tile j.
        Worth value_worth[2];
        const int even = lane % 4 * 2;
#pragma unroll
        for (int half = 0; half < 2; half++) {
            const u32 address = scale_address(values, even + half * 8);
            value_worth[half] = worth_of(load_shared_4(address), load_shared_4(address + 4));
        }
#pragma unroll
        for (int k = 0; k < D / 64; k++) {
            u32 codes[2][2];
#pragma unroll
            for (int half = 0; half < 2; half++) {
                const int piece = k * 2 + lane / 16, within = lane / 4 % 4 * 4;
                const u32 low = load_shared_4(code_address(values, even + half * 8, piece) + within);
                const u32 high = load_shared_4(code_address(values, even + half * 8 + 1, piece) + within);
                codes[half][0] = __byte_perm(low, high, 0x5410);
                codes[half][1] = __byte_perm(low, high, 0x7632);
            }
#pragma unroll
            for (int j = 0; j < 8; j++) {
                const u32 b[2] = {numbers_of(codes[0][j / 4] >> j % 4 * 4, value_worth[0]),
                                  numbers_of(codes[1][j / 4] >> j % 4 * 4, value_worth[1])};
                mma_bf16(o[k * 8 + j], weights, b);
                mma_bf16(o[k * 8 + j], rest, b);
            }
        }
#else
#pragma unroll
        for (int j = 0; j < D / 16; j++) {
            // Matrices of 8 positions by 8 elements, transposed: positions first, then elements.
            u32 b[4];
            ldmatrix_x4_trans(b, piece_address(values, lane % 16, j * 2 + lane / 16));
            const u32 low[2] = {b[0], b[1]}, high[2] = {b[2], b[3]};
            mma_bf16(o[j * 2], weights, low);
            mma_bf16(o[j * 2], rest, low);
            mma_bf16(o[j * 2 + 1], weights, high);
            mma_bf16(o[j * 2 + 1], rest, high);
        }
#endif
    }
#undef LOAD
    cp_async_wait<0>();
    // Every lane has read its buffers, which the states overwrite.
    __syncwarp();

    float* states = (float*)(shared + warp * WARP_BYTES);
#pragma unroll
    for (int half = 0; half < 2; half++) {
        total[half] += shuffle_xor(total[half], 1);
        total[half] += shuffle_xor(total[half], 2);
        int at = lane / 4 + half * 8;
        if (lane % 4 == 0) sums[warp * SMALL + at] = make_float2(largest[half], total[half]);
#if CODES
#pragma unroll
        for (int j = 0; j < D / 64 * 4; j++) {
            // Half of the elements that are side by side, of one of the lane's two columns of tiles.
            const int first = j / 4 * 8 + j % 2 * 4, i = half * 2 + j / 2 % 2;
            float* to = states + at * STATE_ROW + j / 4 * 64 + (lane % 4 * 2 + j / 2 % 2) * 8 + j % 2 * 4;
            *(float4*)to = make_float4(o[first][i], o[first + 1][i], o[first + 2][i], o[first + 3][i]);
        }
#else
#pragma unroll
        for (int j = 0; j < D / 8; j++) {
            *(float2*)(states + at * STATE_ROW + j * 8 + lane % 4 * 2) = make_float2(o[j][half * 2], o[j][half * 2 + 1]);
        }
#endif
    }
    __syncthreads();

    // Eight threads merge a row.
    const int at = threadIdx.x / 8;
    const Row row = rows[at];
    if (at < item.count) {
        float most = -INF, sum = 0.0f, factors[WARPS];
#pragma unroll
        for (int w = 0; w < WARPS; w++) most = fmaxf(most, sums[w * SMALL + at].x);
        float base = most == -INF ? 0.0f : most;
#pragma unroll
        for (int w = 0; w < WARPS; w++) {
            float2 state = sums[w * SMALL + at];
            factors[w] = VARIANT_SOFTMAX ? exp2_approx(state.x - base) : 1.0f;
            // A warp that has seen nothing has a sum of 0, or of no number where all scores were none.
            if (VARIANT_SOFTMAX && state.x == -INF) factors[w] = 1.0f;
            sum += factors[w] * state.y;
        }
        float inverse = VARIANT_SOFTMAX ? (sum == 0.0f ? 0.0f : 1.0f / sum) : 1.0f;
        size_t element = element_of(p, r, row);
        for (int column = threadIdx.x % 8 * 2; column < D; column += 16) {
            float x = 0.0f, y = 0.0f;
#pragma unroll
            for (int w = 0; w < WARPS; w++) {
                float2 pair = *(const float2*)((const float*)(shared + w * WARP_BYTES) + at * STATE_ROW + column);
                x += factors[w] * pair.x;
                y += factors[w] * pair.y;
            }
            put_pair(p, item, at, element, column, x * inverse, y * inverse);
        }
        if (threadIdx.x % 8 == 0) put_lse(p, item, r, row, at, log_sum(most, sum));
    }
}

extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS) attention(const __grid_constant__ Parameters p) {
    extern __shared__ __align__(128) u8 dynamic_shared[];
    // Behind a tile is a barrier, as the next one's rows and copies overwrite what other warps may still read.
    for (int number = p.lists[blockIdx.x]; number < p.lists[blockIdx.x + 1]; number++) {
        small_tile(p, item_of(p, number), dynamic_shared);
        __syncthreads();
    }
}
