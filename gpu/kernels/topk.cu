// The k best candidates of a query from many: a block takes a query, each of its warps a part of the candidates.
//
// INTEGERS: whether scores are integers, or of binary32.
#include "topk.cuh"

#define WARPS 8
#define THREADS (WARPS * 32)
// Candidates that a lane loads before it looks at the first.
#define AHEAD 4

#if INTEGERS
typedef int Score;
DEVICE u32 bits_of(u32 rank) { return rank ^ 0x7fffffffu; }
#define NO_SCORE 0x80000000u
#else
typedef float Score;
DEVICE u32 bits_of(u32 rank) { return (int)rank < 0 ? rank : rank ^ 0x7fffffffu; }
#define NO_SCORE 0xff800000u
#endif

extern __shared__ __align__(16) u64 queues[];

// All warps' queues in that of the first, whose lanes write the results.
DEVICE void finish(const Queue& own, int count, int k, u32* scores, i32* best) {
    own.absorb_waiting(count);
    __syncthreads();
    if (threadIdx.x >= 32) return;
    for (int warp = 1; warp < WARPS; warp++) {
        const u64* other = queues + warp * (own.width + 32);
        for (int at = 0; at < own.width; at += 32) {
            // What is beyond the bound, and all behind it, is none of the best.
            if (other[at] >= own.kept[k - 1]) break;
            own.absorb(other[at + lane_id()]);
        }
    }
    for (int at = lane_id(); at < k; at += 32) {
        const u64 found = own.kept[at];
        scores[at] = found == NOTHING ? NO_SCORE : bits_of((u32)(found >> 32));
        best[at] = found == NOTHING ? -1 : (i32)found;
    }
}

DEVICE Queue own_queue(int k) {
    const int width = (k + 31) / 32 * 32;
    const Queue own = {queues + warp_id() * (width + 32), width};
    own.clear();
    return own;
}

// From candidates: those of query `q` are begins[q] to begins[q + 1].
extern "C" __global__ void __launch_bounds__(THREADS, 2)
best_candidates(const u64* candidates, const i32* begins, u32* scores, i32* best, int k) {
    const int query = blockIdx.x, end = begins[query + 1];
    const Queue own = own_queue(k);
    int count = 0;
    u64 bound = NOTHING;
    for (int first = begins[query] + warp_id() * 32; first < end; first += THREADS * AHEAD) {
        u64 x[AHEAD];
#pragma unroll
        for (int i = 0; i < AHEAD; i++) {
            const int at = first + i * THREADS + lane_id();
            x[i] = at < end ? candidates[at] : NOTHING;
        }
#pragma unroll
        for (int i = 0; i < AHEAD; i++) own.offer(x[i], true, k, count, bound);
    }
    finish(own, count, k, scores + (i64)query * k, best + (i64)query * k);
}

// From scores and ids [parts, queries, m]; an id below 0 is none.
extern "C" __global__ void __launch_bounds__(THREADS, 2)
topk_merge(const Score* part_scores, const i32* part_best, u32* scores, i32* best, i64 parts, int m, int k) {
    const i64 query = blockIdx.x, stride = (i64)gridDim.x * m, entries = parts * m;
    const Queue own = own_queue(k);
    int count = 0;
    u64 bound = NOTHING;
    for (i64 first = warp_id() * 32; first < entries; first += THREADS * AHEAD) {
        u64 x[AHEAD];
#pragma unroll
        for (int i = 0; i < AHEAD; i++) {
            const i64 at = first + i * THREADS + lane_id();
            x[i] = NOTHING;
            if (at < entries) {
                // Entries of one query are 31 bits together with their part.
                const u32 part = (u32)at / (u32)m, entry = (u32)at % (u32)m;
                const i64 place = part * stride + query * m + entry;
                const Score score = part_scores[place];
                const i32 id = part_best[place];
                if (id >= 0 && score == score) x[i] = candidate(rank_of(score), id);
            }
        }
#pragma unroll
        for (int i = 0; i < AHEAD; i++) own.offer(x[i], true, k, count, bound);
    }
    finish(own, count, k, scores + query * k, best + query * k);
}
