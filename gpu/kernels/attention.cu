// Attention of small tiles, at most 16 packed rows: decoding, and short queries. Persistent blocks of four warps go through their
// lists of tiles. Those of more rows are in attention_prefill.cu.
//
// All warps have the same rows; each takes every fourth run of 16 positions, which it copies for itself, so that warps wait for no
// one until their states are merged. A warp has SLOTS buffers of 16 rows. Keys and values of a run are two loads, each a group of
// cp.async; load i lies in buffer i % SLOTS. While load i is used, the SLOTS - 1 loads behind it are on their way.
//
// D: elements of a head. SLOTS: buffers of a warp. BLOCKS: blocks of a multiprocessor. The header variant.cuh has what becomes of
// scores.
#include "attention.cuh"

#define SMALL 16
#define WARPS 4
#define THREADS (WARPS * 32)

#define RUN 16
#define SLOT_BYTES (RUN * ROW_BYTES)
#define WARP_BYTES (SLOTS * SLOT_BYTES)
// Floats from a row of a warp's state to the next: eight rows begin in different banks.
#define STATE_ROW (D + 8)

struct Loader {
    const u16* k;
    const u16* v;
    u32 slots;
    int lane;
    // Lanes 0 to 15 have the line of a position of the run that is being loaded, and of the next; -1 behind the end.
    int line, next_line;
};

DEVICE int line_or_none(const Parameters& p, const Request& r, const Item& item, int position) {
    return position < item.end ? line_of(p, r, position) : -1;
}

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
        const u16* from = p.q + element_of(p, r, rows[at]) + lane % 4 * 2;
#pragma unroll
        for (int i = 0; i < D / 8; i++) q[i / 2][i % 2 * 2 + half] = at < item.count ? *(const u32*)(from + i * 8) : 0;
    }
#else
    const u32 queries = shared_address(rows + SMALL);
    for (int i = threadIdx.x; i < SMALL * PIECES; i += THREADS) {
        int at = i / PIECES, piece = i % PIECES;
        uint4 x = make_uint4(0, 0, 0, 0);
        if (at < item.count) x = *(const uint4*)(p.q + element_of(p, r, rows[at]) + piece * 8);
        store_shared_16(piece_address(queries, at, piece), x);
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
    Loader loader = {p.k + item.head * D, p.v + item.head * D, shared_address(shared) + warp * WARP_BYTES, lane, -1, -1};
    loader.next_line = line_or_none(p, r, item, first + (lane & 15));

    // Load i: keys of run i / 2, or its values. The lines of the run after it are fetched meanwhile.
#define LOAD(i)                                                                                              \
    if ((i) < runs * 2) {                                                                                    \
        if ((i) % 2 == 0) {                                                                                  \
            loader.line = loader.next_line;                                                                  \
            loader.next_line = line_or_none(p, r, item, first + ((i) / 2 + 1) * WARPS * RUN + (lane & 15)); \
        }                                                                                                    \
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
#pragma unroll
        for (int j = 0; j < D / 8; j++) {
            *(float2*)(states + at * STATE_ROW + j * 8 + lane % 4 * 2) = make_float2(o[j][half * 2], o[j][half * 2 + 1]);
        }
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
