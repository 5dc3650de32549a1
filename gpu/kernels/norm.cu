// Norms of rows of bfloat16: x / sqrt(mean(x²) + eps) weight, with x + residual in the place of x where that is asked for; or
// (x - mean) / sqrt(var(x) + eps) weight + bias.
//
// KIND: 0 root mean square, 1 that of a sum, which is written as well, 2 layer norm. The other defines are those of rows.cuh.
#include "rows.cuh"

struct Operands {
    const Element *x, *residual, *weight, *bias;
    Element *sum, *out;
};

// Elements of a row, or of the sum, which is rounded before its norm is taken. Those beyond the row are 0.
DEVICE void load_row(float (&v)[LENGTH], const Operands& operands, int at, int n, bool vectors) {
    load<(VECS > 0)>(v, operands.x, at, n, vectors, 0.0f);
    if (KIND == 1) {
        float r[LENGTH];
        load<(VECS > 0)>(r, operands.residual, at, n, vectors, 0.0f);
#pragma unroll
        for (int i = 0; i < LENGTH; i++) v[i] = bf16_to_float(float_to_bf16(v[i] + r[i]));
        store(operands.sum, v, at, n, vectors);
    }
}

DEVICE void store_row(const Operands& operands, float (&v)[LENGTH], float factor, int at, int n, bool vectors) {
    float w[LENGTH];
    load(w, operands.weight, at, n, vectors, 0.0f);
#pragma unroll
    for (int i = 0; i < LENGTH; i++) v[i] = v[i] * factor * w[i];
    if (KIND == 2) {
        load(w, operands.bias, at, n, vectors, 0.0f);
#pragma unroll
        for (int i = 0; i < LENGTH; i++) v[i] += w[i];
    }
    store(operands.out, v, at, n, vectors);
}

// Subtracts the mean from what is in the row and adds up the squares.
DEVICE float squares(float (&v)[LENGTH], float mean, int at, int n) {
    float sum = 0.0f;
#pragma unroll
    for (int i = 0; i < LENGTH; i++) {
        if (KIND == 2) v[i] -= at + i < n ? mean : 0.0f;
        sum += v[i] * v[i];
    }
    return sum;
}

extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS)
row_norm(Operands operands, float eps, i64 m, int n, int vectors) {
    __shared__ float means[32], deviations[32];
    const i64 row = row_number();
    if (ROW == 32 && row >= m) return;
    operands.x += row * n;
    operands.residual += row * n;
    operands.sum += row * n;
    operands.out += row * n;
    const int first = row_thread() * LENGTH, step = ROW * LENGTH;
    float mean = 0.0f, sum = 0.0f;
#if VECS
    float v[VECS][LENGTH];
#pragma unroll
    for (int j = 0; j < VECS; j++) {
        load_row(v[j], operands, first + j * step, n, vectors);
        if (KIND == 2) {
#pragma unroll
            for (int i = 0; i < LENGTH; i++) mean += v[j][i];
        }
    }
    if (KIND == 2) mean = row_sum(mean, means) / n;
#pragma unroll
    for (int j = 0; j < VECS; j++) sum += squares(v[j], mean, first + j * step, n);
    const float factor = 1.0f / sqrtf(row_sum(sum, deviations) / n + eps);
#pragma unroll
    for (int j = 0; j < VECS; j++) store_row(operands, v[j], factor, first + j * step, n, vectors);
#else
    float v[LENGTH];
    if (KIND == 2) {
        for (int at = first; at < n; at += step) {
            load_row(v, operands, at, n, vectors);
#pragma unroll
            for (int i = 0; i < LENGTH; i++) mean += v[i];
        }
        mean = row_sum(mean, means) / n;
    }
    for (int at = first; at < n; at += step) {
        load_row(v, operands, at, n, vectors);
        sum += squares(v, mean, at, n);
    }
    const float factor = 1.0f / sqrtf(row_sum(sum, deviations) / n + eps);
    for (int at = first; at < n; at += step) {
        // A thread reads what it has itself written.
        if (KIND == 1) load(v, operands.sum, at, n, vectors, 0.0f);
        else load_row(v, operands, at, n, vectors);
        squares(v, mean, at, n);
        store_row(operands, v, factor, at, n, vectors);
    }
#endif
}
