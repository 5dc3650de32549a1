// Pools of codes: the largest or the mean code under a window.
//
// KIND: 0 the largest, 1 the mean. WIDTH: channels of a thread, 16, 4 or 1, a divisor of their number.
#include "window.cuh"

#define THREADS 256
#define WORDS ((WIDTH + 3) / 4)

struct Pool {
    Window high, wide;
    int images, channels, lo, hi;
    // Whether padding counts, what its code is, and how much of it there is behind the input.
    int counted, zero_point, below, right;
    // The code that codes are counted from.
    int least;
};

DEVICE void load_codes(u32 (&x)[WORDS], const i8* from) {
#if WIDTH == 16
    uint4 v = *(const uint4*)from;
    x[0] = v.x, x[1] = v.y, x[2] = v.z, x[3] = v.w;
#elif WIDTH == 4
    x[0] = *(const u32*)from;
#else
    x[0] = (u8)*from;
#endif
}
DEVICE void store_codes(i8* to, const u32 (&x)[WORDS]) {
#if WIDTH == 16
    *(uint4*)to = make_uint4(x[0], x[1], x[2], x[3]);
#elif WIDTH == 4
    *(u32*)to = x[0];
#else
    *to = (i8)x[0];
#endif
}

// Pairs of 16-bit integers, each with a code in its high byte, which are ordered as the codes are.
DEVICE u32 even(u32 codes) { return codes << 8 & 0xff00ff00u; }
DEVICE u32 odd(u32 codes) { return codes & 0xff00ff00u; }
DEVICE u32 larger(u32 a, u32 b) {
    asm("max.s16x2 %0, %0, %1;" : "+r"(a) : "r"(b));
    return a;
}
DEVICE u32 smaller(u32 a, u32 b) {
    asm("min.s16x2 %0, %0, %1;" : "+r"(a) : "r"(b));
    return a;
}

// sum / count, half away from zero: a quotient of less than 2^8 by way of its approximation, which is off by one at most.
DEVICE int mean(int sum, int count, float reciprocal) {
    int twice = 2 * (sum < 0 ? -sum : sum) + count;
    int quotient = (int)((float)twice * reciprocal);
    int rest = twice - quotient * 2 * count;
    quotient += rest < 0 ? -1 : rest >= 2 * count ? 1 : 0;
    return sum < 0 ? -quotient : quotient;
}

DEVICE int padded_taps(const Window& window, int behind, int position) {
    int left = window.before + window.input + behind - position * window.stride;
    return left > 0 ? min_of(ceil_div(left, window.dilation), window.kernel) : 0;
}

extern "C" __global__ void __launch_bounds__(THREADS) pool(const i8* x, i8* out, const __grid_constant__ Pool p) {
    const int groups = p.channels / WIDTH;
    const u32 items = (u32)p.images * p.high.output * p.wide.output * groups;
    for (u32 item = blockIdx.x * THREADS + threadIdx.x; item < items; item += gridDim.x * THREADS) {
        const int channel = item % groups * WIDTH;
        u32 pixel = item / groups;
        const int column = pixel % p.wide.output;
        pixel /= p.wide.output;
        const int row = pixel % p.high.output, image = pixel / p.high.output;
        const Taps rows = taps_inside(p.high, row), columns = taps_inside(p.wide, column);
#if KIND == 0
        const u32 lo = (u32)(p.lo & 0xff) << 8, hi = (u32)(p.hi & 0xff) << 8;
        u32 evens[WORDS], odds[WORDS];
#pragma unroll
        for (int i = 0; i < WORDS; i++) evens[i] = odds[i] = lo | lo << 16;
#else
        int sums[WIDTH] = {};
#endif
        for (int th = rows.begin; th < rows.end; th++) {
            const int line = (image * p.high.input + row * p.high.stride - p.high.before + th * p.high.dilation) * p.wide.input;
            const int start = line + column * p.wide.stride - p.wide.before;
            for (int tw = columns.begin; tw < columns.end; tw++) {
                u32 codes[WORDS];
                load_codes(codes, x + (size_t)(start + tw * p.wide.dilation) * p.channels + channel);
#if KIND == 0
#pragma unroll
                for (int i = 0; i < WORDS; i++) {
                    evens[i] = larger(evens[i], even(codes[i]));
                    odds[i] = larger(odds[i], odd(codes[i]));
                }
#else
#pragma unroll
                for (int i = 0; i < WIDTH; i++) sums[i] += (i8)(codes[i / 4] >> i % 4 * 8);
#endif
            }
        }
        u32 codes[WORDS] = {};
#if KIND == 0
#pragma unroll
        for (int i = 0; i < WORDS; i++) {
            codes[i] = smaller(evens[i], hi | hi << 16) >> 8 & 0x00ff00ffu | smaller(odds[i], hi | hi << 16);
        }
#else
        const int inside = max_of(rows.end - rows.begin, 0) * max_of(columns.end - columns.begin, 0);
        const int counted = padded_taps(p.high, p.below, row) * padded_taps(p.wide, p.right, column);
        const int all = p.counted ? counted : inside, count = max_of(all, 1);
        const int more = (all - inside) * p.zero_point - all * p.least;
        const float reciprocal = 0.5f / (float)count;
#pragma unroll
        for (int i = 0; i < WIDTH; i++) {
            int code = min_of(max_of(mean(sums[i] + more, count, reciprocal) + p.least, p.lo), p.hi);
            codes[i / 4] |= (u32)(code & 0xff) << i % 4 * 8;
        }
#endif
        store_codes(out + (size_t)item * WIDTH, codes);
    }
}
