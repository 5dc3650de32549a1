// Merges states, and appends to a cache. A warp merges a row of a head, states in their order.
#include "prelude.cuh"

#define WARPS 4

// Adds states (o, lse) that `at(i)` numbers by their weights 2^lse into x, four columns a lane and turn; returns the logarithm.
template <class At>
DEVICE float merge(const float* o, const float* lse, int count, int d, int column, bool softmax, At at, float (&x)[4]) {
    float most = -INF;
    for (int i = 0; i < count && softmax; i++) most = fmaxf(most, lse[at(i)]);
    // Differences to -inf are no numbers.
    float base = most == -INF ? 0.0f : most, total = 0.0f;
    for (int i = 0; i < count; i++) {
        size_t row = at(i);
        float weight = softmax ? exp2f(lse[row] - base) : 1.0f;
        total += weight;
        // What weighs nothing may be anything.
        if (weight != 0.0f && column < d) {
            const float* from = o + row * d + column;
            float4 y = {};
            if (d % 4 == 0) {
                y = *(const float4*)from;
            } else {
                y.x = from[0];
                if (column + 1 < d) y.y = from[1];
                if (column + 2 < d) y.z = from[2];
                if (column + 3 < d) y.w = from[3];
            }
            x[0] += weight * y.x;
            x[1] += weight * y.y;
            x[2] += weight * y.z;
            x[3] += weight * y.w;
        }
    }
    if (!softmax) return 0.0f;
    float inverse = total == 0.0f ? 0.0f : 1.0f / total;
#pragma unroll
    for (int j = 0; j < 4; j++) x[j] *= inverse;
    return total == 0.0f ? -INF : base + log2f(total);
}

// Rows of the results from the partial states that the plan has for them.
extern "C" __global__ void __launch_bounds__(WARPS * 32)
attention_merge(const float* partial_o, const float* partial_lse, const i32* count, const i32* indptr, const i32* rows,
                const i32* entries, u16* o, float* lse, int d, int softmax) {
    const int lane = lane_id();
    for (int number = blockIdx.x * WARPS + warp_id(); number < *count; number += gridDim.x * WARPS) {
        int begin = indptr[number], states = indptr[number + 1] - begin;
        size_t row = rows[number];
        for (int column = lane * 4; column < d; column += 128) {
            float x[4] = {};
            float sum = merge(partial_o, partial_lse, states, d, column, softmax, [=](int i) { return (size_t)entries[begin + i]; }, x);
            *(uint2*)(o + row * d + column) = make_uint2(pack_bf16(x[0], x[1]), pack_bf16(x[2], x[3]));
            if (column == 0) lse[row] = sum;
        }
    }
}

// States [states, rows] of d elements into [rows].
extern "C" __global__ void __launch_bounds__(WARPS * 32)
merge_states(const float* o, const float* lse, float* merged, float* merged_lse, int states, int rows, int d) {
    const int lane = lane_id();
    for (int row = blockIdx.x * WARPS + warp_id(); row < rows; row += gridDim.x * WARPS) {
        // A row without elements has a logarithm all the same.
        for (int column = lane * 4; column < d || (d == 0 && column == 0); column += 128) {
            float x[4] = {};
            float sum = merge(o, lse, states, d, column, true, [=](int i) { return (size_t)i * rows + row; }, x);
            float* to = merged + (size_t)row * d + column;
            if (d % 4 == 0 && column < d) {
                *(float4*)to = make_float4(x[0], x[1], x[2], x[3]);
            } else {
                for (int j = 0; j < 4 && column + j < d; j++) to[j] = x[j];
            }
            if (column == 0) merged_lse[row] = sum;
        }
    }
}

// Keys and values of new positions to where the page table has them, the last ones of their requests. Elements are moved in
// words of `Word`; `line` words are a position.
template <class Word>
DEVICE void append_words(const Word* k, const Word* v, const i32* append_indptr, Word* kv, const i32* indptr, const i32* indices,
                         const i32* last_page_len, int requests, int line, int page) {
    const int count = append_indptr[requests];
    for (int at = blockIdx.x; at < count; at += gridDim.x) {
        // The last request that begins at or before this position.
        int low = 0, high = requests;
        while (high - low > 1) {
            int middle = (low + high) / 2;
            if (append_indptr[middle] <= at) low = middle;
            else high = middle;
        }
        int entries = indptr[low + 1] - indptr[low];
        int positions = (entries - 1) * page + last_page_len[low];
        int position = positions - (append_indptr[low + 1] - at);
        size_t to = (size_t)indices[indptr[low] + position / page] * 2 * page + position % page;
        for (int i = threadIdx.x; i < line; i += blockDim.x) {
            kv[to * line + i] = k[(size_t)at * line + i];
            kv[(to + page) * line + i] = v[(size_t)at * line + i];
        }
    }
}

extern "C" __global__ void __launch_bounds__(WARPS * 32)
append(const void* k, const void* v, const i32* append_indptr, void* kv, const i32* indptr, const i32* indices,
       const i32* last_page_len, int requests, int line, int page, int whole) {
    // `line` is in 16-byte words where lines are whole ones of them, else in elements.
    if (whole) {
        append_words((const uint4*)k, (const uint4*)v, append_indptr, (uint4*)kv, indptr, indices, last_page_len, requests, line, page);
    } else {
        append_words((const u16*)k, (const u16*)v, append_indptr, (u16*)kv, indptr, indices, last_page_len, requests, line, page);
    }
}
