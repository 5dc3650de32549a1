// Attention for persistent blocks of four warps: each goes through its list of large tiles and then of small ones.
//
// D: elements of a head. LARGE: packed rows of a large tile, 64 or 128. POSITIONS: of a run of large tiles, 32 or 64. SLOTS:
// buffers of a warp for small tiles. BLOCKS: blocks
// of a multiprocessor. The header variant.cuh has what becomes of scores.
#include "attention.cuh"

#define SMALL 16
#define WARPS 4
#define THREADS (WARPS * 32)

#include "attention_small.cuh"
#include "attention_large.cuh"

extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS) attention(const __grid_constant__ Parameters p) {
    extern __shared__ __align__(128) u8 dynamic_shared[];
    const int block = blockIdx.x;
    const i32* list = p.lists;
    for (int number = list[block]; number < list[block + 1]; number++) {
        large_tile(p, item_of(p, number), dynamic_shared);
        // The next tile's copies overwrite what this one reads.
        __syncthreads();
    }
    list += gridDim.x + 1;
    for (int number = list[block]; number < list[block + 1]; number++) {
        small_tile(p, item_of(p, number), dynamic_shared);
        __syncthreads();
    }
}
