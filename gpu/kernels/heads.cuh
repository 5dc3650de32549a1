// Rows of a head, of bfloat16, as teams of threads read and sum them up.
//
// VECTORS: whether rows are whole vectors of 16 bytes.
#pragma once
#include "prelude.cuh"

// Threads of a row, and elements that each has at a time: neighbouring lanes of a sum, of which the definition has 32.
#define TEAM 4
#define LENGTH 8

// Sixteen bytes of a row from element `at` on, zeros beyond its end.
DEVICE uint4 load_row(const u16* row, int at, int d) {
#if VECTORS
    return at < d ? *(const uint4*)(row + at) : make_uint4(0, 0, 0, 0);
#else
    u32 words[4] = {0, 0, 0, 0};
#pragma unroll
    for (int i = 0; i < LENGTH; i++) {
        if (at + i < d) words[i / 2] |= (u32)row[at + i] << (i % 2 * 16);
    }
    return make_uint4(words[0], words[1], words[2], words[3]);
#endif
}

// The sum of the lanes of a team, neighbours first.
DEVICE float team_sum(float (&lanes)[LENGTH]) {
#pragma unroll
    for (int half = LENGTH / 2; half > 0; half >>= 1) {
#pragma unroll
        for (int i = 0; i < half; i++) lanes[i] = __fadd_rn(lanes[2 * i], lanes[2 * i + 1]);
    }
    float sum = lanes[0];
#pragma unroll
    for (int mask = 1; mask < TEAM; mask <<= 1) sum = __fadd_rn(sum, shuffle_xor(sum, mask));
    return sum;
}
