// Producers of activations of four and eight bits: a row is made, gathered in the order of channels, and quantised group by group.
//
// KIND: 0 rows as they are, 1 normed by their root mean square, 2 silu(gate) up.
//
// Codes are exact: every step is an operation of binary32 that is rounded by itself and never fused, and squares are summed in an
// order, by the threads of a block, each of which is one of the partial sums of the definition.
#include "prelude.cuh"

#define THREADS 256
#define PIECE 8

struct Operands {
    // Rows, or gates.
    const u16* x;
    // The gain of each channel, or what gates are multiplied by.
    const u16* other;
    const int* order;
    u8* a;
    float* a_scale;
    i8* a8;
    float* a8_scale;
};

// e^x as the definition computes it.
DEVICE float exp_in_steps(float x) {
    const float round = 12582912.0f;
    x = x > 88.8f ? 88.8f : x;
    x = x < -104.0f ? -104.0f : x;
    const float shifted = __fadd_rn(__fmul_rn(x, LOG2_E), round);
    const int exponent = (int)(float_to_bits(shifted) - float_to_bits(round));
    const float whole = __fsub_rn(shifted, round);
    const float r = __fsub_rn(__fsub_rn(x, __fmul_rn(whole, 0.693359375f)), __fmul_rn(whole, -2.12194440e-4f));
    float p = 1.0f / 5040.0f;
    p = __fadd_rn(__fmul_rn(p, r), 1.0f / 720.0f);
    p = __fadd_rn(__fmul_rn(p, r), 1.0f / 120.0f);
    p = __fadd_rn(__fmul_rn(p, r), 1.0f / 24.0f);
    p = __fadd_rn(__fmul_rn(p, r), 1.0f / 6.0f);
    p = __fadd_rn(__fmul_rn(p, r), 0.5f);
    p = __fadd_rn(__fadd_rn(__fmul_rn(__fmul_rn(p, r), r), r), 1.0f);
    const int half = exponent >> 1;
    p = __fmul_rn(p, bits_to_float((u32)(half + 127) << 23));
    return __fmul_rn(p, bits_to_float((u32)(exponent - half + 127) << 23));
}
DEVICE float silu(float x) { return __fdiv_rn(x, __fadd_rn(1.0f, exp_in_steps(-x))); }

// How a list of numbers becomes codes with one scale.
struct Form {
    float scale, inverse, most;
};
DEVICE Form form_of(u32 largest, float clip, float most) {
    Form form = {__fdiv_rn(__fmul_rn(bits_to_float(largest), clip), most), 0.0f, most};
    // A NaN has many forms, of which this is the one.
    if (form.scale != form.scale) form.scale = bits_to_float(0x7fc00000u);
    if (form.scale != 0.0f) form.inverse = __fdiv_rn(1.0f, form.scale);
    return form;
}
DEVICE int code(const Form& form, float x) {
    if (!(fabsf(form.inverse) < INF) || !(form.scale < INF)) return 0;
    x = __fmul_rn(x, form.inverse);
    x = x > -form.most - 1.0f ? x : -form.most - 1.0f;
    return float_to_int(x < form.most ? x : form.most);
}
// Magnitudes are ordered as their bits are, and NaNs lie above infinity.
DEVICE u32 magnitude(float x) { return float_to_bits(x) & 0x7fffffffu; }
DEVICE u32 larger(u32 a, u32 b) { return a > b ? a : b; }
DEVICE u32 warp_largest(u32 x) {
#pragma unroll
    for (int mask = 16; mask > 0; mask >>= 1) x = larger(x, __shfl_xor_sync(FULL_WARP, x, mask));
    return x;
}

// The mean of squares of a row of which this thread has the sum of its pieces.
DEVICE float mean_of(float sum, int k) {
    __shared__ float sums[THREADS];
    sums[threadIdx.x] = sum;
#pragma unroll
    for (int width = THREADS / 2; width > 0; width >>= 1) {
        __syncthreads();
        if (threadIdx.x < width) sums[threadIdx.x] = __fadd_rn(sums[threadIdx.x], sums[threadIdx.x + width]);
    }
    __syncthreads();
    return __fdiv_rn(sums[0], (float)k);
}

// `staged`: whether a row as it was made fits shared memory. `vectors`: whether rows are whole vectors of 16 bytes.
extern "C" __global__ void __launch_bounds__(THREADS)
quantize(const __grid_constant__ Operands operands, float clip, float eps, int k, int group, int outliers, int staged, int vectors) {
    extern __shared__ float made[];
    __shared__ u32 largest[THREADS / 32];
    const size_t row = blockIdx.x;
    const int inner = k - outliers, groups = (inner + group - 1) / group;
    const u16 *x = operands.x + row * k, *other = operands.other + (KIND == 2 ? row * k : 0);
    float factor = 1.0f;
    auto make = [&](int channel) {
        const float value = bf16_to_float(x[channel]);
        if (KIND == 1) return __fmul_rn(__fmul_rn(value, factor), bf16_to_float(other[channel]));
        if (KIND == 2) return __fmul_rn(silu(value), bf16_to_float(other[channel]));
        return value;
    };
    // Elements of a row from a piece on.
    auto piece_of = [&](float (&v)[PIECE], const u16* from, int at) {
        if (vectors) {
            numbers_of(v, *(const uint4*)(from + at));
        } else {
#pragma unroll
            for (int i = 0; i < PIECE; i++) v[i] = at + i < k ? bf16_to_float(from[at + i]) : 0.0f;
        }
    };
    if (KIND == 1) {
        float sum = 0.0f, v[PIECE];
        for (int at = threadIdx.x * PIECE; at < k; at += THREADS * PIECE) {
            piece_of(v, x, at);
#pragma unroll
            for (int i = 0; i < PIECE; i++) sum = __fadd_rn(sum, __fmul_rn(v[i], v[i]));
        }
        factor = __fdiv_rn(1.0f, __fsqrt_rn(__fadd_rn(mean_of(sum, k), eps)));
    }
    if (staged) {
        float v[PIECE], w[PIECE];
        for (int at = threadIdx.x * PIECE; at < k; at += THREADS * PIECE) {
            piece_of(v, x, at);
            if (KIND != 0) piece_of(w, other, at);
#pragma unroll
            for (int i = 0; i < PIECE; i++) {
                if (KIND == 1) v[i] = __fmul_rn(__fmul_rn(v[i], factor), w[i]);
                if (KIND == 2) v[i] = __fmul_rn(silu(v[i]), w[i]);
                if (vectors || at + i < k) made[at + i] = v[i];
            }
        }
        __syncthreads();
    }
    auto value = [&](int at) {
        const int channel = operands.order[at];
        return staged ? made[channel] : make(channel);
    };

    for (int of = threadIdx.x / 32; of < groups; of += THREADS / 32) {
        const int begin = of * group, end = min_of(begin + group, inner);
        u32 most = 0;
        for (int at = begin + lane_id(); at < end; at += 32) most = larger(most, magnitude(value(at)));
        const Form form = form_of(warp_largest(most), clip, 7.0f);
        if (lane_id() == 0) operands.a_scale[row * groups + of] = form.scale;
        for (int at = begin / 2 + lane_id(); at < end / 2; at += 32) {
            const int low = code(form, value(2 * at)), high = code(form, value(2 * at + 1));
            operands.a[row * (inner / 2) + at] = (u8)(low & 15 | high << 4);
        }
    }
    u32 most = 0;
    for (int at = threadIdx.x; at < outliers; at += THREADS) most = larger(most, magnitude(value(inner + at)));
    most = warp_largest(most);
    if (lane_id() == 0) largest[threadIdx.x / 32] = most;
    __syncthreads();
#pragma unroll
    for (int i = 0; i < THREADS / 32; i++) most = larger(most, largest[i]);
    const Form form = form_of(most, 1.0f, 127.0f);
    if (threadIdx.x == 0) operands.a8_scale[row] = form.scale;
    for (int at = threadIdx.x; at < outliers; at += THREADS) {
        operands.a8[row * outliers + at] = (i8)code(form, value(inner + at));
    }
}
