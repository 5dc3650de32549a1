// What every kernel includes, itself or by the header of its family: integer types, PTX instructions as functions, conversions.
//
// Names follow the instructions. Addresses of shared memory are 32-bit offsets in the shared window (`shared_address`), so that
// they can be computed with cheaply. Functions that need Hopper are compiled for sm_90a alone.
#pragma once

typedef signed char i8;
typedef unsigned char u8;
typedef short i16;
typedef unsigned short u16;
typedef int i32;
typedef unsigned int u32;
typedef long long i64;
typedef unsigned long long u64;

#define DEVICE __device__ __forceinline__
#define INF __int_as_float(0x7f800000)
#define FULL_WARP 0xffffffffu
#define LOG2_E 1.4426950408889634f

// --- Numbers ---

DEVICE constexpr int ceil_div(int a, int b) { return (a + b - 1) / b; }
DEVICE int min_of(int a, int b) { return a < b ? a : b; }
DEVICE int max_of(int a, int b) { return a > b ? a : b; }

DEVICE float bits_to_float(u32 bits) { return __uint_as_float(bits); }
DEVICE u32 float_to_bits(float x) { return __float_as_uint(x); }

// bfloat16 as its 16 bits. Rounding is to nearest, ties to even; a NaN stays one.
DEVICE float bf16_to_float(u16 x) { return __uint_as_float((u32)x << 16); }
DEVICE u16 float_to_bf16(float x) {
    u16 y;
    asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(y) : "f"(x));
    return y;
}
// Two of them in a word, the first in the low half.
DEVICE u32 pack_bf16(float lo, float hi) {
    u32 y;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(y) : "f"(hi), "f"(lo));
    return y;
}
// The first and the second of such a pair.
DEVICE float low_bf16(u32 pair) { return bits_to_float(pair << 16); }
DEVICE float high_bf16(u32 pair) { return bits_to_float(pair & 0xffff0000u); }

// a b + c of such pairs, each rounded once.
DEVICE u32 fma_bf16x2(u32 a, u32 b, u32 c) {
    u32 d;
    asm("fma.rn.bf16x2 %0, %1, %2, %3;" : "=r"(d) : "r"(a), "r"(b), "r"(c));
    return d;
}

// The numbers of a vector of 16 bytes: eight bfloat16, or four of binary32.
DEVICE void numbers_of(float (&v)[8], const uint4& x) {
    const u32 words[4] = {x.x, x.y, x.z, x.w};
#pragma unroll
    for (int i = 0; i < 8; i++) v[i] = i % 2 ? high_bf16(words[i / 2]) : low_bf16(words[i / 2]);
}
DEVICE void numbers_of(float (&v)[4], const uint4& x) {
    v[0] = bits_to_float(x.x), v[1] = bits_to_float(x.y), v[2] = bits_to_float(x.z), v[3] = bits_to_float(x.w);
}

// binary16 as its 16 bits.
DEVICE float f16_to_float(u16 x) {
    float y;
    asm("cvt.f32.f16 %0, %1;" : "=f"(y) : "h"(x));
    return y;
}
DEVICE u16 float_to_f16(float x) {
    u16 y;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(y) : "f"(x));
    return y;
}
DEVICE u32 pack_f16(float lo, float hi) {
    u32 y;
    asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(y) : "f"(hi), "f"(lo));
    return y;
}

// To the nearest integer, ties to even; saturates, and a NaN gives 0.
DEVICE int float_to_int(float x) {
    int y;
    asm("cvt.rni.s32.f32 %0, %1;" : "=r"(y) : "f"(x));
    return y;
}

// ROUNDING: how sums become codes: 0 by a scale in binary32, 1 by an integer multiplier and two roundings.
#ifndef ROUNDING
#define ROUNDING 0
#endif

// How a sum becomes a code; made by the host.
struct Requant {
    // The lowest and the highest integer whose code is not clamped, and the code of zero.
    int lowest, highest, zero_point;
    // The bits that the first of two roundings takes off.
    int first;
};
// What a sum is multiplied by: the bits of a scale in binary32, or an integer and the bits that the last of two roundings takes off.
struct Factor {
    u32 multiplier;
    int shift;
};
// Those of all columns; made by the host.
struct Factors {
    const u32* multiplier;
    const int* shift;
};
DEVICE Factor factor_at(const Factors& factors, int column, bool inside) {
    return {inside ? factors.multiplier[column] : 0, ROUNDING && inside ? factors.shift[column] : 0};
}
// x multiplier / 2^first, half up, then / 2^shift, half away from zero. Where the shift is negative, x goes left beforehand.
DEVICE i64 rounded(int x, Factor factor, int first) {
    i64 product = (i64)(int)((u32)x << max_of(-factor.shift, 0)) * (int)factor.multiplier;
    i64 high = (product + (((i64)1 << first) >> 1)) >> first;
    int shift = max_of(factor.shift, 0);
    i64 magnitude = ((high < 0 ? -high : high) + (((i64)1 << shift) >> 1)) >> shift;
    return high < 0 ? -magnitude : magnitude;
}
// The code of an integer that is yet to be moved by the zero point. Clamping first keeps the sum of the two in 32 bits.
DEVICE u32 clamped_code(const Requant& requant, i64 real) {
    real = real < requant.lowest ? requant.lowest : real;
    return (u32)((int)(real < requant.highest ? real : requant.highest) + requant.zero_point) & 0xff;
}
// The code of a sum: rounded, + zero point, clamped. In binary32, halves are rounded to even.
DEVICE u32 code_of(const Requant& requant, int sum, Factor factor) {
#if ROUNDING
    return clamped_code(requant, rounded(sum, factor, requant.first));
#else
    int real = float_to_int((float)sum * bits_to_float(factor.multiplier));
    return (u32)(min_of(max_of(real, requant.lowest), requant.highest) + requant.zero_point) & 0xff;
#endif
}

DEVICE float exp2_approx(float x) {
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}
DEVICE float log2_approx(float x) {
    float y;
    asm("lg2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}
DEVICE float rcp_approx(float x) {
    float y;
    asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}
DEVICE float rsqrt_approx(float x) {
    float y;
    asm("rsqrt.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}

// 1 / (1 + e^-x). At -inf the exponential is infinite and its reciprocal 0.
DEVICE float sigmoid(float x) { return rcp_approx(1.0f + exp2_approx(-LOG2_E * x)); }

// Activations by their number: none, ReLU (a NaN stays one), x sigmoid(x), GELU by its tangent form.
template <int ACT>
DEVICE float activate(float x) {
    if (ACT == 1) return x < 0.0f ? 0.0f : x;
    if (ACT == 2) return x * sigmoid(x);
    // (1 + tanh(y)) / 2 is sigmoid(2 y).
    if (ACT == 3) return x * sigmoid(1.5957691216057308f * (x + 0.044715f * x * x * x));
    return x;
}
// The same with the number known at run time: short, since epilogues repeat it for every register of a sum.
DEVICE float activate(int act, float x) {
    if (act < 2) return act == 1 && x < 0.0f ? 0.0f : x;
    return x * sigmoid(act == 3 ? 1.5957691216057308f * (x + 0.044715f * x * x * x) : x);
}

// --- Warps ---

DEVICE int lane_id() { return threadIdx.x & 31; }
// The same in every lane, and known to be so by the compiler.
DEVICE int warp_id() { return __shfl_sync(FULL_WARP, (int)threadIdx.x >> 5, 0); }

DEVICE float shuffle_xor(float x, int mask) { return __shfl_xor_sync(FULL_WARP, x, mask); }
DEVICE float warp_sum(float x) {
#pragma unroll
    for (int mask = 16; mask > 0; mask >>= 1) x += shuffle_xor(x, mask);
    return x;
}
DEVICE float warp_max(float x) {
#pragma unroll
    for (int mask = 16; mask > 0; mask >>= 1) x = fmaxf(x, shuffle_xor(x, mask));
    return x;
}
// One lane of a warp whose lanes are all active.
DEVICE bool elect_one() { return lane_id() == 0; }

// --- Memory ---

DEVICE u32 shared_address(const void* pointer) { return (u32)__cvta_generic_to_shared(pointer); }

DEVICE uint4 load_shared_16(u32 address) {
    uint4 x;
    asm volatile("ld.shared.v4.u32 {%0, %1, %2, %3}, [%4];"
                 : "=r"(x.x), "=r"(x.y), "=r"(x.z), "=r"(x.w) : "r"(address) : "memory");
    return x;
}
DEVICE u32 load_shared_4(u32 address) {
    u32 x;
    asm volatile("ld.shared.u32 %0, [%1];" : "=r"(x) : "r"(address) : "memory");
    return x;
}
DEVICE void store_shared_16(u32 address, uint4 x) {
    asm volatile("st.shared.v4.u32 [%0], {%1, %2, %3, %4};"
                 :: "r"(address), "r"(x.x), "r"(x.y), "r"(x.z), "r"(x.w) : "memory");
}
// A word as often as it goes into BYTES: 4, 8 or 16.
template <int BYTES>
DEVICE void fill_shared(u32 address, u32 word) {
    if (BYTES == 16) store_shared_16(address, make_uint4(word, word, word, word));
    if (BYTES == 8) asm volatile("st.shared.v2.u32 [%0], {%1, %1};" :: "r"(address), "r"(word) : "memory");
    if (BYTES == 4) asm volatile("st.shared.u32 [%0], %1;" :: "r"(address), "r"(word) : "memory");
}
DEVICE void store_shared_4(u32 address, u32 x) {
    asm volatile("st.shared.u32 [%0], %1;" :: "r"(address), "r"(x) : "memory");
}
DEVICE void store_shared_2(u32 address, u16 x) {
    asm volatile("st.shared.u16 [%0], %1;" :: "r"(address), "h"(x) : "memory");
}
// Read once: past the first-level cache.
DEVICE uint4 load_streaming_16(const void* pointer) {
    uint4 x;
    asm volatile("ld.global.nc.L1::no_allocate.v4.u32 {%0, %1, %2, %3}, [%4];"
                 : "=r"(x.x), "=r"(x.y), "=r"(x.z), "=r"(x.w) : "l"(pointer));
    return x;
}

// BYTES, 4 or 8, of global memory to shared memory.
template <int BYTES>
DEVICE void cp_async(u32 to, const void* from) {
    asm volatile("cp.async.ca.shared.global [%0], [%1], %2;" :: "r"(to), "l"(from), "n"(BYTES) : "memory");
}
// The same; where `bytes` is less than BYTES, the rest becomes zero.
template <int BYTES>
DEVICE void cp_async(u32 to, const void* from, u32 bytes) {
    asm volatile("cp.async.ca.shared.global [%0], [%1], %2, %3;" :: "r"(to), "l"(from), "n"(BYTES), "r"(bytes) : "memory");
}
// 16 bytes; where `bytes` is less than 16, the rest becomes zero.
DEVICE void cp_async_16(u32 to, const void* from, u32 bytes) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" :: "r"(to), "l"(from), "r"(bytes) : "memory");
}
DEVICE void cp_async_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }
// Waits until at most N of the latest groups of this thread are under way.
template <int N>
DEVICE void cp_async_wait() { asm volatile("cp.async.wait_group %0;" :: "n"(N) : "memory"); }

DEVICE void ldmatrix_x4(u32 (&x)[4], u32 address) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(x[0]), "=r"(x[1]), "=r"(x[2]), "=r"(x[3]) : "r"(address) : "memory");
}
DEVICE void ldmatrix_x4_trans(u32 (&x)[4], u32 address) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(x[0]), "=r"(x[1]), "=r"(x[2]), "=r"(x[3]) : "r"(address) : "memory");
}

// --- mma.sync: a warp's product. Lane l holds rows l / 4 and l / 4 + 8, columns 2 (l % 4) and the next, of 16 x 8 sums ---

DEVICE void mma_bf16(float (&d)[4], const u32 (&a)[4], const u32 (&b)[2]) {
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
DEVICE void mma_f16(float (&d)[4], const u32 (&a)[4], const u32 (&b)[2]) {
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
// Sums wrap: `satfinite` is not asked for.
DEVICE void mma_s8(int (&d)[4], const u32 (&a)[4], const u32 (&b)[2]) {
    asm volatile("mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                 : "+r"(d[0]), "+r"(d[1]), "+r"(d[2]), "+r"(d[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

#if __CUDA_ARCH__ >= 900

DEVICE void stmatrix_x4(u32 address, u32 a, u32 b, u32 c, u32 d) {
    asm volatile("stmatrix.sync.aligned.m8n8.x4.shared.b16 [%0], {%1, %2, %3, %4};"
                 :: "r"(address), "r"(a), "r"(b), "r"(c), "r"(d) : "memory");
}

// --- mbarrier: a barrier in shared memory that counts arrivals and bytes. Its phase is the parity of how often it completed ---

DEVICE void mbarrier_init(u32 barrier, u32 count) {
    asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" :: "r"(barrier), "r"(count) : "memory");
}
// Makes initialised barriers visible to the cluster and to the copies of TMA.
DEVICE void fence_mbarrier_init() { asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory"); }
// Orders this thread's accesses to shared memory with those of TMA and wgmma.
DEVICE void fence_proxy_async() { asm volatile("fence.proxy.async.shared::cta;" ::: "memory"); }
// An arrival that announces so many bytes.
DEVICE void mbarrier_expect_tx(u32 barrier, u32 bytes) {
    asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" :: "r"(barrier), "r"(bytes) : "memory");
}
DEVICE void mbarrier_arrive(u32 barrier) {
    asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" :: "r"(barrier) : "memory");
}
// At the barrier of the same offset in another block of the cluster.
DEVICE void mbarrier_arrive_cluster(u32 barrier, u32 block) {
    asm volatile("{\n .reg .b32 remote;\n mapa.shared::cluster.u32 remote, %0, %1;\n"
                 " mbarrier.arrive.release.cluster.shared::cluster.b64 _, [remote];\n}" :: "r"(barrier), "r"(block) : "memory");
}
DEVICE bool mbarrier_try_wait(u32 barrier, u32 parity) {
    u32 done;
    asm volatile("{\n .reg .pred done;\n mbarrier.try_wait.parity.shared::cta.b64 done, [%1], %2;\n selp.u32 %0, 1, 0, done;\n}"
                 : "=r"(done) : "r"(barrier), "r"(parity) : "memory");
    return done;
}
// Waits for the completion of the phase of that parity.
DEVICE void mbarrier_wait(u32 barrier, u32 parity) {
    while (!mbarrier_try_wait(barrier, parity)) {}
}

// --- TMA ---

// Made by the host, passed as `const __grid_constant__ TensorMap`.
struct alignas(64) TensorMap {
    u64 opaque[16];
};

DEVICE void tma_load_2d(u32 to, const TensorMap* map, int x, int y, u32 barrier) {
    asm volatile("cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, {%2, %3}], [%4];"
                 :: "r"(to), "l"(map), "r"(x), "r"(y), "r"(barrier) : "memory");
}
DEVICE void tma_load_3d(u32 to, const TensorMap* map, int x, int y, int z, u32 barrier) {
    asm volatile("cp.async.bulk.tensor.3d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, {%2, %3, %4}], [%5];"
                 :: "r"(to), "l"(map), "r"(x), "r"(y), "r"(z), "r"(barrier) : "memory");
}
// To the same offset in every block of the mask, each of whose barriers counts the bytes.
DEVICE void tma_load_2d_multicast(u32 to, const TensorMap* map, int x, int y, u32 barrier, u16 blocks) {
    asm volatile("cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes.multicast::cluster [%0], [%1, {%2, %3}], [%4], %5;"
                 :: "r"(to), "l"(map), "r"(x), "r"(y), "r"(barrier), "h"(blocks) : "memory");
}
// What lies outside the tensor is not written.
DEVICE void tma_store_2d(const TensorMap* map, u32 from, int x, int y) {
    asm volatile("cp.async.bulk.tensor.2d.global.shared::cta.bulk_group [%0, {%1, %2}], [%3];"
                 :: "l"(map), "r"(x), "r"(y), "r"(from) : "memory");
}
DEVICE void bulk_commit() { asm volatile("cp.async.bulk.commit_group;" ::: "memory"); }
// Waits until the sources of all but the N latest groups have been read, so that they may be overwritten.
template <int N>
DEVICE void bulk_wait_read() { asm volatile("cp.async.bulk.wait_group.read %0;" :: "n"(N) : "memory"); }
template <int N>
DEVICE void bulk_wait() { asm volatile("cp.async.bulk.wait_group %0;" :: "n"(N) : "memory"); }

// --- wgmma: a product of 128 threads with a left and a right operand in shared memory ---

// The descriptor of a tile whose rows are 128 bytes along the sum, as TMA's 128-byte swizzle stores them. The tile begins at a
// multiple of 1024; a step of 32 bytes along the sum is a step of 32 bytes of the address.
DEVICE u64 wgmma_descriptor(u32 address) {
    return (u64)((address & 0x3ffff) >> 4) | (u64)1 << 16 | (u64)(1024 >> 4) << 32 | (u64)1 << 62;
}
// Before the first wgmma, and after other instructions have changed its accumulators.
DEVICE void wgmma_fence() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
DEVICE void wgmma_commit() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }
template <int N>
DEVICE void wgmma_wait() { asm volatile("wgmma.wait_group.sync.aligned %0;" :: "n"(N) : "memory"); }
// Tells the compiler that an accumulator changes here, so that nothing of it moves across.
template <int N>
DEVICE void wgmma_hold(float (&d)[N]) {
#pragma unroll
    for (int i = 0; i < N; i++) asm volatile("" : "+f"(d[i]) :: "memory");
}
template <int N>
DEVICE void wgmma_hold(int (&d)[N]) {
#pragma unroll
    for (int i = 0; i < N; i++) asm volatile("" : "+r"(d[i]) :: "memory");
}

#include "wgmma.cuh"

template <int N>
DEVICE void registers_decrease() { asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" :: "n"(N)); }
template <int N>
DEVICE void registers_increase() { asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" :: "n"(N)); }

// --- Blocks and clusters ---

// A barrier among `threads` threads of the block; 0 is that of __syncthreads.
DEVICE void named_barrier(int barrier, int threads) {
    asm volatile("bar.sync %0, %1;" :: "r"(barrier), "r"(threads) : "memory");
}
// Arrives at it and goes on.
DEVICE void named_barrier_arrive(int barrier, int threads) {
    asm volatile("bar.arrive %0, %1;" :: "r"(barrier), "r"(threads) : "memory");
}
DEVICE u32 cluster_rank() {
    u32 rank;
    asm volatile("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank));
    return rank;
}
DEVICE void cluster_arrive() { asm volatile("barrier.cluster.arrive.release.aligned;" ::: "memory"); }
DEVICE void cluster_wait() { asm volatile("barrier.cluster.wait.acquire.aligned;" ::: "memory"); }
DEVICE void cluster_sync() {
    cluster_arrive();
    cluster_wait();
}

#endif
