// Merges states, and appends to a cache, numbers or codes. A warp merges a row of a head, states in their order.
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

// Where a new position goes: the line of the first key of its page, and its place in the page.
struct Place {
    size_t page_line;
    int within;
};
// The place of the new position of that number, one of the last ones of its request.
DEVICE Place place_of_new(const i32* append_indptr, const i32* indptr, const i32* indices, const i32* last_page_len, int requests,
                          int page, int at) {
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
    return {(size_t)indices[indptr[low] + position / page] * 2 * page, position % page};
}

// Keys and values of new positions to where the page table has them. Elements are moved in words of `Word`; `line` words are a
// position.
template <class Word>
DEVICE void append_words(const Word* k, const Word* v, const i32* append_indptr, Word* kv, const i32* indptr, const i32* indices,
                         const i32* last_page_len, int requests, int line, int page) {
    const int count = append_indptr[requests];
    for (int at = blockIdx.x; at < count; at += gridDim.x) {
        const Place place = place_of_new(append_indptr, indptr, indices, last_page_len, requests, page, at);
        const size_t to = place.page_line + place.within;
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

// The most that a code is.
#define STEPS 15.0f

// The order of all bfloat16 as that of integers, NaNs beyond the infinities, from bits that are a number with a sign. Doing it again
// undoes it.
DEVICE int ordered(int bits) { return bits ^ (bits >> 15 & 0x7fff); }
DEVICE float unordered(int x) { return bits_to_float((u32)ordered(x) << 16); }

// How a row becomes codes. Every step is an operation of binary32 that is rounded by itself and never fused.
struct Form {
    // A scale and a zero, both of bfloat16.
    u32 word;
    float half, inverse;
};
DEVICE Form form_of(float low, float high) {
    if (!(fabsf(low) < INF && fabsf(high) < INF)) return {0x7fc0u, 0.0f, 0.0f};
    Form form = {0, __fmul_rn(low, 0.5f), 0.0f};
    u32 scale = float_to_bf16(__fdiv_rn(__fsub_rn(__fmul_rn(high, 0.5f), form.half), STEPS * 0.5f));
    form.inverse = __fdiv_rn(2.0f, bf16_to_float(scale));
    if (!(form.inverse < INF)) scale = 0, form.inverse = 0.0f;
    form.word = scale | (float_to_bits(low) & 0xffff0000u ^ 0x80000000u);
    return form;
}
DEVICE u32 code_of_number(const Form& form, float x) {
    x = __fmul_rn(__fsub_rn(__fmul_rn(x, 0.5f), form.half), form.inverse);
    // A NaN becomes 0 as well.
    x = x > 0.0f ? x : 0.0f;
    return float_to_int(x < STEPS ? x : STEPS);
}

// Eight elements of a row; those behind its end are 0.
DEVICE void load_eight(float (&x)[8], const u16* row, int at, int d) {
    if (d % 8 == 0) {
        numbers_of(x, *(const uint4*)(row + at));
    } else {
#pragma unroll
        for (int i = 0; i < 8; i++) x[i] = at + i < d ? bf16_to_float(row[at + i]) : 0.0f;
    }
}

// New positions as codes, each a block's at a time. `lanes` neighbouring threads make a row, the key or the value of a head.
extern "C" __global__ void __launch_bounds__(WARPS * 32)
append_kv4(const u16* k, const u16* v, const i32* append_indptr, u8* kv, u32* scales, const i32* indptr, const i32* indices,
           const i32* last_page_len, int requests, int heads, int d, int page, int lanes) {
    const int count = append_indptr[requests], lane = threadIdx.x % lanes;
    for (int at = blockIdx.x; at < count; at += gridDim.x) {
        const Place place = place_of_new(append_indptr, indptr, indices, last_page_len, requests, page, at);
        for (int first = 0; first < 2 * heads; first += blockDim.x / lanes) {
            const int number = first + threadIdx.x / lanes, begin = lane * 8;
            const bool inside = number < 2 * heads, value = number >= heads;
            const int head = number - (value ? heads : 0);
            const u16* row = (value ? v : k) + ((size_t)at * heads + head) * d;
            // Eight elements a lane stay in registers; what long rows have beyond them is read again.
            float own[8], other[8];
            int low = 0x7fff, high = -0x8000;
            auto widen = [&](const float (&x)[8], int i) {
#pragma unroll
                for (int j = 0; j < 8; j++) {
                    const int number = ordered((int)float_to_bits(x[j]) >> 16);
                    if (d % 8 == 0 || i + j < d) low = min_of(low, number), high = max_of(high, number);
                }
            };
            if (inside && begin < d) {
                load_eight(own, row, begin, d);
                widen(own, begin);
            }
            for (int i = begin + lanes * 8; inside && i < d; i += lanes * 8) {
                load_eight(other, row, i, d);
                widen(other, i);
            }
            for (int mask = lanes / 2; mask > 0; mask /= 2) {
                low = min_of(low, __shfl_xor_sync(FULL_WARP, low, mask));
                high = max_of(high, __shfl_xor_sync(FULL_WARP, high, mask));
            }
            const Form form = form_of(unordered(low), unordered(high));
            const size_t side = place.page_line + (value ? page : 0);
            if (inside && lane == 0) scales[side * heads + (size_t)head * page + place.within] = form.word;
            u8* to = kv + ((side + place.within) * heads + head) * (size_t)(d / 2);
            auto put = [&](const float (&x)[8], int i) {
                u32 codes = 0;
#pragma unroll
                for (int j = 0; j < 8; j++) codes |= code_of_number(form, x[j]) << 4 * j;
                if (d % 8 == 0) {
                    *(u32*)(to + i / 2) = codes;
                } else {
                    for (int j = 0; j < 4 && i + 2 * j < d; j++) to[i / 2 + j] = (u8)(codes >> 8 * j);
                }
            };
            if (inside && begin < d) put(own, begin);
            for (int i = begin + lanes * 8; inside && i < d; i += lanes * 8) {
                load_eight(other, row, i, d);
                put(other, i);
            }
        }
    }
}
