// The k best candidates that a warp has met. A candidate is a score, turned round, above an id: the smaller, the better, and no two
// are equal unless they are the same, so the best do not depend on the order in which they come.
#pragma once
#include "prelude.cuh"

#define NOTHING 0xffffffffffffffffull
#define NO_RANK 0xffffffffu

// The upper half of a candidate. A NaN has none.
DEVICE u32 rank_of(int score) { return (u32)score ^ 0x7fffffffu; }
DEVICE u32 rank_of(float score) {
    // Adding 0 takes the sign off a zero.
    const u32 bits = float_to_bits(__fadd_rn(score, 0.0f));
    return score != score ? NO_RANK : (int)bits < 0 ? bits : bits ^ 0x7fffffffu;
}
DEVICE u64 candidate(u32 rank, int id) { return (u64)rank << 32 | (u32)id; }

DEVICE u64 shuffle(u64 x, int lane) { return __shfl_sync(FULL_WARP, x, lane); }
DEVICE u64 shuffle_xor(u64 x, int mask) { return __shfl_xor_sync(FULL_WARP, x, mask); }
DEVICE u64 chosen(u64 a, u64 b, bool smaller) { return (a < b) == smaller ? a : b; }

// A warp's numbers that ascend and then descend, or the other way round, in ascending order.
DEVICE u64 straightened(u64 x) {
#pragma unroll
    for (int mask = 16; mask > 0; mask >>= 1) x = chosen(x, shuffle_xor(x, mask), (lane_id() & mask) == 0);
    return x;
}
// A warp's numbers in ascending order.
DEVICE u64 sorted(u64 x) {
#pragma unroll
    for (int size = 2; size < 32; size <<= 1) {
#pragma unroll
        for (int mask = size / 2; mask > 0; mask >>= 1) {
            x = chosen(x, shuffle_xor(x, mask), ((lane_id() & mask) == 0) == ((lane_id() & size) == 0));
        }
    }
    return straightened(x);
}

// In shared memory: `width` candidates in ascending order, a multiple of 32 and k at least, and behind them 32 that wait. A warp's own,
// except that others read it behind a barrier.
struct Queue {
    u64* kept;
    int width;

    DEVICE u64* waiting() const { return kept + width; }

    DEVICE void clear() const {
        for (int at = lane_id(); at < width; at += 32) kept[at] = NOTHING;
        __syncwarp();
    }

    // Takes in a warp's candidates, which are in ascending order.
    DEVICE void absorb(u64 more) const {
        for (int at = lane_id(); at < width; at += 32) {
            // The smaller of each pair are the best 32 of both; both halves rise and fall once.
            const u64 own = kept[at], other = shuffle(more, 31 - lane_id());
            kept[at] = straightened(own < other ? own : other);
            more = straightened(own < other ? other : own);
        }
        __syncwarp();
    }

    // Takes in the `count` that wait.
    DEVICE void absorb_waiting(int count) const { absorb(sorted(lane_id() < count ? waiting()[lane_id()] : NOTHING)); }

    // Takes in candidates that lanes have, or lets them wait; `count` are waiting, `bound` is what the best k are bounded by so far.
    // Both are the same in every lane.
    DEVICE void offer(u64 own, bool inside, int k, int& count, u64& bound) const {
        const bool better = inside && own < bound;
        const u32 who = __ballot_sync(FULL_WARP, better);
        if (who == 0) return;
        if (count + __popc(who) > 32) {
            absorb_waiting(count);
            bound = kept[k - 1];
            count = 0;
        }
        if (better) waiting()[count + __popc(who & ((1u << lane_id()) - 1))] = own;
        count += __popc(who);
        __syncwarp();
    }
};
