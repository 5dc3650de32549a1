// Softmax along rows, or its logarithm: exp(beta x - top) / sum, where top is the largest beta x.
//
// The defines are those of rows.cuh.
#include "rows.cuh"

#define LN_2 0.6931471805599453f

DEVICE float exponential(float x) { return exp2_approx(x * LOG2_E); }

// Where all elements are -inf, and where one is infinite, a difference is a NaN and with it the sum.
DEVICE float result(int log, float x, float top, float factor) {
    return log ? (x - top) - factor : exponential(x - top) * factor;
}

DEVICE float factor_of(int log, float sum) { return log ? log2_approx(sum) * LN_2 : 1.0f / sum; }

extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS)
softmax(const Element* x, Element* out, float beta, int log, i64 m, int n, int vectors) {
    __shared__ float tops[32], sums[32];
    const i64 row = row_number();
    if (ROW == 32 && row >= m) return;
    x += row * n;
    out += row * n;
    const int first = row_thread() * LENGTH, step = ROW * LENGTH;
    float top = -INF, sum = 0.0f;
#if VECS
    float v[VECS][LENGTH];
#pragma unroll
    for (int j = 0; j < VECS; j++) {
        load<true>(v[j], x, first + j * step, n, vectors, -INF);
#pragma unroll
        for (int i = 0; i < LENGTH; i++) {
            // Beyond the row stands -inf whatever the sign of beta.
            v[j][i] = first + j * step + i < n ? v[j][i] * beta : -INF;
            top = fmaxf(top, v[j][i]);
        }
    }
    top = row_max(top, tops);
#pragma unroll
    for (int j = 0; j < VECS; j++) {
#pragma unroll
        for (int i = 0; i < LENGTH; i++) {
            // What lies beyond the row may be -inf - -inf, and does not count.
            sum += first + j * step + i < n ? exponential(v[j][i] - top) : 0.0f;
        }
    }
    const float factor = factor_of(log, row_sum(sum, sums));
#pragma unroll
    for (int j = 0; j < VECS; j++) {
#pragma unroll
        for (int i = 0; i < LENGTH; i++) v[j][i] = result(log, v[j][i], top, factor);
        store(out, v[j], first + j * step, n, vectors);
    }
#else
    // The sum so far is relative to the top so far, so that one pass finds both.
    for (int at = first; at < n; at += step) {
        float v[LENGTH], higher = top;
        load(v, x, at, n, vectors, 0.0f);
#pragma unroll
        for (int i = 0; i < LENGTH; i++) {
            v[i] = at + i < n ? v[i] * beta : -INF;
            higher = fmaxf(higher, v[i]);
        }
        // What was summed while all were -inf is 0, or a NaN.
        if (higher > top) sum *= top == -INF ? 1.0f : exponential(top - higher);
        top = higher;
#pragma unroll
        for (int i = 0; i < LENGTH; i++) {
            // Before the first number, -inf adds nothing; a NaN has to stay.
            if (at + i < n && !(v[i] == -INF)) sum += exponential(v[i] - top);
        }
    }
    const float all = row_max(top, tops);
    // Where all are -inf, so is every x, and the differences below are NaNs whatever the sum is.
    sum *= top == -INF ? 1.0f : exponential(top - all);
    const float factor = factor_of(log, row_sum(sum, sums));
    for (int at = first; at < n; at += step) {
        float v[LENGTH];
        load(v, x, at, n, vectors, 0.0f);
#pragma unroll
        for (int i = 0; i < LENGTH; i++) v[i] = result(log, v[i] * beta, all, factor);
        store(out, v, at, n, vectors);
    }
#endif
}
