// What a device can do at most: kernels that do one thing each and wait for nothing else, to be timed. Each leaves a word for
// what it computed, so that a test sees whether it did it.
//
// DTYPE: of the tensor instructions: 0 bfloat16, 1 binary16, 2 8-bit integers. STAGES: operand tiles of wgmma, which take turns;
// 0 where that kernel is not wanted.
#include "prelude.cuh"

#ifndef DTYPE
#define DTYPE 0
#endif
#ifndef STAGES
#define STAGES 0
#endif

#if DTYPE == 2
typedef int Sum;
DEVICE u32 bits_of(Sum x) { return (u32)x; }
#else
typedef float Sum;
DEVICE u32 bits_of(Sum x) { return float_to_bits(x); }
#endif

// Threads of a block that goes through memory, and 16-byte accesses that each has on their way.
#define THREADS 512
#define VECTORS 8

DEVICE u32 warp_xor(u32 x) {
#pragma unroll
    for (int mask = 16; mask > 0; mask >>= 1) x ^= __shfl_xor_sync(FULL_WARP, x, mask);
    return x;
}

// The index of this thread's first vector in a round, in which every block takes a part that is contiguous.
DEVICE u64 first_vector(u64 round) {
    return (round * gridDim.x + blockIdx.x) * (THREADS * VECTORS) + threadIdx.x;
}

extern "C" __global__ void nothing() {}

// Words at random: a hash of their place.
extern "C" __global__ void __launch_bounds__(THREADS) fill(u32* to, u64 words, u32 seed) {
    for (u64 at = (u64)blockIdx.x * blockDim.x + threadIdx.x; at < words; at += (u64)gridDim.x * blockDim.x) {
        u32 x = (u32)at * 0x9e3779b9u + seed;
        x = (x ^ x >> 16) * 0x85ebca6bu;
        x = (x ^ x >> 13) * 0xc2b2ae35u;
        to[at] = x ^ x >> 16;
    }
}

// Reads rounds x blocks x threads x VECTORS vectors. A word for each warp: the xor of what it read.
extern "C" __global__ void __launch_bounds__(THREADS, 2) read_all(const uint4* from, u32* out, u64 rounds) {
    u32 seen = 0;
    // Not unrolled: what is on its way fills the registers.
#pragma unroll 1
    for (u64 round = 0; round < rounds; round++) {
        const uint4* part = from + first_vector(round);
        uint4 x[VECTORS];
#pragma unroll
        for (int i = 0; i < VECTORS; i++) x[i] = load_streaming_16(part + i * THREADS);
#pragma unroll
        for (int i = 0; i < VECTORS; i++) seen ^= x[i].x ^ x[i].y ^ x[i].z ^ x[i].w;
    }
    seen = warp_xor(seen);
    if (lane_id() == 0) out[(blockIdx.x * blockDim.x + threadIdx.x) / 32] = seen;
}

// Copies as many.
extern "C" __global__ void __launch_bounds__(THREADS, 2) copy_all(const uint4* from, uint4* to, u64 rounds) {
    // Not unrolled: what is on its way fills the registers.
#pragma unroll 1
    for (u64 round = 0; round < rounds; round++) {
        u64 first = first_vector(round);
        uint4 x[VECTORS];
#pragma unroll
        for (int i = 0; i < VECTORS; i++) x[i] = load_streaming_16(from + first + i * THREADS);
#pragma unroll
        for (int i = 0; i < VECTORS; i++) to[first + i * THREADS] = x[i];
    }
}

// Fused multiply-adds of binary32: rounds x 16 x 8 for each thread, in eight sums that do not wait for each other.
extern "C" __global__ void __launch_bounds__(THREADS, 2) fma_peak(const float* operands, u32* out, int rounds) {
    float x = operands[threadIdx.x % 32], y = operands[32 + threadIdx.x % 32];
    float sums[8];
#pragma unroll
    for (int i = 0; i < 8; i++) sums[i] = operands[i];
    for (int round = 0; round < rounds; round++) {
#pragma unroll
        for (int j = 0; j < 16; j++) {
#pragma unroll
            for (int i = 0; i < 8; i++) asm volatile("fma.rn.f32 %0, %0, %1, %2;" : "+f"(sums[i]) : "f"(x), "f"(y));
        }
    }
    u32 seen = 0;
#pragma unroll
    for (int i = 0; i < 8; i++) seen ^= float_to_bits(sums[i]);
    seen = warp_xor(seen);
    if (lane_id() == 0) out[(blockIdx.x * blockDim.x + threadIdx.x) / 32] = seen;
}

// mma.sync from registers: rounds x 8 for each warp, in eight sums that do not wait for each other.
extern "C" __global__ void __launch_bounds__(THREADS, 1) mma_peak(const u32* operands, u32* out, int rounds) {
    u32 a[4], b[2];
    Sum sums[8][4] = {};
#pragma unroll
    for (int i = 0; i < 4; i++) a[i] = operands[i * 32 + lane_id()];
#pragma unroll
    for (int i = 0; i < 2; i++) b[i] = operands[(4 + i) * 32 + lane_id()];
    for (int round = 0; round < rounds; round++) {
#pragma unroll
        for (int i = 0; i < 8; i++) {
#if DTYPE == 2
            mma_s8(sums[i], a, b);
#elif DTYPE == 1
            mma_f16(sums[i], a, b);
#else
            mma_bf16(sums[i], a, b);
#endif
        }
    }
    u32 seen = 0;
#pragma unroll
    for (int i = 0; i < 8; i++) {
        // All eight are the same sums, which must not cancel.
#pragma unroll
        for (int j = 0; j < 4; j++) seen = seen * 31 + bits_of(sums[i][j]);
    }
    seen = warp_xor(seen);
    if (lane_id() == 0) out[(blockIdx.x * blockDim.x + threadIdx.x) / 32] = seen;
}

#if __CUDA_ARCH__ >= 900 && STAGES > 0

#define CONSUMERS 2
#define ROW_BYTES 128
#define A_BYTES (64 * ROW_BYTES)
#define B_BYTES (256 * ROW_BYTES)
#define STAGE_BYTES (CONSUMERS * A_BYTES + B_BYTES)

// wgmma from shared memory: rounds x STAGES x 4 of m64n256 for each of two warpgroups, whose operands are tiles as a product has
// them. Every `period` rounds a sum begins anew, so that sums keep the size that random operands give them. A constant would tell
// the assembler that sums are not read there, and it would take as many registers again for the next ones.
extern "C" __global__ void __launch_bounds__(CONSUMERS * 128, 1) wgmma_peak(const uint4* operands, u32* out, int rounds, int period) {
    extern __shared__ u8 dynamic_shared[];
    const u32 stages = (shared_address(dynamic_shared) + 1023) & ~1023u;
    for (int at = threadIdx.x; at < STAGES * STAGE_BYTES / 16; at += CONSUMERS * 128) store_shared_16(stages + at * 16, operands[at]);
    fence_proxy_async();
    __syncthreads();
    const int consumer = warp_id() / 4;
    Sum sums[128] = {};
    for (int round = 0; round < rounds; round++) {
        const bool goes_on = round % period != 0;
#pragma unroll
        for (int stage = 0; stage < STAGES; stage++) {
            const u32 a = stages + stage * STAGE_BYTES + consumer * A_BYTES, b = stages + stage * STAGE_BYTES + CONSUMERS * A_BYTES;
            wgmma_hold(sums);
            wgmma_fence();
#pragma unroll
            for (int part = 0; part < ROW_BYTES / 32; part++) {
                u64 left = wgmma_descriptor(a + part * 32), right = wgmma_descriptor(b + part * 32);
#if DTYPE == 2
                wgmma_s8(sums, left, right, goes_on || stage > 0 || part > 0);
#elif DTYPE == 1
                wgmma_f16<0>(sums, left, right, goes_on || stage > 0 || part > 0);
#else
                wgmma_bf16<0>(sums, left, right, goes_on || stage > 0 || part > 0);
#endif
            }
            wgmma_commit();
            wgmma_wait<1>();
        }
    }
    wgmma_wait<0>();
    wgmma_hold(sums);
    u32 seen = 0;
#pragma unroll
    for (int i = 0; i < 128; i++) seen ^= bits_of(sums[i]);
    seen = warp_xor(seen);
    if (lane_id() == 0) out[blockIdx.x * CONSUMERS * 4 + warp_id()] = seen;
}

#endif
