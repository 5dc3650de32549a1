// Tokens of a draft, verified: `speculative_verify.f32`.
//
// Every block of a row tells by itself how many tokens are accepted, a thread a token, and then sums its share of the position behind
// them.
#include "sampling.cuh"

struct Operands {
    const int* draft_tokens;
    const float* draft;
    const float* target;
    const u64* stream;
    const u32* step;
    int* accepted;
    int* tokens;
};

extern "C" __global__ void __launch_bounds__(THREADS, 2)
verify(const Operands operands, u64 seed, int length, int n, int vectors) {
    __shared__ Draw draw;
    __shared__ int rejected;
    const int m = blockIdx.x / ranks();
    const u64 stream = operands.stream[m];
    const u32 step = operands.step[m];
    const int* drafted = operands.draft_tokens + (u64)m * length;
    const float* draft = operands.draft + (u64)m * length * n;
    const float* target = operands.target + (u64)m * (length + 1) * n;
    int* tokens = operands.tokens + (u64)m * (length + 1);
    if (threadIdx.x == 0) rejected = length;
    __syncthreads();
    for (int at = threadIdx.x; at < length; at += THREADS) {
        const u64 place = (u64)at * n + drafted[at];
        const u64 p = grid_of(target[place]), q = grid_of(draft[place]);
        if (random_words(seed, stream, step, 1 + at).x * q >= p << 32) atomicMin(&rejected, at);
    }
    __syncthreads();
    const int accepted = rejected;
    const Share share(n);
    bool residual = accepted < length;
    const u64 position = (u64)accepted * n;
    const auto weigh = [&](u32 (&w)[4], int warp, int it) {
        float p[4], q[4];
        const int at = share.token(warp, it);
        load_four(p, target + position, at, n, vectors, 0.0f);
        if (residual) load_four(q, draft + position, at, n, vectors, 0.0f);
#pragma unroll
        for (int i = 0; i < 4; i++) {
            const u32 has = grid_of(p[i]), had = residual ? grid_of(q[i]) : 0;
            w[i] = has > had ? has - had : 0;
        }
    };
    Mass mass = sum_weights(draw, share, weigh);
    if (mass.all == 0 && residual) {
        residual = false;
        row_sync();
        mass = sum_weights(draw, share, weigh);
    }
    const u64 place = part_of(random_bits(random_words(seed, stream, step, 1 + accepted)), mass.all);
    if (warp_id() == 0 && place >= mass.before && place < mass.before + draw.total) {
        const int token = token_at(draw, share, place - mass.before, weigh);
        if (lane_id() == 0) tokens[accepted] = token;
    }
    if (own_rank() == 0) {
        for (int at = threadIdx.x; at <= length; at += THREADS) {
            if (at != accepted) tokens[at] = at < accepted ? drafted[at] : -1;
            else if (mass.all == 0) tokens[at] = -1;
        }
        if (threadIdx.x == 0) operands.accepted[m] = accepted;
    }
    // The others read sums of this block.
    row_sync();
}
