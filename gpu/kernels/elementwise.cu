// Element by element: activations of bfloat16, gated ones, and sums of codes. A thread takes 16 bytes of results at a time.
//
// KIND: of the activation, by its number in the definition. What has no KIND is compiled with the first. ROUNDING: of sums of codes.
#include "prelude.cuh"

#define THREADS 256

DEVICE float clip(float x, float lo, float hi) {
    // A NaN stays one.
    x = x < lo ? lo : x;
    return x > hi ? hi : x;
}

DEVICE float activation(float x) {
#if KIND == 0
    return x < 0.0f ? 0.0f : x;
#elif KIND == 1
    return clip(x, 0.0f, 6.0f);
#elif KIND == 2
    return activate<2>(x);
#elif KIND == 3
    return 0.5f * x * (1.0f + erff(x * 0.7071067811865476f));
#elif KIND == 4
    return activate<3>(x);
#elif KIND == 5
    return sigmoid(x);
#elif KIND == 6
    return tanhf(x);
#else
    return x * clip(x * (1.0f / 6.0f) + 0.5f, 0.0f, 1.0f);
#endif
}

DEVICE u32 activated(u32 pair) {
    return pack_bf16(activation(low_bf16(pair)), activation(high_bf16(pair)));
}

// Vectors first, whose addresses are multiples of 16, then the elements that are left.
extern "C" __global__ void __launch_bounds__(THREADS) activation_bf16(const u16* x, u16* out, i64 len) {
    const i64 vectors = len / 8, first = (i64)blockIdx.x * THREADS + threadIdx.x, step = (i64)gridDim.x * THREADS;
    for (i64 i = first; i < vectors; i += step) {
        uint4 v = load_streaming_16((const uint4*)x + i);
        ((uint4*)out)[i] = make_uint4(activated(v.x), activated(v.y), activated(v.z), activated(v.w));
    }
    i64 i = vectors * 8 + first;
    if (i < len) out[i] = float_to_bf16(activation(bf16_to_float(x[i])));
}

DEVICE float gated(float gate, float up) { return activate<2>(gate) * up; }

DEVICE u32 gated_pair(u32 gate, u32 up) {
    return pack_bf16(gated(low_bf16(gate), low_bf16(up)), gated(high_bf16(gate), high_bf16(up)));
}

// Rows of n gates and n others. `vectors`: n is a multiple of 8.
extern "C" __global__ void __launch_bounds__(THREADS) silu_mul(const u16* x, u16* out, i64 m, int n, int vectors) {
    const int width = vectors ? n / 8 : n;
    const i64 items = m * width;
    for (i64 i = (i64)blockIdx.x * THREADS + threadIdx.x; i < items; i += (i64)gridDim.x * THREADS) {
        i64 row = i / width;
        int at = (int)(i - row * width);
        const u16* gates = x + row * 2 * n;
        if (vectors) {
            uint4 g = load_streaming_16((const uint4*)gates + at), u = load_streaming_16((const uint4*)(gates + n) + at);
            ((uint4*)out)[i] = make_uint4(gated_pair(g.x, u.x), gated_pair(g.y, u.y), gated_pair(g.z, u.z), gated_pair(g.w, u.w));
        } else {
            out[i] = float_to_bf16(gated(bf16_to_float(gates[at]), bf16_to_float(gates[n + at])));
        }
    }
}

struct Sum {
    int a_zero_point, b_zero_point;
    Factor a, b, sum;
    Requant requant;
};

// ROUNDING 0: (a_multiplier (a - a_zero_point) + b_multiplier (b - b_zero_point)) / 2^shift, half up, + zero_point, clamped.
// ROUNDING 1: both sides with 20 more bits, and their sum, are each multiplied and rounded twice.
DEVICE u32 sum_code(const Sum& s, int a, int b) {
#if ROUNDING
    u32 left = (u32)rounded((int)((u32)(a - s.a_zero_point) << 20), s.a, 31);
    u32 right = (u32)rounded((int)((u32)(b - s.b_zero_point) << 20), s.b, 31);
    return clamped_code(s.requant, rounded((int)(left + right), s.sum, 31));
#else
    u32 sum = (u32)(a - s.a_zero_point) * s.a.multiplier + (u32)(b - s.b_zero_point) * s.b.multiplier;
    // The bit below the last one that stays is the carry; clamping first keeps the sum with the zero point in 32 bits.
    int shift = s.sum.shift, real = ((int)sum >> shift) + (shift > 0 ? (int)sum >> (shift - 1) & 1 : 0);
    return (u32)(min_of(max_of(real, s.requant.lowest), s.requant.highest) + s.requant.zero_point) & 0xff;
#endif
}

DEVICE u32 sum_codes(const Sum& s, u32 a, u32 b) {
    u32 word = 0;
#pragma unroll
    for (int i = 0; i < 32; i += 8) word |= sum_code(s, (i8)(a >> i), (i8)(b >> i)) << i;
    return word;
}

extern "C" __global__ void __launch_bounds__(THREADS) add_i8(const i8* a, const i8* b, i8* out, Sum s, i64 len) {
    const i64 vectors = len / 16, first = (i64)blockIdx.x * THREADS + threadIdx.x, step = (i64)gridDim.x * THREADS;
    for (i64 i = first; i < vectors; i += step) {
        uint4 u = load_streaming_16((const uint4*)a + i), v = load_streaming_16((const uint4*)b + i);
        ((uint4*)out)[i] = make_uint4(sum_codes(s, u.x, v.x), sum_codes(s, u.y, v.y), sum_codes(s, u.z, v.z), sum_codes(s, u.w, v.w));
    }
    i64 i = vectors * 16 + first;
    if (i < len) out[i] = (i8)sum_code(s, a[i], b[i]);
}
