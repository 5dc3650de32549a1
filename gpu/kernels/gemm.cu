// Matrix products on Hopper: out = act(a bᵀ + bias), or codes. a is [m, k], b is [n, k], both with the sum innermost.
//
// A block has a producer warpgroup, one thread of which copies tiles by TMA, and two consumer warpgroups, each of which
// multiplies 64 rows by wgmma. Between them stand STAGES slots of shared memory, each with a barrier that says "full" and one
// that says "empty". A block takes tile after tile, so that the copies for the next tile run under the epilogue of this one.
//
// DTYPE: of a, b and out. TN: columns of a tile, 128 or 256. STAGES: slots. CLUSTER: 1, or 2 blocks one above the other that
// share the columns: each copies half of b to both.
#include "epilogue.cuh"

#define TM 128
// Bytes along the sum of one stage: a row of the 128-byte swizzle.
#define TK_BYTES 128
#define TK (TK_BYTES / ELEMENT)
#define CONSUMERS 2
#define A_BYTES (TM * TK_BYTES)
#define B_BYTES (TN * TK_BYTES)
#define STAGE_BYTES (A_BYTES + B_BYTES)
// A chunk of results on its way out: 64 rows of 128 bytes; two for each consumer.
#define CHUNK_BYTES (64 * 128)
#define CHUNK_COLUMNS (128 / ELEMENT)
// Rows of tiles that are gone through together, so that their columns are read while they are in the second-level cache.
#define GROUP 8

struct Tile {
    int row, column, begin, end, split;
};

struct Shape {
    int m, n, k, splits;
};

// The work item of that number, of which there are (pairs of) rows x columns x splits.
DEVICE Tile tile_of(int item, const Shape& shape) {
    int rows = ceil_div(shape.m, TM * CLUSTER), columns = ceil_div(shape.n, TN);
    int tiles = rows * columns, split = item / tiles, at = item % tiles;
    int group = at / (GROUP * columns), first = group * GROUP, height = min_of(GROUP, rows - first);
    int within = at - first * columns;
    int steps = ceil_div(shape.k, TK);
    Tile tile;
    tile.row = (first + within % height) * CLUSTER * TM;
    tile.column = within / height * TN;
    tile.begin = (int)((i64)steps * split / shape.splits);
    tile.end = (int)((i64)steps * (split + 1) / shape.splits);
    tile.split = split;
    return tile;
}

DEVICE void multiply(Sum (&sums)[TN / 2], u32 a, u32 b, bool accumulate) {
#if DTYPE == 2
    wgmma_s8(sums, wgmma_descriptor(a), wgmma_descriptor(b), accumulate);
#elif DTYPE == 1
    wgmma_f16<0>(sums, wgmma_descriptor(a), wgmma_descriptor(b), accumulate);
#else
    wgmma_bf16<0>(sums, wgmma_descriptor(a), wgmma_descriptor(b), accumulate);
#endif
}

// A warp has read a slot: it says so in every block that copies to it.
DEVICE void release(u32 empty, int lane) {
    if (CLUSTER > 1) {
        if (lane < CLUSTER) mbarrier_arrive_cluster(empty, lane);
    } else if (lane == 0) {
        mbarrier_arrive(empty);
    }
}

extern "C" __global__ void __launch_bounds__(384, 1)
gemm_tma(const __grid_constant__ TensorMap map_a, const __grid_constant__ TensorMap map_b,
         const __grid_constant__ TensorMap map_out, Sum* partials, const __grid_constant__ Epilogue epilogue, int m, int n, int k,
         int splits) {
    extern __shared__ u8 dynamic_shared[];
    const Shape shape = {m, n, k, splits};
    const u32 stages = (shared_address(dynamic_shared) + 1023) & ~1023u;
    const u32 chunks = stages + STAGES * STAGE_BYTES;
    const u32 full = chunks + CONSUMERS * 2 * CHUNK_BYTES, empty = full + STAGES * 8;
    const u32 rank = CLUSTER > 1 ? cluster_rank() : 0;
    const int items = ceil_div(m, TM * CLUSTER) * ceil_div(n, TN) * splits;
    const int first_item = blockIdx.x / CLUSTER, item_step = gridDim.x / CLUSTER;
    const int warp = warp_id(), lane = lane_id();

    if (threadIdx.x == 0) {
        for (int i = 0; i < STAGES; i++) {
            mbarrier_init(full + i * 8, 1);
            // One arrival of every warp that reads the slot, in either block.
            mbarrier_init(empty + i * 8, CONSUMERS * 4 * CLUSTER);
        }
        fence_mbarrier_init();
    }
    if (CLUSTER > 1) cluster_sync();
    else __syncthreads();

    if (warp >= CONSUMERS * 4) {
        registers_decrease<40>();
        if (warp == CONSUMERS * 4 && elect_one()) {
            int stage = 0;
            u32 phase = 0;
            for (int item = first_item; item < items; item += item_step) {
                Tile tile = tile_of(item, shape);
                for (int step = tile.begin; step < tile.end; step++) {
                    u32 a = stages + stage * STAGE_BYTES, b = a + A_BYTES;
                    mbarrier_wait(empty + stage * 8, phase ^ 1);
                    mbarrier_expect_tx(full + stage * 8, A_BYTES + B_BYTES);
                    tma_load_2d(a, &map_a, step * TK, tile.row + rank * TM, full + stage * 8);
                    if (CLUSTER > 1) {
                        int half = rank * (TN / CLUSTER);
                        tma_load_2d_multicast(b + half * TK_BYTES, &map_b, step * TK, tile.column + half, full + stage * 8,
                                              (1 << CLUSTER) - 1);
                    } else {
                        tma_load_2d(b, &map_b, step * TK, tile.column, full + stage * 8);
                    }
                    if (++stage == STAGES) {
                        stage = 0;
                        phase ^= 1;
                    }
                }
            }
        }
        __syncwarp();
    } else {
        registers_increase<232>();
        const int consumer = warp / 4;
        const u32 my_chunks = chunks + consumer * 2 * CHUNK_BYTES;
        // The row of this lane's first sums within the tile.
        const int lane_row = warp * 16 + lane / 4, lane_column = lane % 4 * 2;
        Sum sums[TN / 2] = {};
        int stage = 0, chunk = 0;
        u32 phase = 0;
        for (int item = first_item; item < items; item += item_step) {
            Tile tile = tile_of(item, shape);
            int previous = -1;
            for (int step = tile.begin; step < tile.end; step++) {
                mbarrier_wait(full + stage * 8, phase);
                u32 a = stages + stage * STAGE_BYTES + consumer * 64 * TK_BYTES, b = stages + stage * STAGE_BYTES + A_BYTES;
                wgmma_hold(sums);
                wgmma_fence();
#pragma unroll
                for (int part = 0; part < TK_BYTES / 32; part++) {
                    multiply(sums, a + part * 32, b + part * 32, step > tile.begin || part > 0);
                }
                wgmma_commit();
                // Once the products of the step before are done, its slot is free.
                wgmma_wait<1>();
                if (previous >= 0) release(empty + previous * 8, lane);
                previous = stage;
                if (++stage == STAGES) {
                    stage = 0;
                    phase ^= 1;
                }
            }
            wgmma_wait<0>();
            wgmma_hold(sums);
            release(empty + previous * 8, lane);

            const int row = tile.row + rank * TM;
            if (splits > 1) {
                Sum* part = partials + (size_t)tile.split * m * n;
#pragma unroll
                for (int half = 0; half < 2; half++) {
                    int at = row + lane_row + half * 8;
                    if (at < m) {
#pragma unroll
                        for (int j = 0; j < TN / 8; j++) {
                            int column = tile.column + j * 8 + lane_column;
                            // A row has an even length here, so that both columns are inside or neither is.
                            if (column < n) {
                                Sum* to = part + (size_t)at * n + column;
                                to[0] = sums[j * 4 + half * 2];
                                to[1] = sums[j * 4 + half * 2 + 1];
                            }
                        }
                    }
                }
            } else {
#pragma unroll
                for (int c = 0; c < TN / CHUNK_COLUMNS; c++) {
                    u32 to = my_chunks + chunk * CHUNK_BYTES;
                    // The copy out of this chunk two turns ago must have read it.
                    if (threadIdx.x % 128 == 0) bulk_wait_read<1>();
                    named_barrier(1 + consumer, 128);
#if DTYPE == 2
                    const int local = lane_row - consumer * 64;
#pragma unroll
                    for (int j = 0; j < CHUNK_COLUMNS / 8; j++) {
                        int at = (c * CHUNK_COLUMNS / 8 + j) * 4, column = tile.column + c * CHUNK_COLUMNS + j * 8 + lane_column;
#pragma unroll
                        for (int half = 0; half < 2; half++) {
                            int r = local + half * 8;
                            u32 pair = finish_pair(epilogue, sums[at + half * 2], sums[at + half * 2 + 1], column, n);
                            store_shared_2(to + r * 128 + ((j / 2 ^ r % 8) * 16) + j % 2 * 8 + lane_column, (u16)pair);
                        }
                    }
#else
#pragma unroll
                    for (int j = 0; j < CHUNK_COLUMNS / 8; j += 2) {
                        u32 pairs[4];
#pragma unroll
                        for (int i = 0; i < 4; i++) {
                            int at = (c * CHUNK_COLUMNS / 8 + j + i / 2) * 4 + i % 2 * 2;
                            int column = tile.column + c * CHUNK_COLUMNS + (j + i / 2) * 8 + lane_column;
                            pairs[i] = finish_pair(epilogue, sums[at], sums[at + 1], column, n);
                        }
                        // Lane l gives the address of row l % 8 of the matrix l / 8: two halves of the rows, two of the columns.
                        int r = warp % 4 * 16 + lane % 16;
                        stmatrix_x4(to + r * 128 + ((j + lane / 16) ^ r % 8) * 16, pairs[0], pairs[1], pairs[2], pairs[3]);
                    }
#endif
                    fence_proxy_async();
                    named_barrier(1 + consumer, 128);
                    if (threadIdx.x % 128 == 0) {
                        tma_store_2d(&map_out, to, tile.column + c * CHUNK_COLUMNS, row + consumer * 64);
                        bulk_commit();
                    }
                    chunk ^= 1;
                }
            }
        }
        if (threadIdx.x % 128 == 0) bulk_wait<0>();
    }
    // No block ends while the other may still write to it.
    if (CLUSTER > 1) {
        __syncwarp();
        cluster_sync();
    }
}
