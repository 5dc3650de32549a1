// Attention for persistent blocks of four warps: each goes through its list of large tiles and then of small ones.
//
// D: elements of a head. LARGE: packed rows of a large tile, 64 or 128. POSITIONS: of a run of large tiles, 32 or 64. SLOTS:
// buffers of a warp for small tiles. BLOCKS: blocks of a multiprocessor. The header variant.cuh has what becomes of scores.
#include "attention.cuh"

#define SMALL 16
#define WARPS 4
#define THREADS (WARPS * 32)

// --- Small tiles ---
//
// A tile of at most 16 packed rows: decoding, and short queries. All warps have the same rows; each takes every fourth run of 16
// positions, which it copies for itself, so that warps wait for no one until their states are merged.
//
// A warp has SLOTS buffers of 16 rows. Keys and values of a run are two loads, each a group of cp.async; load i lies in buffer
// i % SLOTS. While load i is used, the SLOTS - 1 loads behind it are on their way.

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
        const Row pair[2] = {rows[lane / 4], rows[lane / 4 + 8]};
        transform(p, r, pair, position + lane % 4 * 2, false, s);
        weigh(s, largest, total, factor);
        if (__any_sync(FULL_WARP, factor[0] != 1.0f || factor[1] != 1.0f)) {
#pragma unroll
            for (int j = 0; j < D / 8; j++) {
#pragma unroll
                for (int i = 0; i < 4; i++) o[j][i] *= factor[i / 2];
            }
        }
        const u32 weights[4] = {pack_bf16(s[0][0], s[0][1]), pack_bf16(s[0][2], s[0][3]), pack_bf16(s[1][0], s[1][1]),
                                pack_bf16(s[1][2], s[1][3])};
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
            mma_bf16(o[j * 2 + 1], weights, high);
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

// --- Large tiles ---
//
// A tile of many packed rows: each warp has 16 or 32 of them, and all warps go through the same positions, POSITIONS at a time.
//
// Keys and values have two buffers each. While the scores of a run are computed, its values and the next run's keys are on their
// way; while its values are added, the next run's keys and values.

// Rows of 16 that a warp has.
#define ROWS_OF_16 (LARGE / 64)
#define TILE_BYTES (POSITIONS * ROW_BYTES)
#define Q_BYTES (LARGE * ROW_BYTES)

// Begins to copy rows of keys or values; lines are those of the run, -1 behind the end.
DEVICE void load_tile(const Parameters& p, u32 to, const u16* from, const i32* lines) {
#pragma unroll
    for (int i = 0; i < ceil_div(POSITIONS * PIECES, THREADS); i++) {
        int at = i * THREADS + threadIdx.x, row = at / PIECES, piece = at % PIECES;
        if (POSITIONS * PIECES % THREADS == 0 || row < POSITIONS) {
            int line = lines[row];
            const u16* source = from + (line < 0 ? 0 : (i64)line * p.line) + piece * 8;
            cp_async_16(piece_address(to, row, piece), source, line < 0 ? 0 : 16);
        }
    }
}

DEVICE void put_lines(const Parameters& p, const Request& r, const Item& item, int begin, i32* lines) {
    if (threadIdx.x < POSITIONS) {
        int position = begin + threadIdx.x;
        lines[threadIdx.x] = position < item.end ? line_of(p, r, position) : -1;
    }
}

DEVICE void large_tile(const Parameters& p, const Item& item, u8* shared) {
    const Request r = request_of(p, item.request);
    const int warp = warp_id(), lane = lane_id();
    const u32 queries = shared_address(shared), keys = queries + Q_BYTES, values = keys + 2 * TILE_BYTES;
    Row* rows = (Row*)(shared + Q_BYTES + 4 * TILE_BYTES);
    // Lines of this run and the next.
    i32* lines = (i32*)(rows + LARGE);
    const u16* k = p.k + item.head * D;
    const u16* v = p.v + item.head * D;
    const int runs = ceil_div(item.end - item.begin, POSITIONS);
    const int warp_row = warp * ROWS_OF_16 * 16;

    // In shared memory, for there are no registers left to keep them in.
    for (int at = threadIdx.x; at < LARGE; at += THREADS) rows[at] = row_of(p, r, item, at);
    put_lines(p, r, item, item.begin, lines);
    __syncthreads();
    for (int at = threadIdx.x; at < LARGE * PIECES; at += THREADS) {
        int packed = at / PIECES, piece = at % PIECES;
        bool valid = packed < item.count;
        const u16* source = valid ? p.q + element_of(p, r, rows[packed]) + piece * 8 : p.q;
        cp_async_16(piece_address(queries, packed, piece), source, valid ? 16 : 0);
    }
    if (runs > 0) load_tile(p, keys, k, lines);
    cp_async_commit();
    if (runs > 0) load_tile(p, values, v, lines);
    cp_async_commit();
    put_lines(p, r, item, item.begin + POSITIONS, lines + POSITIONS);

    float o[ROWS_OF_16][D / 8][4] = {};
    float largest[ROWS_OF_16][2], total[ROWS_OF_16][2] = {};
#pragma unroll
    for (int m = 0; m < ROWS_OF_16; m++) largest[m][0] = largest[m][1] = -INF;
    // What the rows of this warp see together, and what each of them sees.
    const int last_row = min_of(warp_row + ROWS_OF_16 * 16, item.count) - 1;
    const bool some = last_row >= warp_row;

    for (int run = 0; run < runs; run++) {
        const int begin = item.begin + run * POSITIONS;
        // Rows that come later see no less at either end.
        const bool needed = some && begin < rows[last_row].end && begin + POSITIONS > rows[warp_row].begin;
        const bool whole = last_row + 1 == warp_row + ROWS_OF_16 * 16 && begin >= rows[last_row].begin &&
                           begin + POSITIONS <= rows[warp_row].end;
        u32 weights[ROWS_OF_16][POSITIONS / 8][2];
        // The keys of this run are there, and nobody reads those of the one before.
        cp_async_wait<1>();
        __syncthreads();
        if (run + 1 < runs) load_tile(p, keys + (run + 1) % 2 * TILE_BYTES, k, lines + (run + 1) % 2 * POSITIONS);
        cp_async_commit();
        if (needed) {
            float s[ROWS_OF_16][POSITIONS / 8][4] = {};
            u32 tile = keys + run % 2 * TILE_BYTES;
#pragma unroll
            for (int i = 0; i < D / 16; i++) {
                u32 q[ROWS_OF_16][4];
#pragma unroll
                for (int m = 0; m < ROWS_OF_16; m++) {
                    ldmatrix_x4(q[m], piece_address(queries, warp_row + m * 16 + lane % 16, i * 2 + lane / 16));
                }
#pragma unroll
                for (int j = 0; j < POSITIONS / 16; j++) {
                    u32 b[4];
                    ldmatrix_x4(b, piece_address(tile, j * 16 + lane / 16 * 8 + lane % 8, i * 2 + lane / 8 % 2));
                    const u32 first[2] = {b[0], b[1]}, second[2] = {b[2], b[3]};
#pragma unroll
                    for (int m = 0; m < ROWS_OF_16; m++) {
                        mma_bf16(s[m][j * 2], q[m], first);
                        mma_bf16(s[m][j * 2 + 1], q[m], second);
                    }
                }
            }
#pragma unroll
            for (int m = 0; m < ROWS_OF_16; m++) {
                int at = warp_row + m * 16 + lane / 4;
                const Row pair[2] = {rows[at], rows[at + 8]};
                float factor[2];
                transform(p, r, pair, begin + lane % 4 * 2, whole, s[m]);
                weigh(s[m], largest[m], total[m], factor);
#pragma unroll
                for (int j = 0; j < D / 8; j++) {
#pragma unroll
                    for (int i = 0; i < 4; i++) o[m][j][i] *= factor[i / 2];
                }
#pragma unroll
                for (int j = 0; j < POSITIONS / 8; j++) {
                    weights[m][j][0] = pack_bf16(s[m][j][0], s[m][j][1]);
                    weights[m][j][1] = pack_bf16(s[m][j][2], s[m][j][3]);
                }
            }
        }
        // The values of this run are there, and nobody reads those of the one before.
        cp_async_wait<1>();
        __syncthreads();
        if (run + 1 < runs) load_tile(p, values + (run + 1) % 2 * TILE_BYTES, v, lines + (run + 1) % 2 * POSITIONS);
        cp_async_commit();
        // The lines of this run have been used twice.
        put_lines(p, r, item, begin + 2 * POSITIONS, lines + run % 2 * POSITIONS);
        if (needed) {
            u32 tile = values + run % 2 * TILE_BYTES;
#pragma unroll
            for (int i = 0; i < POSITIONS / 16; i++) {
#pragma unroll
                for (int j = 0; j < D / 16; j++) {
                    u32 b[4];
                    ldmatrix_x4_trans(b, piece_address(tile, i * 16 + lane % 16, j * 2 + lane / 16));
                    const u32 first[2] = {b[0], b[1]}, second[2] = {b[2], b[3]};
#pragma unroll
                    for (int m = 0; m < ROWS_OF_16; m++) {
                        const u32 a[4] = {weights[m][i * 2][0], weights[m][i * 2][1], weights[m][i * 2 + 1][0],
                                          weights[m][i * 2 + 1][1]};
                        mma_bf16(o[m][j * 2], a, first);
                        mma_bf16(o[m][j * 2 + 1], a, second);
                    }
                }
            }
        }
    }
    cp_async_wait<0>();

#pragma unroll
    for (int m = 0; m < ROWS_OF_16; m++) {
#pragma unroll
        for (int half = 0; half < 2; half++) {
            float sum = total[m][half];
            sum += shuffle_xor(sum, 1);
            sum += shuffle_xor(sum, 2);
            int at = warp_row + m * 16 + half * 8 + lane / 4;
            const Row row = rows[at];
            if (at < item.count) {
                float inverse = VARIANT_SOFTMAX ? (sum == 0.0f ? 0.0f : 1.0f / sum) : 1.0f;
                size_t element = element_of(p, r, row);
#pragma unroll
                for (int j = 0; j < D / 8; j++) {
                    put_pair(p, item, at, element, j * 8 + lane % 4 * 2, o[m][j][half * 2] * inverse,
                             o[m][j][half * 2 + 1] * inverse);
                }
                if (lane % 4 == 0) put_lse(p, item, r, row, at, log_sum(largest[m][half], sum));
            }
        }
    }
}

extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS) attention(const __grid_constant__ Parameters p) {
    extern __shared__ __align__(128) u8 dynamic_shared[];
    const int block = blockIdx.x;
    const i32* list = p.lists;
    for (int number = list[block]; number < list[block + 1]; number++) {
        large_tile(p, item_of(p, number), dynamic_shared);
        // The next tile's rows and copies overwrite what other warps may still read.
        __syncthreads();
    }
    list += gridDim.x + 1;
    for (int number = list[block]; number < list[block + 1]; number++) {
        small_tile(p, item_of(p, number), dynamic_shared);
        __syncthreads();
    }
}
