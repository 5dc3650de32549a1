// Keys that have a part of the mass, sought in the best clusters.
//
// A block is a request and a head of queries. It scores centroids, sorts them in shared memory, computes the weights of the first keys of
// that order and of two windows further on, and sorts those; sums of weights are integers, so that it does not matter who adds them up.
// What the block asks for is a bit for every key; a second kernel makes lists of what the heads of a group ask for together.
#include "heads.cuh"
#include "sampling.cuh"
#include "topk.cuh"

#define TEAMS (THREADS / TEAM)
// Keys that the curve is evaluated for at a time.
#define CHUNK 16

// Made by the host. Names are those of the definition.
struct Operands {
    const u16 *q, *k, *centroids;
    const i32 *cluster_begin, *cluster_end, *slot_begin, *members, *fresh_begin, *fresh_lines;
    i32 *selected, *count, *budget;
    // Bits of fresh keys and then of slots for each pair of a request and a head of queries, and logits of a pair.
    u32* asked;
    float* logits;
};
struct Extents {
    int hq, hkv, d, slots, clusters, head, window;
    // Words of a pair's bits, its logits at most, and powers of two that no request has more clusters and logits than.
    int words, most, room, ranks;
};

// Scores of a query for `count` rows, which `row(i)` gives: `take(i, score)` is called once for each. All threads of the block.
template <class Row, class Take>
DEVICE void score_rows(const float* query, int d, int count, Row row, Take take) {
    const int member = lane_id() % TEAM;
    for (int base = 0; base < count; base += TEAMS) {
        const int i = base + threadIdx.x / TEAM;
        // Beyond the end stands the last row, whose score nobody takes.
        const u16* from = row(min_of(i, count - 1));
        float sums[LENGTH] = {};
#pragma unroll 2
        for (int at = member * LENGTH; at < d; at += TEAM * LENGTH) {
            float v[LENGTH];
            numbers_of(v, load_row(from, at, d));
            const float4 low = *(const float4*)(query + at), high = *(const float4*)(query + at + 4);
            const float ys[LENGTH] = {low.x, low.y, low.z, low.w, high.x, high.y, high.z, high.w};
#pragma unroll
            for (int j = 0; j < LENGTH; j++) sums[j] = __fmaf_rn(ys[j], v[j], sums[j]);
        }
        const float sum = team_sum(sums);
        if (member == 0 && i < count) take(i, __fadd_rn(sum, 0.0f));
    }
}

// What warps leave for each other, and what the block asks for.
__shared__ u64 parts[WARPS];
__shared__ int asked_for[2];

// The sum of all threads' numbers, for all of them.
DEVICE u64 block_sum(u64 x) {
    const int own = warp_id();
    x = warp_sum(x);
    // Sums of before are read no more.
    __syncthreads();
    if (lane_id() == 0) parts[own] = x;
    __syncthreads();
    u64 sum = 0;
    for (int warp = 0; warp < WARPS; warp++) sum += parts[warp];
    return sum;
}
// The sum of the numbers of the threads before this one; `all` is that of all.
DEVICE u64 block_scan(u64 x, u64& all) {
    const int own = warp_id();
    const u64 end = warp_scan(x);
    __syncthreads();
    if (lane_id() == 31) parts[own] = end;
    __syncthreads();
    u64 before = 0;
    all = 0;
    for (int warp = 0; warp < WARPS; warp++) {
        before += warp < own ? parts[warp] : 0;
        all += parts[warp];
    }
    return before + end - x;
}
DEVICE float block_max(float x) {
    const int own = warp_id();
    x = warp_max(x);
    __syncthreads();
    if (lane_id() == 0) parts[own] = float_to_bits(x);
    __syncthreads();
    float top = -INF;
    for (int warp = 0; warp < WARPS; warp++) top = fmaxf(top, bits_to_float((u32)parts[warp]));
    return top;
}

// `room` candidates in ascending order.
DEVICE void sort(u64* all, int room) {
    for (int size = 2; size <= room; size <<= 1) {
        for (int mask = size / 2; mask > 0; mask >>= 1) {
            __syncthreads();
            for (int pair = threadIdx.x; pair < room / 2; pair += THREADS) {
                const int low = 2 * pair - (pair & (mask - 1)), high = low + mask;
                const u64 a = all[low], b = all[high];
                if ((a > b) == ((low & size) == 0)) all[low] = b, all[high] = a;
            }
        }
    }
    __syncthreads();
}

// A power law through the mean weights of two windows: a line between two numbers of binary32, whose bits stand for their logarithms.
struct Tail {
    int x1, x2, y2, fall;
    DEVICE Tail(int begin1, u64 sum1, int begin2, u64 sum2, int window) {
        const float length = (float)window, middle = __fmul_rn(__fadd_rn(length, 1.0f), 0.5f);
        const float mean1 = fmaxf(__fdiv_rn(__ull2float_rn(sum1), length), 1.0f);
        const float mean2 = fmaxf(__fdiv_rn(__ull2float_rn(sum2), length), 1.0f);
        x1 = float_to_bits(__fadd_rn((float)begin1, middle));
        x2 = float_to_bits(__fadd_rn((float)begin2, middle));
        y2 = float_to_bits(mean2);
        fall = max_of((int)float_to_bits(mean1) - y2, 0);
    }
    DEVICE u32 weight(int first) const {
        const int x = float_to_bits(__fadd_rn((float)first, (CHUNK + 1.0f) * 0.5f));
        const i64 y = y2 + (i64)fall * (x2 - x) / (x2 - x1), highest = float_to_bits(2147483648.0f);
        return __float2uint_rz(bits_to_float((u32)(y < 0 ? 0 : y < highest ? y : highest)));
    }
};

// The first number whose sum, with all before it and with `mass`, is `least` or more; `weigh(i)` are the numbers, whose sum is enough.
// `mass` becomes what there is before it. For one warp.
template <class Weigh>
DEVICE int reached(u64& mass, u64 least, Weigh weigh) {
    for (int base = 0;; base += 32) {
        const u64 own = weigh(base + lane_id()), end = mass + warp_scan(own);
        const u32 who = __ballot_sync(FULL_WARP, end >= least);
        if (who != 0) {
            const int lane = __ffs(who) - 1;
            mass = __shfl_sync(FULL_WARP, end - own, lane);
            return base + lane;
        }
        mass = __shfl_sync(FULL_WARP, end, 31);
    }
}

// Dynamic: clusters by score [room], what is computed by weight [ranks], where each cluster of the order begins [room] with padding,
// the query [d, padded].
extern "C" __global__ void __launch_bounds__(THREADS, 2)
tactic_ask(const Operands operands, const Extents extents, float units, float target) {
    extern __shared__ __align__(16) u8 dynamic[];
    u64* const order = (u64*)dynamic;
    u64* const heaviest = order + extents.room;
    int* const starts = (int*)(heaviest + extents.ranks);
    float* const query = (float*)(starts + max_of(extents.room, 4));
    const int pair = blockIdx.x, request = pair / extents.hq, d = extents.d, hkv = extents.hkv;
    const int head = pair % extents.hq / (extents.hq / hkv);
    const int first_cluster = operands.cluster_begin[request];
    const int clusters = operands.cluster_begin[request + 1] - first_cluster;
    const int first_slot = operands.slot_begin[request], slots = operands.slot_begin[request + 1] - first_slot;
    const int first_fresh = operands.fresh_begin[request], fresh = operands.fresh_begin[request + 1] - first_fresh;
    const i32* const ends = operands.cluster_end + (i64)head * extents.clusters + first_cluster;
    const i32* const members = operands.members + (i64)head * extents.slots + first_slot;
    u32* const asked = operands.asked + (i64)pair * extents.words;
    float* const logits = operands.logits + (i64)pair * extents.most;

    for (int at = threadIdx.x; at < (d + 31) / 32 * 32; at += THREADS) {
        query[at] = at < d ? bf16_to_float(operands.q[(i64)pair * d + at]) : 0.0f;
    }
    for (int at = threadIdx.x; at < extents.words; at += THREADS) asked[at] = 0;
    for (int at = clusters + threadIdx.x; at < extents.room; at += THREADS) order[at] = NOTHING;
    __syncthreads();
    score_rows(query, d, clusters,
               [&](int i) { return operands.centroids + ((i64)(first_cluster + i) * hkv + head) * d; },
               [&](int i, float score) { order[i] = candidate(rank_of(score), i); });
    sort(order, extents.room);

    // Where in the order of slots each cluster begins. A thread has neighbouring clusters.
    const int each = ceil_div(clusters, THREADS), begin = min_of(clusters, threadIdx.x * each);
    const int end = min_of(clusters, begin + each);
    u64 length = 0, all_lengths;
    for (int at = begin; at < end; at++) {
        const int cluster = (int)(u32)order[at];
        length += ends[cluster] - (cluster == 0 ? 0 : ends[cluster - 1]);
    }
    int before = (int)block_scan(length, all_lengths);
    for (int at = begin; at < end; at++) {
        const int cluster = (int)(u32)order[at];
        starts[at] = before;
        before += ends[cluster] - (cluster == 0 ? 0 : ends[cluster - 1]);
    }
    __syncthreads();
    // The slot at a place of the order: of the last cluster that begins there or before.
    const auto slot_at = [&](int place) {
        int low = 0, high = clusters;
        while (high - low > 1) {
            const int middle = (low + high) / 2;
            if (starts[middle] <= place) low = middle;
            else high = middle;
        }
        const int cluster = (int)(u32)order[low];
        return (cluster == 0 ? 0 : ends[cluster - 1]) + place - starts[low];
    };

    // What is computed: fresh keys, the first ones of the order, and two windows.
    const int window = extents.window;
    const bool whole = (i64)slots <= (i64)extents.head + 2 * window;
    const int known = whole ? slots : extents.head;
    const int begin1 = min_of(max_of(max_of(slots / 10 - window / 2, 0), known), slots - 2 * window);
    const int begin2 = min_of(max_of(max_of((int)((i64)slots * 3 / 5) - window / 2, 0), begin1 + window), slots - window);
    const int computed = fresh + known + (whole ? 0 : 2 * window);
    // The place in the order of what is computed behind the fresh ones.
    const auto place_of = [&](int i) {
        const int at = i - fresh - known;
        return at < 0 ? i - fresh : at < window ? begin1 + at : begin2 + at - window;
    };
    float top = -INF;
    score_rows(query, d, computed,
               [&](int i) {
                   const int line = i < fresh ? operands.fresh_lines[first_fresh + i] : members[slot_at(place_of(i))];
                   return operands.k + ((i64)line * hkv + head) * d;
               },
               [&](int i, float score) {
                   logits[i] = score;
                   // A NaN is no maximum.
                   top = fmaxf(top, score);
               });
    top = block_max(top);
    // Numbers of what is computed, by weight, the heaviest first.
    const int ranks = extents.ranks;
    const auto weigh = [&](int i) { return weight_of(deficit_of(top, logits[i], units)); };
    const auto sum_of = [&](int begin, int end) {
        u64 sum = 0;
        for (int i = begin + threadIdx.x; i < end; i += THREADS) sum += weigh(i);
        return block_sum(sum);
    };
    for (int i = threadIdx.x; i < ranks; i += THREADS) heaviest[i] = i < computed ? candidate(~weigh(i), i) : NOTHING;
    sort(heaviest, ranks);
    const u64 known_mass = sum_of(0, computed);
    const u64 sum1 = whole ? 0 : sum_of(fresh + known, fresh + known + window);
    const u64 sum2 = whole ? 0 : sum_of(fresh + known + window, computed);
    const Tail tail(begin1, sum1, begin2, sum2, window);
    const int chunks = ceil_div(slots - known, CHUNK);
    // Keys of a chunk that are in no window, and their weights.
    const auto within = [&](int begin, int end, int window_begin) {
        return max_of(min_of(end, window_begin + window) - max_of(begin, window_begin), 0);
    };
    const auto unknown = [&](int begin, int end) { return end - begin - within(begin, end, begin1) - within(begin, end, begin2); };
    const auto told = [&](int chunk) {
        const int begin = known + chunk * CHUNK, end = min_of(begin + CHUNK, slots);
        return chunk < chunks ? (u64)tail.weight(begin) * unknown(begin, end) : 0;
    };
    u64 rest = 0;
    for (int chunk = threadIdx.x; chunk < chunks; chunk += THREADS) rest += told(chunk);
    rest = block_sum(rest);
    const u64 all = known_mass + rest, least = least_mass(all, target);

    if (warp_id() == 0) {
        // How many of the computed ones are taken, and the end of what is taken of the order.
        int taken = computed, end = slots;
        u64 mass = 0;
        if (target < 1.0f && known_mass >= least) {
            taken = 1 + reached(mass, least, [&](int i) { return i < computed ? (u64)~(u32)(heaviest[i] >> 32) : 0; });
            end = 0;
        } else if (target < 1.0f && all >= least) {
            mass = known_mass;
            end = min_of(known + (1 + reached(mass, least, told)) * CHUNK, slots);
        }
        if (lane_id() == 0) {
            asked_for[0] = taken;
            asked_for[1] = end;
            operands.budget[pair] = taken + (end > known ? unknown(known, end) : 0);
        }
    }
    __syncthreads();
    const auto ask = [&](int number) { atomicOr(&asked[number / 32], 1u << (number % 32)); };
    for (int i = threadIdx.x; i < asked_for[0]; i += THREADS) {
        const int number = (int)(u32)heaviest[i];
        ask(number < fresh ? number : fresh + slot_at(place_of(number)));
    }
    for (int place = known + threadIdx.x; place < asked_for[1]; place += THREADS) {
        if (unknown(place, place + 1)) ask(fresh + slot_at(place));
    }
}

// A block is a request and a head of keys.
extern "C" __global__ void __launch_bounds__(THREADS)
tactic_union(const Operands operands, const Extents extents) {
    const int hkv = extents.hkv, request = blockIdx.x / hkv, head = blockIdx.x % hkv, group = extents.hq / hkv;
    const int first_slot = operands.slot_begin[request], slots = operands.slot_begin[request + 1] - first_slot;
    const int first_fresh = operands.fresh_begin[request], fresh = operands.fresh_begin[request + 1] - first_fresh;
    const i32* const members = operands.members + (i64)head * extents.slots + first_slot;
    const u32* const asked = operands.asked + ((i64)request * extents.hq + head * group) * extents.words;
    i32* const selected = operands.selected + (i64)hkv * (first_slot + first_fresh) + (i64)head * (slots + fresh);
    const int keys = fresh + slots;
    int count = 0;
    for (int base = 0; base * 32 < keys; base += THREADS) {
        const int at = base + threadIdx.x;
        u32 word = 0;
        if (at * 32 < keys) {
            for (int query = 0; query < group; query++) word |= asked[(i64)query * extents.words + at];
        }
        u64 all;
        int to = count + (int)block_scan(__popc(word), all);
        for (; word != 0; word &= word - 1) {
            const int number = at * 32 + __ffs(word) - 1;
            selected[to++] = number < fresh ? operands.fresh_lines[first_fresh + number] : members[number - fresh];
        }
        __syncwarp();
        count += (int)all;
    }
    for (int i = count + threadIdx.x; i < keys; i += THREADS) selected[i] = -1;
    if (threadIdx.x == 0) operands.count[blockIdx.x] = count;
}
