// Products of rows with low-rank adapters: v = x A, and y + v B, for rows in segments, each with an adapter of its own.
//
// Clusters of blocks go through lists of items: at most 64 rows of one segment, of which all blocks have the same. Each block
// multiplies a stretch of x with A; the blocks' sums meet in the distributed shared memory of the cluster, where every block adds them
// in the order of the blocks; then each multiplies them with a stretch of columns of B. So one launch does it all, no sum goes
// through global memory, and none depends on timing.
//
// Operands of mma.sync come straight from memory: the order of the terms of a sum is free, so that a lane's 16 bytes of a row, eight
// neighbours, may stand for the places in which two instructions want them; and so is that of the columns of a result. The sums of
// the first product lie in registers as the second one's left operand does.
//
// MODE: 0 both products, 1 the first alone, 2 the second alone. ALIGNED: whether rows begin at multiples of 16 bytes and are whole
// ones.
#include "prelude.cuh"

#define WARPS 8
#define THREADS (WARPS * 32)
// Elements of x and A that a lane's loads of one step take, those of a quarter of a warp side by side; and steps that are loaded
// before the first is used.
#define STEP 32
#define AHEAD 4
// Columns of B that a warp takes.
#define WIDE 64
// 16 bytes, in a pair of 16 rows and 16 ranks: 16 for each of 32 lanes, twice.
#define PAIR 64

struct Parameters {
    const u16* x;
    const u16* pool;
    const i32* a_index;
    const i32* b_index;
    const i32* lists;
    const int4* items;
    const u16* y;
    u16* out;
    // [rows, width].
    float* v;
    int h1, h2, page, width, cluster, pairs;
};

// Rows of a segment and entries of its adapter.
struct Item {
    int row, rows, entry, ranks;
    DEVICE int tiles() const { return ceil_div(rows, 16); }
    DEVICE int groups() const { return ceil_div(ranks, 16); }
    DEVICE int pairs() const { return tiles() * groups(); }
};

// Shared memory of a block.
struct Block {
    // Sums of the block, with room for those of the item before; those of warps that share a pair.
    float4* sums;
    float4* partial;
    // What is expanded, in two parts of bfloat16.
    uint2* first;
    uint2* rest;
    // Pages of B.
    int* pages;
    // Which block of its cluster it is.
    int rank;
};

// Eight elements of a row from `at` on; zero behind its end, and where there is no row.
DEVICE uint4 load_8(const u16* row, int at, int length) {
    uint4 x = make_uint4(0, 0, 0, 0);
#if ALIGNED
    // A predicate and no branch, so that all loads of a step are issued before the first is waited for.
    asm volatile("{\n .reg .pred inside;\n setp.ne.u32 inside, %5, 0;\n"
                 " @inside ld.global.nc.v4.u32 {%0, %1, %2, %3}, [%4];\n}"
                 : "+r"(x.x), "+r"(x.y), "+r"(x.z), "+r"(x.w) : "l"(row + at), "r"((u32)(row != nullptr && at < length)));
#else
    if (row) {
        u32 words[4];
#pragma unroll
        for (int i = 0; i < 4; i++) {
            u32 low = at + 2 * i < length ? row[at + 2 * i] : 0, high = at + 2 * i + 1 < length ? row[at + 2 * i + 1] : 0;
            words[i] = low | high << 16;
        }
        x = make_uint4(words[0], words[1], words[2], words[3]);
    }
#endif
    return x;
}

DEVICE const u16* page_at(const Parameters& p, int page) { return p.pool + (i64)page * p.page; }

#if MODE != 2

// How many warps share the elements of a pair's sum.
DEVICE int splits_of(int pairs) { return pairs > 4 ? 1 : pairs > 2 ? 2 : pairs > 1 ? 4 : 8; }

// The products of this block's stretch of x with A, to `sums`.
DEVICE void shrink(const Parameters& p, const Item& item, const Block& block, float4* sums) {
    const int warp = warp_id(), lane = lane_id();
    const int tiles = item.tiles(), pairs = item.pairs(), splits = splits_of(pairs), split = warp % splits;
    const int steps = ceil_div(ceil_div(p.h1, STEP), AHEAD);
    const int begin = (int)((i64)steps * block.rank / p.cluster), end = (int)((i64)steps * (block.rank + 1) / p.cluster);
    float4* to = splits > 1 ? block.partial + split * pairs * PAIR : sums;
    for (int pair = warp / splits; pair < pairs; pair += WARPS / splits) {
        const int row = pair % tiles * 16 + lane / 4, rank = pair / tiles * 16 + lane / 4;
        const u16* x[2];
        const u16* a[2];
#pragma unroll
        for (int half = 0; half < 2; half++) {
            x[half] = row + half * 8 < item.rows ? p.x + (i64)(item.row + row + half * 8) * p.h1 : nullptr;
            a[half] = rank + half * 8 < item.ranks ? page_at(p, p.a_index[item.entry + rank + half * 8]) : nullptr;
        }
        float d[2][4] = {};
        for (int step = begin + split; step < end; step += splits) {
            uint4 left[AHEAD][2], right[AHEAD][2];
#pragma unroll
            for (int i = 0; i < AHEAD; i++) {
#pragma unroll
                for (int half = 0; half < 2; half++) {
                    const int at = (step * AHEAD + i) * STEP + lane % 4 * 8;
                    right[i][half] = load_8(a[half], at, p.h1);
                    left[i][half] = load_8(x[half], at, p.h1);
                }
            }
#pragma unroll
            for (int i = 0; i < AHEAD; i++) {
                const u32 low[4] = {left[i][0].x, left[i][1].x, left[i][0].y, left[i][1].y};
                const u32 high[4] = {left[i][0].z, left[i][1].z, left[i][0].w, left[i][1].w};
#pragma unroll
                for (int half = 0; half < 2; half++) {
                    const u32 first[2] = {right[i][half].x, right[i][half].y}, second[2] = {right[i][half].z, right[i][half].w};
                    mma_bf16(d[half], low, first);
                    mma_bf16(d[half], high, second);
                }
            }
        }
#pragma unroll
        for (int half = 0; half < 2; half++) {
            to[(pair * 2 + half) * 32 + lane] = make_float4(d[half][0], d[half][1], d[half][2], d[half][3]);
        }
    }
    if (splits == 1) return;
    __syncthreads();
    for (int i = threadIdx.x; i < pairs * PAIR; i += THREADS) {
        float4 sum = block.partial[i];
        for (int other = 1; other < splits; other++) {
            float4 more = block.partial[other * pairs * PAIR + i];
            sum = make_float4(sum.x + more.x, sum.y + more.y, sum.z + more.z, sum.w + more.w);
        }
        sums[i] = sum;
    }
}

// A number of another block's shared memory.
DEVICE float4 load_of(u32 address, int rank) {
    float4 x;
#if __CUDA_ARCH__ >= 900
    asm volatile("{\n .reg .b32 remote;\n mapa.shared::cluster.u32 remote, %4, %5;\n"
                 " ld.shared::cluster.v4.f32 {%0, %1, %2, %3}, [remote];\n}"
                 : "=f"(x.x), "=f"(x.y), "=f"(x.z), "=f"(x.w) : "r"(address), "r"(rank) : "memory");
#else
    asm volatile("ld.shared.v4.f32 {%0, %1, %2, %3}, [%4];"
                 : "=f"(x.x), "=f"(x.y), "=f"(x.z), "=f"(x.w) : "r"(address) : "memory");
#endif
    return x;
}

// Every block of the cluster has come here, and what it wrote to shared memory is there.
DEVICE void meet() {
#if __CUDA_ARCH__ >= 900
    cluster_sync();
#else
    __syncthreads();
#endif
}

// The sums of all blocks, in their order.
DEVICE float4 sum_of_blocks(const Parameters& p, const float4* sums) {
    const u32 address = shared_address(sums);
    float4 sum = load_of(address, 0);
    for (int rank = 1; rank < p.cluster; rank++) {
        float4 more = load_of(address, rank);
        sum = make_float4(sum.x + more.x, sum.y + more.y, sum.z + more.z, sum.w + more.w);
    }
    return sum;
}

#endif

#if MODE == 1

// This block's share of v.
DEVICE void store_products(const Parameters& p, const Item& item, const Block& block, const float4* sums) {
    const int tiles = item.tiles(), all = item.rows * p.width;
    const int begin = (int)((i64)all * block.rank / p.cluster), end = (int)((i64)all * (block.rank + 1) / p.cluster);
    for (int i = begin + threadIdx.x; i < end; i += THREADS) {
        const int row = i / p.width, rank = i % p.width;
        float x = 0.0f;
        if (rank < item.ranks) {
            const int pair = rank / 16 * tiles + row / 16, lane = row % 8 * 4 + rank % 8 / 2;
            const float4 sum = sum_of_blocks(p, sums + (pair * 2 + rank % 16 / 8) * 32 + lane);
            const float2 half = row % 16 < 8 ? make_float2(sum.x, sum.y) : make_float2(sum.z, sum.w);
            x = rank % 2 ? half.y : half.x;
        }
        p.v[(i64)item.row * p.width + i] = x;
    }
}

#else

// What rounding to bfloat16 towards zero leaves of a number, rounded to nearest; of what is not finite, nothing.
DEVICE float rest_of(float x) {
    return fabsf(x) < INF ? x - bits_to_float(float_to_bits(x) & 0xffff0000u) : 0.0f;
}
DEVICE u32 cut_pair(float x, float y) { return float_to_bits(x) >> 16 | (float_to_bits(y) & 0xffff0000u); }

// Puts products where `expand` reads them. Those of ranks that there are not are zero, whatever x is.
DEVICE void put_products(const Item& item, const Block& block, int i, float4 v) {
    const int rank = i / PAIR / item.tiles() * 16 + i % PAIR / 32 * 8 + i % 4 * 2;
    if (rank >= item.ranks) v.x = v.z = 0.0f;
    if (rank + 1 >= item.ranks) v.y = v.w = 0.0f;
    // The two halves of a lane's 16 bytes.
    const int to = (i / PAIR * 32 + i % 32) * 2 + i % PAIR / 32;
    block.first[to] = make_uint2(cut_pair(v.x, v.y), cut_pair(v.z, v.w));
    block.rest[to] = make_uint2(pack_bf16(rest_of(v.x), rest_of(v.y)), pack_bf16(rest_of(v.z), rest_of(v.w)));
}

#if MODE == 2
// Products of a lane from memory: two columns of two rows.
DEVICE float4 load_products(const Parameters& p, const Item& item, int i) {
    const int pair = i / PAIR, row = pair % item.tiles() * 16 + i % 32 / 4;
    const int rank = pair / item.tiles() * 16 + i % PAIR / 32 * 8 + i % 4 * 2;
    const float* from = p.v + (i64)(item.row + row) * p.width + rank;
    float x[4];
#pragma unroll
    for (int at = 0; at < 4; at++) {
        const bool inside = row + at / 2 * 8 < item.rows && rank + at % 2 < item.ranks;
        x[at] = inside ? from[(i64)(at / 2 * 8) * p.width + at % 2] : 0.0f;
    }
    return make_float4(x[0], x[1], x[2], x[3]);
}
#endif

// Eight elements of y.
DEVICE void load_y(const Parameters& p, i64 row, int column, float (&y)[8]) {
    const u16* from = p.y + row * p.h2 + column;
#if ALIGNED
    const uint4 x = *(const uint4*)from;
    const u32 words[4] = {x.x, x.y, x.z, x.w};
#pragma unroll
    for (int i = 0; i < 8; i++) y[i] = i % 2 ? high_bf16(words[i / 2]) : low_bf16(words[i / 2]);
#else
#pragma unroll
    for (int i = 0; i < 8; i++) y[i] = column + i < p.h2 ? bf16_to_float(from[i]) : 0.0f;
#endif
}

DEVICE void store_out(const Parameters& p, i64 row, int column, const float (&x)[8]) {
    u16* to = p.out + row * p.h2 + column;
#if ALIGNED
    *(uint4*)to = make_uint4(pack_bf16(x[0], x[1]), pack_bf16(x[2], x[3]), pack_bf16(x[4], x[5]), pack_bf16(x[6], x[7]));
#else
#pragma unroll
    for (int i = 0; i < 8; i++) {
        if (column + i < p.h2) to[i] = float_to_bf16(x[i]);
    }
#endif
}

// Where this block's columns begin, in steps of WIDE, and where those of block `rank` do.
DEVICE int columns_begin(const Parameters& p, int rank) { return (int)((i64)ceil_div(p.h2, WIDE) * rank / p.cluster); }

// Fetches this block's columns of B to the second-level cache.
DEVICE void prefetch(const Parameters& p, const Item& item, const Block& block) {
    const int begin = columns_begin(p, block.rank) * WIDE, end = min_of(columns_begin(p, block.rank + 1) * WIDE, p.h2);
    // WIDE elements are a line of 128 bytes.
    const int lines = end > begin ? ceil_div(end - begin, WIDE) : 0;
    for (int i = threadIdx.x; i < item.ranks * lines; i += THREADS) {
        const u16* line = page_at(p, p.b_index[item.entry + i / lines]) + begin + i % lines * WIDE;
        asm volatile("prefetch.global.L2 [%0];" :: "l"(line));
    }
}

// Adds the products with this block's columns of B to y.
DEVICE void expand(const Parameters& p, const Item& item, const Block& block) {
    const int warp = warp_id(), lane = lane_id(), tiles = item.tiles(), groups = item.groups();
    const int end = columns_begin(p, block.rank + 1) * tiles;
    for (int unit = columns_begin(p, block.rank) * tiles + warp; unit < end; unit += WARPS) {
        const int column = unit / tiles * WIDE, tile = unit % tiles;
        float d[8][4] = {};
        for (int group = 0; group < groups; group++) {
            const int pair = group * tiles + tile;
            // Of four ranks eight columns, those of another lane beside them.
            uint4 b[4];
#pragma unroll
            for (int i = 0; i < 4; i++) {
                const int rank = group * 16 + lane % 4 * 2 + i % 2 + i / 2 * 8;
                const u16* row = rank < item.ranks ? page_at(p, block.pages[rank]) : nullptr;
                b[i] = load_8(row, column + lane / 4 * 8, p.h2);
            }
            const uint4 first = ((const uint4*)block.first)[pair * 32 + lane], rest = ((const uint4*)block.rest)[pair * 32 + lane];
            const u32 v[4] = {first.x, first.y, first.z, first.w}, w[4] = {rest.x, rest.y, rest.z, rest.w};
            const u32 words[4][4] = {{b[0].x, b[0].y, b[0].z, b[0].w}, {b[1].x, b[1].y, b[1].z, b[1].w},
                                     {b[2].x, b[2].y, b[2].z, b[2].w}, {b[3].x, b[3].y, b[3].z, b[3].w}};
#pragma unroll
            for (int j = 0; j < 8; j++) {
                const u32 half = j % 2 ? 0x7632 : 0x5410;
                const u32 right[2] = {__byte_perm(words[0][j / 2], words[1][j / 2], half),
                                      __byte_perm(words[2][j / 2], words[3][j / 2], half)};
                mma_bf16(d[j], v, right);
                mma_bf16(d[j], w, right);
            }
        }
#pragma unroll
        for (int i = 0; i < 4; i++) {
            // Instruction j has every eighth column; so all of them have eight neighbours of each of two rows, twice.
            const int row = tile * 16 + lane / 4 + i / 2 * 8, at = column + lane % 4 * 16 + i % 2 * 8;
            if (row >= item.rows || at >= p.h2) continue;
            float y[8];
            load_y(p, item.row + row, at, y);
#pragma unroll
            for (int j = 0; j < 8; j++) y[j] += d[j][i];
            store_out(p, item.row + row, at, y);
        }
    }
}

// Rows without an adapter stay as they are, to the last bit.
DEVICE void copy_rows(const Parameters& p, const Item& item, const Block& block) {
    const i64 all = (i64)item.rows * p.h2, from = (i64)item.row * p.h2;
    for (i64 i = (i64)block.rank * THREADS + threadIdx.x; i < all; i += (i64)p.cluster * THREADS) p.out[from + i] = p.y[from + i];
}

#endif

extern "C" __global__ void __launch_bounds__(THREADS, 2) sgmv(const __grid_constant__ Parameters p) {
    extern __shared__ __align__(16) u8 dynamic_shared[];
    Block block;
    block.sums = (float4*)dynamic_shared;
    block.partial = block.sums + 2 * p.pairs * PAIR;
    block.first = (uint2*)(block.partial + WARPS * PAIR);
    block.rest = block.first + p.pairs * PAIR;
    block.pages = (int*)(block.rest + p.pairs * PAIR);
    block.rank = blockIdx.x % p.cluster;
    const int list = blockIdx.x / p.cluster;
    [[maybe_unused]] int turn = 0;
    for (int number = p.lists[list]; number < p.lists[list + 1]; number++) {
        const int4 words = p.items[number];
        const Item item = {words.x, words.y, words.z, words.w};
#if MODE == 1
        float4* sums = block.sums + turn * p.pairs * PAIR;
        shrink(p, item, block, sums);
        meet();
        store_products(p, item, block, sums);
        turn ^= 1;
#else
        if (item.ranks == 0) {
            copy_rows(p, item, block);
            continue;
        }
#if MODE == 0
        prefetch(p, item, block);
        float4* sums = block.sums + turn * p.pairs * PAIR;
        shrink(p, item, block, sums);
        // Behind this all of the last item is done, whose sums may be overwritten by the next one.
        meet();
        for (int i = threadIdx.x; i < item.pairs() * PAIR; i += THREADS) put_products(item, block, i, sum_of_blocks(p, sums + i));
        turn ^= 1;
#else
        // Every warp is done with the products of the last item.
        __syncthreads();
        for (int i = threadIdx.x; i < item.pairs() * PAIR; i += THREADS) put_products(item, block, i, load_products(p, item, i));
#endif
        for (int i = threadIdx.x; i < item.ranks; i += THREADS) block.pages[i] = p.b_index[item.entry + i];
        __syncthreads();
        expand(p, item, block);
#endif
    }
#if MODE != 2
    // Other blocks may still read the sums of this one.
    meet();
#endif
}
