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

DEVICE int dp4a(u32 a, u32 b, int sum) {
    asm("dp4a.s32.s32 %0, %1, %2, %0;" : "+r"(sum) : "r"(a), "r"(b));
    return sum;
}
