// A tile of many packed rows: each warp has 16 or 32 of them, and all warps go through the same positions, POSITIONS at a time.
//
// Keys and values have two buffers each. While the scores of a run are computed, its values and the next run's keys are on their
// way; while its values are added, the next run's keys and values.
#pragma once

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
