// What kernels share that slide a window over [n, h, w, c] codes.
#pragma once
#include "prelude.cuh"

// A window along one axis; made by the host, in the order of its arguments.
struct Window {
    int input, kernel, stride, dilation, before, output;
};

// The taps of the window at a position that lie inside the input: from the first to before the last.
struct Taps {
    int begin, end;
};
DEVICE Taps taps_inside(const Window& window, int position) {
    int start = position * window.stride - window.before;
    Taps taps;
    taps.begin = start < 0 ? ceil_div(-start, window.dilation) : 0;
    taps.end = start < window.input ? min_of(ceil_div(window.input - start, window.dilation), window.kernel) : 0;
    return taps;
}

// What becomes of a sum; made by the host.
struct Requant {
    // The lowest and the highest integer whose code is not clamped, the code of zero, and that of zero in the input.
    int lowest, highest, zero_point, input_zero_point;
};
// The code of a sum: (f32(sum) scale, half to even) + zero point, clamped. Clamping first keeps the sum of the two in 32 bits.
DEVICE u32 code_of(const Requant& requant, int sum, float scale) {
    int real = float_to_int((float)sum * scale);
    return (u32)(min_of(max_of(real, requant.lowest), requant.highest) + requant.zero_point) & 0xff;
}

DEVICE int dp4a(u32 a, u32 b, int sum) {
    asm("dp4a.s32.s32 %0, %1, %2, %0;" : "+r"(sum) : "r"(a), "r"(b));
    return sum;
}
