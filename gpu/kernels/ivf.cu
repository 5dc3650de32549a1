// Scores of the vectors of lists for the queries that probe them, of which every warp keeps the best.
//
// A block goes through its items: a stretch of a list, and QUERIES queries at most. A few threads, a team, share a vector; a warp has
// WARP_ROWS vectors at a time, and after scoring them one lane for each, which compares the scores with what is kept.
//
// Floats are summed as the definition says: element i is a matter of lane i % 32 of the sum. A thread has as many neighbouring lanes as
// elements in 16 bytes, the threads of a team have 32 together, so that neighbours are added within a thread first.
//
// DTYPE: of the elements: 0 bfloat16, 1 codes, 3 binary32. QUERIES: 1, or several. L2: whether scores are negated squared distances.
// VECTORS: whether rows of elements are whole vectors of 16 bytes.
#include "topk.cuh"

#define WARPS 8
#define THREADS (WARPS * 32)

// LENGTH: elements in 16 bytes. TEAM: threads of a vector. ROWS: vectors of a team. AHEAD: loads of each before the first is used.
#if DTYPE == 1
typedef i8 Element;
typedef i8 Staged;
typedef int Sum;
#define LENGTH 16
#define TEAM 4
#define ROWS 4
#define AHEAD 2
#define LANES 1
#elif DTYPE == 3
typedef float Element;
typedef float Staged;
typedef float Sum;
#define LENGTH 4
#define TEAM 8
#define ROWS 4
#define AHEAD (QUERIES > 1 ? 1 : 2)
#define LANES LENGTH
#else
typedef u16 Element;
typedef float Staged;
typedef float Sum;
#define LENGTH 8
#define TEAM 4
#define ROWS 2
#define AHEAD (QUERIES > 1 ? 3 : 4)
#define LANES LENGTH
#endif
#define TEAMS (32 / TEAM)
#define WARP_ROWS (TEAMS * ROWS)
// Elements that a team has at a time.
#define STEP (TEAM * LENGTH)

// Sixteen bytes of a row from element `at` on, zeros beyond its end.
DEVICE uint4 load_row(const Element* row, int at, int d) {
    uint4 x = make_uint4(0, 0, 0, 0);
#if VECTORS
    if (at < d) x = load_streaming_16(row + at);
#else
    u32 words[4] = {0, 0, 0, 0};
#pragma unroll
    for (int i = 0; i < LENGTH; i++) {
        if (at + i < d) {
#if DTYPE == 3
            words[i] = float_to_bits(row[at + i]);
#elif DTYPE == 1
            words[i / 4] |= (u32)(u8)row[at + i] << (i % 4 * 8);
#else
            words[i / 2] |= (u32)row[at + i] << (i % 2 * 16);
#endif
        }
    }
    x = make_uint4(words[0], words[1], words[2], words[3]);
#endif
    return x;
}

#if DTYPE == 1
DEVICE int products(const uint4& a, const uint4& b, int sum) {
    sum = __dp4a((int)a.x, (int)b.x, sum);
    sum = __dp4a((int)a.y, (int)b.y, sum);
    sum = __dp4a((int)a.z, (int)b.z, sum);
    return __dp4a((int)a.w, (int)b.w, sum);
}
#endif

// Of a block: the sum of the squares of each query's codes.
__shared__ int squares[QUERIES];
// Of each warp: ranks by query and vector; for each query the bound, and how many candidates wait.
__shared__ u32 all_ranks[WARPS][QUERIES * WARP_ROWS];
__shared__ u64 all_bounds[WARPS][QUERIES];
__shared__ int all_counts[WARPS][QUERIES];
// Queries [QUERIES, padded], zeros up to whole steps; then a queue for each warp and query.
extern __shared__ __align__(16) u8 dynamic_shared[];

// A warp for each query; zeros where an item has fewer.
DEVICE void stage(const Element* queries, const i32* pairs, int count, int d, int padded) {
    const int number = warp_id();
    if (number >= QUERIES) return;
    const Element* from = number < count ? queries + (i64)pairs[2 * number] * d : queries;
    if (number >= count) d = 0;
    Staged* to = (Staged*)dynamic_shared + number * padded;
#if DTYPE == 1
    int square = 0;
#endif
    for (int at = lane_id() * LENGTH; at < padded; at += 32 * LENGTH) {
        const uint4 x = load_row(from, at, d);
#if DTYPE == 1
        *(uint4*)(to + at) = x;
        square = products(x, x, square);
#else
        float v[LENGTH];
        numbers_of(v, x);
#pragma unroll
        for (int i = 0; i < LENGTH; i += 4) *(float4*)(to + at + i) = make_float4(v[i], v[i + 1], v[i + 2], v[i + 3]);
#endif
    }
#if DTYPE == 1 && L2
#pragma unroll
    for (int mask = 16; mask > 0; mask >>= 1) square += __shfl_xor_sync(FULL_WARP, square, mask);
    if (lane_id() == 0) squares[number] = square;
#endif
}

// The ranks of WARP_ROWS vectors from `base` on for all queries, by query and vector.
DEVICE void score(const Element* vectors, int base, int count, int d, int padded) {
    const int team = lane_id() / TEAM, member = lane_id() % TEAM;
    const Staged* staged = (const Staged*)dynamic_shared;
    u32* ranks = all_ranks[warp_id()];
    const Element* rows[ROWS];
#pragma unroll
    // Beyond the stretch stands its last vector, whose score counts once.
    for (int r = 0; r < ROWS; r++) rows[r] = vectors + (i64)min_of(base + r * TEAMS + team, count - 1) * d;
    Sum sums[ROWS][QUERIES][LANES];
#if DTYPE == 1
    // The sum of the squares of each vector's codes.
    int own[ROWS] = {};
#endif
#pragma unroll
    for (int r = 0; r < ROWS; r++) {
#pragma unroll
        for (int q = 0; q < QUERIES; q++) {
#pragma unroll
            for (int i = 0; i < LANES; i++) sums[r][q][i] = 0;
        }
    }
    for (int first = member * LENGTH; first < padded; first += STEP * AHEAD) {
        uint4 x[AHEAD][ROWS];
#pragma unroll
        for (int ahead = 0; ahead < AHEAD; ahead++) {
#pragma unroll
            for (int r = 0; r < ROWS; r++) x[ahead][r] = load_row(rows[r], first + ahead * STEP, d);
        }
#pragma unroll
        for (int ahead = 0; ahead < AHEAD; ahead++) {
            const int at = first + ahead * STEP;
            if (at >= padded) break;
#if DTYPE == 1
#pragma unroll
            for (int r = 0; r < ROWS; r++) {
                if (L2) own[r] = products(x[ahead][r], x[ahead][r], own[r]);
            }
#pragma unroll
            for (int q = 0; q < QUERIES; q++) {
                const uint4 y = *(const uint4*)(staged + q * padded + at);
#pragma unroll
                for (int r = 0; r < ROWS; r++) sums[r][q][0] = products(x[ahead][r], y, sums[r][q][0]);
            }
#else
            float v[ROWS][LENGTH];
#pragma unroll
            for (int r = 0; r < ROWS; r++) numbers_of(v[r], x[ahead][r]);
#pragma unroll
            for (int q = 0; q < QUERIES; q++) {
#pragma unroll
                for (int part = 0; part < LENGTH; part += 4) {
                    const float4 y = *(const float4*)(staged + q * padded + at + part);
                    const float ys[4] = {y.x, y.y, y.z, y.w};
#pragma unroll
                    for (int r = 0; r < ROWS; r++) {
#pragma unroll
                        for (int i = 0; i < 4; i++) {
                            const float a = v[r][part + i];
                            const float e = __fsub_rn(ys[i], a);
                            float& sum = sums[r][q][part + i];
                            sum = L2 ? __fmaf_rn(e, e, sum) : __fmaf_rn(a, ys[i], sum);
                        }
                    }
                }
            }
#endif
        }
    }
#pragma unroll
    for (int r = 0; r < ROWS; r++) {
#if DTYPE == 1
#pragma unroll
        for (int mask = 1; mask < TEAM; mask <<= 1) own[r] += __shfl_xor_sync(FULL_WARP, own[r], mask);
#endif
#pragma unroll
        for (int q = 0; q < QUERIES; q++) {
            Sum(&v)[LANES] = sums[r][q];
#pragma unroll
            for (int half = LANES / 2; half > 0; half >>= 1) {
#pragma unroll
                for (int i = 0; i < half; i++) v[i] = v[2 * i] + v[2 * i + 1];
            }
            Sum sum = v[0];
#pragma unroll
            for (int mask = 1; mask < TEAM; mask <<= 1) sum += __shfl_xor_sync(FULL_WARP, sum, mask);
#if DTYPE == 1
            if (L2) sum = 2 * sum - own[r] - squares[q];
#else
            if (L2) sum = __fsub_rn(0.0f, sum);
#endif
            // Members of a team have the same sum and share the writing.
            if ((r * QUERIES + q) % TEAM == member) ranks[q * WARP_ROWS + r * TEAMS + team] = rank_of(sum);
        }
    }
    __syncwarp();
}

// Of this warp.
DEVICE Queue queue_of(int q, int padded, int width) {
    u64* queues = (u64*)(dynamic_shared + QUERIES * padded * sizeof(Staged));
    return {queues + (warp_id() * QUERIES + q) * (width + 32), width};
}

// lists: where items of each block begin. items: first vector, vectors, first pair, pairs. pairs: query, and where its candidates
// begin in `candidates`, of which every warp writes as many.
extern "C" __global__ void __launch_bounds__(THREADS, 2)
ivf_scan(const Element* vectors, const i32* ids, const Element* queries, const i32* lists, const int4* items, const i32* pairs,
         u64* candidates, int d, int k) {
    const int padded = (d + STEP - 1) / STEP * STEP, width = (k + 31) / 32 * 32, warp = warp_id();
    for (int number = lists[blockIdx.x]; number < lists[blockIdx.x + 1]; number++) {
        const int4 item = items[number];
        const int count = item.y;
        // The queries of the item before are read no more.
        __syncthreads();
        stage(queries, pairs + 2 * item.z, item.w, d, padded);
        for (int q = 0; q < item.w; q++) {
            queue_of(q, padded, width).clear();
            if (lane_id() == 0) {
                all_bounds[warp][q] = NOTHING;
                all_counts[warp][q] = 0;
            }
        }
        __syncthreads();
        for (int base = warp * WARP_ROWS; base < count; base += WARPS * WARP_ROWS) {
            const int vector = base + lane_id();
            const bool inside = lane_id() < WARP_ROWS && vector < count;
            const int id = inside ? ids[item.x + vector] : 0;
            score(vectors + (i64)item.x * d, base, count, d, padded);
            for (int q = 0; q < item.w; q++) {
                const u32 rank = inside ? all_ranks[warp][q * WARP_ROWS + lane_id()] : NO_RANK;
                int waiting = all_counts[warp][q];
                u64 bound = all_bounds[warp][q];
                queue_of(q, padded, width).offer(candidate(rank, id), rank != NO_RANK, k, waiting, bound);
                __syncwarp();
                if (lane_id() == 0) {
                    all_counts[warp][q] = waiting;
                    all_bounds[warp][q] = bound;
                }
            }
            // The ranks of these vectors are read no more.
            __syncwarp();
        }
        const int rounds = (count + WARPS * WARP_ROWS - 1) / (WARPS * WARP_ROWS);
        const int kept = min_of(k, rounds * WARP_ROWS);
        for (int q = 0; q < item.w; q++) {
            const Queue own = queue_of(q, padded, width);
            own.absorb_waiting(all_counts[warp][q]);
            u64* to = candidates + pairs[2 * (item.z + q) + 1] + warp * kept;
            for (int at = lane_id(); at < kept; at += 32) to[at] = own.kept[at];
        }
    }
}
