// What the kernels of sampling share: weights and random numbers as the definitions have them, and draws by weight.
//
// The blocks of a cluster share a row. Each has a part of it, each warp of a block a part of that, and a warp goes through its part in
// iterations of four tokens a lane, so that the order of blocks, warps, iterations and lanes is that of the tokens. What is summed are
// integers: no result depends on how a row is shared.
#pragma once
#include "prelude.cuh"

#define WARPS 16
#define THREADS (32 * WARPS)
// Tokens of an iteration of a warp.
#define SPAN 128
// Iterations of a warp are summed in so many groups.
#define GROUPS 8

// --- Weights. The numbers are those of `tandem_ops::sampling::weight` ---

#define FRACTION 18
#define DEFICIT_BITS 23
#define UNITS (LOG2_E * 262144.0f)
#define LARGEST_DEFICIT 8388607.0f
#define ROUND 8388608.0f
#define ONES 0x3f800000u

// Every operation is rounded by itself. A NaN is no maximum.
DEVICE u32 deficit_of(float top, float logit, float scale) {
    const float units = __fmul_rn(__fsub_rn(top, fmaxf(logit, -INF)), scale);
    return float_to_bits(__fadd_rn(fminf(fmaxf(units, 0.0f), LARGEST_DEFICIT), ROUND)) - 0x4b000000u;
}
DEVICE u32 weight_of(u32 deficit) {
    const float f = __fsub_rn(bits_to_float((deficit << (23 - FRACTION) & 0x7fffff) | ONES), 1.0f);
    float x = __fsub_rn(0.009217712f, __fmul_rn(f, 0.00094755366f));
    x = __fsub_rn(0.055313323f, __fmul_rn(f, x));
    x = __fsub_rn(0.24018809f, __fmul_rn(f, x));
    x = __fsub_rn(0.6931449f, __fmul_rn(f, x));
    return (float_to_bits(__fsub_rn(2.0f, __fmul_rn(f, x))) - ONES) << 8 >> (deficit >> FRACTION);
}
// The least mass that is a part of `mass`: the part in units of 2^-32, rounded up, of it, rounded up, and at least 1.
DEVICE u64 least_mass(u64 mass, float part) {
    const u64 units = (u64)(u32)ceilf(part * 4294967296.0f) << 32;
    const u64 least = __umul64hi(mass, units) + (mass * units != 0);
    return least == 0 ? 1 : least;
}
// Of a probability, halves to even.
DEVICE u32 grid_of(float probability) {
    u32 x;
    asm("cvt.rni.u32.f32 %0, %1;" : "=r"(x) : "f"(probability * 2147483648.0f));
    return x;
}
// The part of a mass that 64 random bits draw.
DEVICE u64 part_of(u64 bits, u64 mass) { return __umul64hi(bits, mass); }

// --- Philox4x32-10 ---

DEVICE uint4 philox(uint4 counter, u64 seed) {
    u32 low = (u32)seed, high = (u32)(seed >> 32);
#pragma unroll
    for (int round = 0; round < 10; round++) {
        const u64 first = (u64)0xd2511f53u * counter.x, second = (u64)0xcd9e8d57u * counter.z;
        counter = make_uint4((u32)(second >> 32) ^ counter.y ^ low, (u32)second, (u32)(first >> 32) ^ counter.w ^ high, (u32)first);
        low += 0x9e3779b9u;
        high += 0xbb67ae85u;
    }
    return counter;
}
DEVICE uint4 random_words(u64 seed, u64 stream, u32 step, u32 purpose) {
    return philox(make_uint4((u32)stream, (u32)(stream >> 32), step, purpose), seed);
}
DEVICE u64 random_bits(uint4 words) { return words.z | (u64)words.w << 32; }

// --- Clusters; on devices without them a block is alone ---

#if __CUDA_ARCH__ >= 900
DEVICE u32 ranks() {
    u32 count;
    asm volatile("mov.u32 %0, %%cluster_nctaid.x;" : "=r"(count));
    return count;
}
DEVICE u32 own_rank() {
    u32 rank;
    asm volatile("mov.u32 %0, %%cluster_ctaid.x;" : "=r"(rank));
    return rank;
}
// All threads of the row's blocks.
DEVICE void row_sync() { cluster_sync(); }
// The same variable of another block.
DEVICE u32 of_rank(const void* pointer, u32 rank) {
    u32 address;
    asm volatile("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(address) : "r"(shared_address(pointer)), "r"(rank));
    return address;
}
DEVICE u32 load_of_rank(const u32* pointer, u32 rank) {
    u32 x;
    asm volatile("ld.shared::cluster.u32 %0, [%1];" : "=r"(x) : "r"(of_rank(pointer, rank)) : "memory");
    return x;
}
DEVICE u64 load_of_rank(const u64* pointer, u32 rank) {
    u64 x;
    asm volatile("ld.shared::cluster.u64 %0, [%1];" : "=l"(x) : "r"(of_rank(pointer, rank)) : "memory");
    return x;
}
#else
DEVICE u32 ranks() { return 1; }
DEVICE u32 own_rank() { return 0; }
DEVICE void row_sync() { __syncthreads(); }
DEVICE u32 load_of_rank(const u32* pointer, u32) { return *pointer; }
DEVICE u64 load_of_rank(const u64* pointer, u32) { return *pointer; }
#endif

// --- Sums of 64 bits among the lanes of a warp ---

DEVICE u64 warp_sum(u64 x) {
#pragma unroll
    for (int mask = 16; mask > 0; mask >>= 1) x += __shfl_xor_sync(FULL_WARP, x, mask);
    return x;
}
// Of this lane and those before it.
DEVICE u64 warp_scan(u64 x) {
#pragma unroll
    for (int by = 1; by < 32; by <<= 1) {
        const u64 other = __shfl_up_sync(FULL_WARP, x, by);
        x += lane_id() >= by ? other : 0;
    }
    return x;
}

// --- Four elements of a row ---

// Elements from `at` on; those at `n` and beyond are `fill`. `vectors` says that rows are whole vectors of 16 bytes.
DEVICE void load_four(float (&v)[4], const float* from, int at, int n, bool vectors, float fill) {
    if (vectors) {
        uint4 x = make_uint4(float_to_bits(fill), float_to_bits(fill), float_to_bits(fill), float_to_bits(fill));
        if (at < n) x = load_streaming_16(from + at);
        v[0] = bits_to_float(x.x), v[1] = bits_to_float(x.y), v[2] = bits_to_float(x.z), v[3] = bits_to_float(x.w);
    } else {
#pragma unroll
        for (int i = 0; i < 4; i++) v[i] = at + i < n ? from[at + i] : fill;
    }
}

// --- Draws by weight ---

struct Draw {
    u64 sums[WARPS * GROUPS];
    u64 total;
    u32 token;
};

// Where in the row the iterations of this block are.
struct Share {
    int begin, iterations;
    DEVICE Share(int n) {
        iterations = ceil_div(n, (int)ranks() * WARPS * SPAN);
        begin = (int)own_rank() * iterations * WARPS * SPAN;
    }
    // The first of this lane's tokens.
    DEVICE int token(int warp, int it) const { return begin + (warp * iterations + it) * SPAN + 4 * lane_id(); }
    DEVICE int group() const { return ceil_div(iterations, GROUPS); }
};

// Weights of the row: all of them, and those before this block.
struct Mass {
    u64 all, before;
};

// Sums the weights that `weigh(w, warp, it)` gives for the tokens of an iteration. All threads of the row meet here.
template <class Weigh>
DEVICE Mass sum_weights(Draw& draw, const Share& share, Weigh weigh) {
    const int warp = warp_id(), group = share.group();
    for (int g = 0; g < GROUPS; g++) {
        u64 sum = 0;
        const int end = min_of((g + 1) * group, share.iterations);
        for (int it = g * group; it < end; it++) {
            u32 w[4];
            weigh(w, warp, it);
            sum += ((u64)w[0] + w[1]) + ((u64)w[2] + w[3]);
        }
        sum = warp_sum(sum);
        if (lane_id() == 0) draw.sums[warp * GROUPS + g] = sum;
    }
    __syncthreads();
    if (warp == 0) {
        u64 sum = 0;
#pragma unroll
        for (int i = 0; i < WARPS * GROUPS / 32; i++) sum += draw.sums[32 * i + lane_id()];
        sum = warp_sum(sum);
        if (lane_id() == 0) draw.total = sum;
    }
    row_sync();
    Mass mass = {0, 0};
    for (u32 rank = 0; rank < ranks(); rank++) {
        const u64 total = load_of_rank(&draw.total, rank);
        mass.before += rank < own_rank() ? total : 0;
        mass.all += total;
    }
    return mass;
}

// For the first warp of a block whose sums have the place `left` of its weights: the token there, in all lanes.
template <class Weigh>
DEVICE int token_at(const Draw& draw, const Share& share, u64 left, Weigh weigh) {
    const int each = WARPS * GROUPS / 32;
    int g = each * lane_id();
    u64 own = 0;
#pragma unroll
    for (int i = 0; i < each; i++) own += draw.sums[g + i];
    const u64 end = warp_scan(own);
    const int holder = __ffs(__ballot_sync(FULL_WARP, left < end)) - 1;
    u64 rest = left - (end - own);
    if (lane_id() == holder) {
        while (rest >= draw.sums[g]) rest -= draw.sums[g++];
    }
    g = __shfl_sync(FULL_WARP, g, holder);
    left = __shfl_sync(FULL_WARP, rest, holder);
    const int warp = g / GROUPS;
    for (int it = g % GROUPS * share.group(); it < share.iterations; it++) {
        u32 w[4];
        weigh(w, warp, it);
        const u64 here = ((u64)w[0] + w[1]) + ((u64)w[2] + w[3]), scanned = warp_scan(here);
        const u32 reached = __ballot_sync(FULL_WARP, left < scanned);
        if (reached != 0) {
            const int lane = __ffs(reached) - 1;
            u64 in = left - (scanned - here);
            int i = 0;
#pragma unroll
            for (int j = 0; j < 3; j++) {
                if (i == j && in >= w[j]) in -= w[j], i++;
            }
            return __shfl_sync(FULL_WARP, share.token(warp, it) + i, lane);
        }
        left -= __shfl_sync(FULL_WARP, scanned, 31);
    }
    return -1;
}
