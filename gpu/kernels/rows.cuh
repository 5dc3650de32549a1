// What kernels share that treat every row of a matrix by itself: vectors of elements, and reductions among the threads of a row.
//
// DTYPE: of the elements: 0 bfloat16, 3 binary32. ROW: threads of a row: 32, or all of the block. VECS: vectors of 16 bytes that
// each of them keeps in registers, or 0, where rows are longer and read again in every pass.
#pragma once
#include "prelude.cuh"

#if DTYPE == 3
typedef float Element;
#define LENGTH 4
#else
typedef u16 Element;
#define LENGTH 8
#endif

#define ROWS_OF_BLOCK (ROW == 32 ? 4 : 1)
#define THREADS (ROW * ROWS_OF_BLOCK)
// Blocks of a multiprocessor that registers have to leave room for.
#define BLOCKS (THREADS == 1024 || THREADS == 512 ? 1 : THREADS == 256 ? 2 : 4)

DEVICE float widen(Element x) {
#if DTYPE == 3
    return x;
#else
    return bf16_to_float(x);
#endif
}
DEVICE Element narrow(float x) {
#if DTYPE == 3
    return x;
#else
    return float_to_bf16(x);
#endif
}

// LENGTH elements from `at` on; those at `n` and beyond are `fill`. `vectors` says that whole vectors begin at multiples of 16
// bytes and that `n` is a multiple of their length. ONCE says that nothing else reads them, nor writes them in this kernel.
template <bool ONCE = false>
DEVICE void load(float (&v)[LENGTH], const Element* from, int at, int n, bool vectors, float fill) {
    if (vectors) {
        if (at < n) {
            numbers_of(v, ONCE ? load_streaming_16(from + at) : *(const uint4*)(from + at));
        } else {
#pragma unroll
            for (int i = 0; i < LENGTH; i++) v[i] = fill;
        }
    } else {
#pragma unroll
        for (int i = 0; i < LENGTH; i++) v[i] = at + i < n ? widen(from[at + i]) : fill;
    }
}

DEVICE void store(Element* to, const float (&v)[LENGTH], int at, int n, bool vectors) {
    if (vectors) {
        if (at >= n) return;
        uint4 x;
#if DTYPE == 3
        x = make_uint4(float_to_bits(v[0]), float_to_bits(v[1]), float_to_bits(v[2]), float_to_bits(v[3]));
#else
        x = make_uint4(pack_bf16(v[0], v[1]), pack_bf16(v[2], v[3]), pack_bf16(v[4], v[5]), pack_bf16(v[6], v[7]));
#endif
        *(uint4*)(to + at) = x;
    } else {
#pragma unroll
        for (int i = 0; i < LENGTH; i++) {
            if (at + i < n) to[at + i] = narrow(v[i]);
        }
    }
}

// Reductions among the threads of a row; all of them get the result. Each of a kernel's reductions has its own place, so that
// none writes where a slower warp still reads. A NaN is no maximum, but makes a sum one.
DEVICE float row_sum(float x, float (&place)[32]) {
    x = warp_sum(x);
    if (ROW == 32) return x;
    if (lane_id() == 0) place[threadIdx.x / 32] = x;
    __syncthreads();
    return warp_sum(lane_id() < ROW / 32 ? place[lane_id()] : 0.0f);
}
DEVICE float row_max(float x, float (&place)[32]) {
    x = warp_max(x);
    if (ROW == 32) return x;
    if (lane_id() == 0) place[threadIdx.x / 32] = x;
    __syncthreads();
    return warp_max(lane_id() < ROW / 32 ? place[lane_id()] : -INF);
}

// This thread's row, and its place among the threads of the row.
DEVICE i64 row_number() { return (i64)blockIdx.x * ROWS_OF_BLOCK + (ROW == 32 ? threadIdx.x / 32 : 0); }
DEVICE int row_thread() { return threadIdx.x % ROW; }
