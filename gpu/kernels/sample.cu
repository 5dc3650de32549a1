// A token of every row of logits: `sample.f32`.
//
// A row is read once from memory. As many iterations as there is room for stay in shared memory, first as logits and then as deficits,
// each written and read by one thread; the others are read again. Where top-k or top-p asks for an order, deficits are counted by
// digits of 9, 7 and 7 bits, the highest first.
#include "sampling.cuh"

#define FIRST_BITS 9
#define NEXT_BITS 7
// Iterations after which counts go to 64 bits: the halves of that many weights have their sums in 32.
#define EPOCH (65536 / (WARPS * SPAN))

struct Operands {
    const float* logits;
    const float* temperature;
    const int* top_k;
    const float* top_p;
    const float* min_p;
    const u64* stream;
    const u32* step;
    int* token;
};

// What is counted of a bin; a thread has a bin.
struct Bin {
    u32 count;
    u64 mass;
};

struct Shared {
    Draw draw;
    // Of this block: counts, and sums of the halves of weights.
    u32 count[THREADS], low[THREADS], high[THREADS];
    // For the other blocks.
    u32 counts[THREADS];
    u64 masses[THREADS];
    Bin warps[WARPS];
    u32 tops[WARPS], top;
    // The bin in which a filter ends, with its tokens and what is before it; no bin where it does not end.
    int bin;
    u32 tokens;
    Bin before;
};

struct Row {
    const float* logits;
    int n, cached;
    bool vectors, deficits;
    float top, scale;
    uint4* cache;
    Share share;

    DEVICE uint4* place(int warp, int it) const { return cache + (it * WARPS + warp) * 32 + lane_id(); }
    DEVICE void read(float (&v)[4], int warp, int it) const {
        load_four(v, logits, share.token(warp, it), n, vectors, -INF);
    }
    // The deficits of an iteration; `keep`: they stay in the logits' place.
    DEVICE void get(u32 (&t)[4], int warp, int it, bool keep = false) const {
        float v[4];
        if (it < cached) {
            const uint4 x = *place(warp, it);
            t[0] = x.x, t[1] = x.y, t[2] = x.z, t[3] = x.w;
            if (deficits) return;
#pragma unroll
            for (int i = 0; i < 4; i++) v[i] = bits_to_float(t[i]);
        } else {
            read(v, warp, it);
        }
#pragma unroll
        for (int i = 0; i < 4; i++) t[i] = deficit_of(top, v[i], scale);
        if (keep && it < cached) *place(warp, it) = make_uint4(t[0], t[1], t[2], t[3]);
    }
};

// The largest logit of the row; all threads of the row meet here.
DEVICE float find_top(Shared& shared, const Row& row) {
    const int warp = warp_id();
    float top = -INF;
    for (int it = 0; it < row.share.iterations; it += 4) {
        float v[4][4];
#pragma unroll
        for (int j = 0; j < 4; j++) {
            if (it + j < row.share.iterations) row.read(v[j], warp, it + j);
        }
#pragma unroll
        for (int j = 0; j < 4; j++) {
            if (it + j >= row.share.iterations) break;
            top = fmaxf(top, fmaxf(fmaxf(v[j][0], v[j][1]), fmaxf(v[j][2], v[j][3])));
            if (it + j < row.cached) {
                *row.place(warp, it + j) = make_uint4(float_to_bits(v[j][0]), float_to_bits(v[j][1]),
                                                      float_to_bits(v[j][2]), float_to_bits(v[j][3]));
            }
        }
    }
    top = warp_max(top);
    if (lane_id() == 0) shared.tops[warp] = float_to_bits(top);
    __syncthreads();
    if (warp == 0) {
        top = warp_max(bits_to_float(shared.tops[lane_id() % WARPS]));
        if (lane_id() == 0) shared.top = float_to_bits(top);
    }
    row_sync();
    top = -INF;
    for (u32 rank = 0; rank < ranks(); rank++) top = fmaxf(top, bits_to_float(load_of_rank(&shared.top, rank)));
    return top;
}

// Adds tokens with a weight to bins. Where all of a warp's are of one bin, one lane adds them.
DEVICE void add(Shared& shared, const u32 (&t)[4], u32 prefix, int shift, int bits) {
    u32 bin[4], w[4];
    bool together = true;
#pragma unroll
    for (int i = 0; i < 4; i++) {
        w[i] = t[i] >> (shift + bits) == prefix ? weight_of(t[i]) : 0;
        bin[i] = t[i] >> shift & ((1 << bits) - 1);
    }
    const u32 first = __shfl_sync(FULL_WARP, bin[0], 0);
#pragma unroll
    for (int i = 0; i < 4; i++) together = together && w[i] != 0 && bin[i] == first;
    if (__all_sync(FULL_WARP, together)) {
        u32 low = 0, high = 0;
#pragma unroll
        for (int i = 0; i < 4; i++) low += w[i] & 0xffff, high += w[i] >> 16;
        low = __reduce_add_sync(FULL_WARP, low);
        high = __reduce_add_sync(FULL_WARP, high);
        if (lane_id() == 0) {
            atomicAdd(&shared.count[first], SPAN);
            atomicAdd(&shared.low[first], low);
            atomicAdd(&shared.high[first], high);
        }
        return;
    }
#pragma unroll
    for (int i = 0; i < 4; i++) {
        if (w[i] == 0) continue;
        atomicAdd(&shared.count[bin[i]], 1);
        atomicAdd(&shared.low[bin[i]], w[i] & 0xffff);
        atomicAdd(&shared.high[bin[i]], w[i] >> 16);
    }
}

// Counts the tokens with a weight whose deficits begin with `prefix` by the next `bits` bits, of the whole row: this thread's bin. All
// threads of the row meet here.
DEVICE Bin count(Shared& shared, const Row& row, u32 prefix, int shift, int bits) {
    const int warp = warp_id(), own = threadIdx.x;
    Bin bin = {0, 0};
    shared.count[own] = shared.low[own] = shared.high[own] = 0;
    __syncthreads();
    for (int epoch = 0; epoch < row.share.iterations; epoch += EPOCH) {
        const int end = min_of(epoch + EPOCH, row.share.iterations);
        for (int it = epoch; it < end; it++) {
            u32 t[4];
            row.get(t, warp, it, true);
            add(shared, t, prefix, shift, bits);
        }
        __syncthreads();
        bin.count += shared.count[own];
        bin.mass += shared.low[own] + ((u64)shared.high[own] << 16);
        shared.count[own] = shared.low[own] = shared.high[own] = 0;
        __syncthreads();
    }
    shared.counts[own] = bin.count;
    shared.masses[own] = bin.mass;
    row_sync();
    bin = {0, 0};
    for (u32 rank = 0; rank < ranks(); rank++) {
        bin.count += load_of_rank(&shared.counts[own], rank);
        bin.mass += load_of_rank(&shared.masses[own], rank);
    }
    row_sync();
    return bin;
}

// How far a beginning of the order has to reach.
struct Goal {
    bool by_mass;
    u64 amount;
    DEVICE bool reached(u32 count, u64 mass) const { return (by_mass ? mass : count) >= amount; }
};

// Finds the bin in which the goal is reached, with `before` before all bins.
DEVICE void find_bin(Shared& shared, Bin own, Bin before, const Goal& goal) {
    const int warp = warp_id();
    u32 count = own.count;
#pragma unroll
    for (int by = 1; by < 32; by <<= 1) {
        const u32 other = __shfl_up_sync(FULL_WARP, count, by);
        count += lane_id() >= by ? other : 0;
    }
    u64 mass = warp_scan(own.mass);
    if (lane_id() == 31) shared.warps[warp] = {count, mass};
    if (threadIdx.x == 0) shared.bin = -1;
    __syncthreads();
    count += before.count;
    mass += before.mass;
    for (int i = 0; i < warp; i++) count += shared.warps[i].count, mass += shared.warps[i].mass;
    if (goal.reached(count, mass) && !goal.reached(count - own.count, mass - own.mass)) {
        shared.bin = threadIdx.x;
        shared.tokens = own.count;
        shared.before = {count - own.count, mass - own.mass};
    }
    __syncthreads();
}

// The last token of a beginning of the order, and the mass up to it.
struct End {
    u32 deficit;
    int token;
    u64 mass;
};

// The mass of all bins of the row.
DEVICE u64 mass_of(Shared& shared, const Bin& own) {
    const int warp = warp_id();
    const u64 mass = warp_sum(own.mass);
    if (lane_id() == 0) shared.warps[warp].mass = mass;
    __syncthreads();
    u64 all = 0;
    for (int i = 0; i < WARPS; i++) all += shared.warps[i].mass;
    __syncthreads();
    return all;
}

// The token that has so many of its deficit before it. All threads of the row meet here.
DEVICE int find_tie(Shared& shared, const Row& row, u32 deficit, u64 place) {
    const auto same = [&](u32 (&w)[4], int warp, int it) {
        row.get(w, warp, it);
#pragma unroll
        for (int i = 0; i < 4; i++) w[i] = w[i] == deficit;
    };
    const Mass mass = sum_weights(shared.draw, row.share, same);
    if (warp_id() == 0) {
        const bool here = place >= mass.before && place < mass.before + shared.draw.total;
        const int token = here ? token_at(shared.draw, row.share, place - mass.before, same) : -1;
        if (lane_id() == 0) shared.draw.token = token;
    }
    row_sync();
    int token = row.n;
    for (u32 rank = 0; rank < ranks(); rank++) {
        const int found = load_of_rank(&shared.draw.token, rank);
        token = found >= 0 ? found : token;
    }
    return token;
}

// The end of what top-k and then top-p keep, of the first `cut` tokens of the order and of a part of their mass; `cut` is 0 and the part
// 1 where they keep all. Deficits stay in the logits' place from the first count on.
DEVICE End find_end(Shared& shared, Row& row, int cut, float top_p) {
    End end = {0xffffffffu, row.n, 0};
    Bin first;
    for (int by_mass = 0; by_mass < 2; by_mass++) {
        if (by_mass ? top_p >= 1.0f : cut == 0) continue;
        Bin before = {0, 0};
        Goal goal = {by_mass != 0, (u64)cut};
        u32 prefix = 0;
        int shift = DEFICIT_BITS - FIRST_BITS, bits = FIRST_BITS;
        for (;;) {
            Bin bin = first;
            if (bits == NEXT_BITS || !row.deficits) bin = count(shared, row, prefix, shift, bits);
            if (!row.deficits) {
                row.deficits = true;
                first = bin;
                end.mass = mass_of(shared, bin);
            }
            if (by_mass && bits == FIRST_BITS) goal.amount = least_mass(end.mass, top_p);
            find_bin(shared, bin, before, goal);
            if (shared.bin < 0) break;
            prefix = prefix << NEXT_BITS | shared.bin;
            before = shared.before;
            if (shift == 0) break;
            shift -= NEXT_BITS;
            bits = NEXT_BITS;
        }
        // Fewer tokens have a weight than are to be kept: no end.
        if (shared.bin >= 0) {
            const u32 weight = weight_of(prefix);
            const u64 more = by_mass ? (goal.amount - before.mass + weight - 1) / weight : goal.amount - before.count;
            end = {prefix, row.n, before.mass + more * weight};
            if (more < shared.tokens) end.token = find_tie(shared, row, prefix, more - 1);
        }
        // Bins and draws are used again.
        row_sync();
    }
    return end;
}

extern "C" __global__ void __launch_bounds__(THREADS, 2)
sample(const Operands operands, u64 seed, int n, int vectors, int cached) {
    extern __shared__ __align__(16) u8 dynamic[];
    __shared__ Shared shared;
    const int m = blockIdx.x / ranks();
    const float temperature = operands.temperature[m], top_p = operands.top_p[m];
    const int top_k = operands.top_k[m];
    Row row = {operands.logits + (u64)m * n, n, cached, vectors != 0, false, 0.0f, UNITS / fabsf(temperature), (uint4*)dynamic, Share(n)};
    row.top = find_top(shared, row);
    const u32 least = (u32)ceilf(operands.min_p[m] * 2147483648.0f);
    const bool greedy = temperature == 0.0f || top_k == 1;
    const int cut = top_k < n ? top_k : 0;
    End end = {0xffffffffu, n, 0};
    if (!greedy && (cut > 0 || top_p < 1.0f)) end = find_end(shared, row, cut, top_p);
    const auto weigh = [&](u32 (&w)[4], int warp, int it) {
        row.get(w, warp, it);
        const int at = row.share.token(warp, it);
#pragma unroll
        for (int i = 0; i < 4; i++) {
            const bool kept = w[i] < end.deficit || (w[i] == end.deficit && at + i <= end.token);
            const u32 weight = weight_of(w[i]);
            w[i] = greedy ? w[i] == 0 : kept && weight >= least ? weight : 0;
        }
    };
    const Mass mass = sum_weights(shared.draw, row.share, weigh);
    const u64 bits = random_bits(random_words(seed, operands.stream[m], operands.step[m], 0));
    const u64 place = greedy ? 0 : part_of(bits, mass.all);
    const bool number = row.top > -INF;
    if (warp_id() == 0 && number && place >= mass.before && place < mass.before + shared.draw.total) {
        const int token = token_at(shared.draw, row.share, place - mass.before, weigh);
        if (lane_id() == 0) operands.token[m] = token;
    }
    if (!number && own_rank() == 0 && threadIdx.x == 0) operands.token[m] = -1;
    // The others read sums of this block.
    row_sync();
}
