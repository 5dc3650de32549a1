// Rotary position embedding of bfloat16 heads: pair i of a head turns by position times turns[i], a fraction of 2^64 of a turn.
//
// The product of a position and such a fraction, modulo 2^64, is an exact fraction of a turn: positions of any size keep their
// angle. A block takes a token, whose heads share sines and cosines.
#include "prelude.cuh"

#define THREADS 256

DEVICE float2 rotated(float a, float b, float2 sin_cos) {
    return make_float2(a * sin_cos.y - b * sin_cos.x, b * sin_cos.y + a * sin_cos.x);
}

// Where the angle of a pair stands: threads side by side read angles that are eight pairs apart.
DEVICE int place(int pair, int pairs) { return pair % 8 * ceil_div(pairs, 8) + pair / 8; }

// `vectors`: heads and halves of pairs are whole vectors of 16 bytes. `neighbours`: a pair is two adjacent elements.
extern "C" __global__ void __launch_bounds__(THREADS)
rope(const u16* x, const int* positions, const u64* turns, u16* out, int heads, int d, int pairs, int neighbours, int vectors) {
    extern __shared__ float2 angles[];
    const i64 position = positions[blockIdx.x];
    for (int i = threadIdx.x; i < pairs; i += THREADS) {
        u64 phase = turns[i] * (u64)position;
        // Half a turn either way, as a 32-bit fraction.
        float angle = (float)(int)(phase >> 32) * (6.283185307179586f / 4294967296.0f);
        float2 sin_cos;
        asm("sin.approx.ftz.f32 %0, %1;" : "=f"(sin_cos.x) : "f"(angle));
        asm("cos.approx.ftz.f32 %0, %1;" : "=f"(sin_cos.y) : "f"(angle));
        angles[place(i, pairs)] = sin_cos;
    }
    __syncthreads();
    const size_t token = (size_t)blockIdx.x * heads * d;
    x += token;
    out += token;
    if (vectors) {
        // Vectors of a head that are items: with neighbours all of them, else those of the second half go with the first.
        const int length = d / 8, half = neighbours ? 0 : pairs / 8, items = length - half;
        // A thread has the same item of several heads, so that it reads its angles once.
        const int lanes = min_of(items, THREADS), heads_at_once = THREADS / lanes;
        if (threadIdx.x >= heads_at_once * lanes) return;
        for (int item = threadIdx.x % lanes; item < items; item += lanes) {
            // The vectors behind the first half are those that stay.
            const int at = half > 0 && item >= half ? item + half : item;
            // Its first pair, and where that one's angle stands.
            const int first = at * (neighbours ? 4 : 8), rows = ceil_div(pairs, 8), count = neighbours ? 4 : 8;
            const float2* own = angles + place(first, pairs);
            float2 turn[8];
#pragma unroll
            for (int j = 0; j < 8; j++) turn[j] = j < count && first + j < pairs ? own[j * rows] : make_float2(0.0f, 1.0f);
            for (int head = threadIdx.x / lanes; head < heads; head += heads_at_once) {
                const uint4* from = (const uint4*)(x + (size_t)head * d);
                uint4* to = (uint4*)(out + (size_t)head * d);
                uint4 a = load_streaming_16(from + at);
                u32 p[4] = {a.x, a.y, a.z, a.w};
                if (neighbours) {
#pragma unroll
                    for (int j = 0; j < 4; j++) {
                        if (first + j < pairs) {
                            float2 r = rotated(low_bf16(p[j]), high_bf16(p[j]), turn[j]);
                            p[j] = pack_bf16(r.x, r.y);
                        }
                    }
                } else if (at < half) {
                    uint4 b = load_streaming_16(from + at + half);
                    u32 q[4] = {b.x, b.y, b.z, b.w};
#pragma unroll
                    for (int j = 0; j < 4; j++) {
                        float2 r = rotated(low_bf16(p[j]), low_bf16(q[j]), turn[j * 2]);
                        float2 s = rotated(high_bf16(p[j]), high_bf16(q[j]), turn[j * 2 + 1]);
                        p[j] = pack_bf16(r.x, s.x);
                        q[j] = pack_bf16(r.y, s.y);
                    }
                    to[at + half] = make_uint4(q[0], q[1], q[2], q[3]);
                }
                to[at] = make_uint4(p[0], p[1], p[2], p[3]);
            }
        }
        return;
    }
    // Pairs first, then the elements that stay.
    const int items = d - pairs;
    for (int i = threadIdx.x; i < heads * items; i += THREADS) {
        int head = i / items, at = i % items;
        const u16* from = x + (size_t)head * d;
        u16* to = out + (size_t)head * d;
        if (at < pairs) {
            int first = neighbours ? 2 * at : at, second = neighbours ? 2 * at + 1 : at + pairs;
            float2 r = rotated(bf16_to_float(from[first]), bf16_to_float(from[second]), angles[place(at, pairs)]);
            to[first] = float_to_bf16(r.x);
            to[second] = float_to_bf16(r.y);
        } else {
            to[at + pairs] = from[at + pairs];
        }
    }
}
