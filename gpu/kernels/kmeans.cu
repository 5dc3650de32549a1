// Clusters of keys, of each head its own: keys are given to the nearest centroid, and centroids move to the mean of their keys.
//
// Distances are sums in the order of the definition. Two keys and two centroids at a time are a matter of a team of four threads, each of
// which has eight neighbouring lanes of the sums. No distance is written to memory. A warp that has a cluster goes through all labels,
// so that keys are added up in their order without being sorted.
#include "heads.cuh"

#define THREADS 256
// Keys of a block, two for each team; centroids that are in shared memory at a time.
#define KEYS (THREADS / TEAM * 2)
#define CENTROIDS 16
// Elements of a row that a warp adds up at a time.
#define WIDE (32 * LENGTH)

// A cluster's centroid is a key at first. A block is a cluster of a head.
extern "C" __global__ void __launch_bounds__(THREADS)
kmeans_first(const u16* k, const i32* keys, const i32* first, u16* centroids, int hkv, int d, int clusters) {
    const int cluster = blockIdx.x, head = blockIdx.y;
    const u16* from = k + ((i64)keys[first[head * clusters + cluster]] * hkv + head) * d;
    u16* to = centroids + ((i64)cluster * hkv + head) * d;
    for (int at = threadIdx.x; at < d; at += THREADS) to[at] = from[at];
}

// The nearest centroid of every key, of equally near ones the first. Dynamic: keys [KEYS, padded] as bfloat16, centroids [CENTROIDS, padded].
extern "C" __global__ void __launch_bounds__(THREADS, 2)
kmeans_assign(const u16* k, const i32* keys, const u16* centroids, i32* labels, int n, int hkv, int d, int clusters) {
    extern __shared__ __align__(16) u8 dynamic[];
    const int padded = (d + 31) / 32 * 32, head = blockIdx.y, base = blockIdx.x * KEYS;
    u16* const own = (u16*)dynamic;
    float* const tile = (float*)(own + KEYS * padded);
    for (int at = threadIdx.x * LENGTH; at < KEYS * padded; at += THREADS * LENGTH) {
        // Beyond the end stands the last key, whose label nobody writes.
        const int key = min_of(base + at / padded, n - 1);
        *(uint4*)(own + at) = load_row(k + ((i64)keys[key] * hkv + head) * d, at % padded, d);
    }
    const int team = threadIdx.x / TEAM, member = threadIdx.x % TEAM;
    float best[2] = {-INF, -INF};
    int nearest[2] = {0, 0};
    for (int first = 0; first < clusters; first += CENTROIDS) {
        // Those of before are read no more.
        __syncthreads();
        for (int at = threadIdx.x * LENGTH; at < CENTROIDS * padded; at += THREADS * LENGTH) {
            const int centroid = min_of(first + at / padded, clusters - 1);
            float v[LENGTH];
            numbers_of(v, load_row(centroids + ((i64)centroid * hkv + head) * d, at % padded, d));
            *(float4*)(tile + at) = make_float4(v[0], v[1], v[2], v[3]);
            *(float4*)(tile + at + 4) = make_float4(v[4], v[5], v[6], v[7]);
        }
        __syncthreads();
        for (int number = 0; number < CENTROIDS && first + number < clusters; number += 2) {
            float sums[2][2][LENGTH] = {};
            for (int at = member * LENGTH; at < padded; at += TEAM * LENGTH) {
                float x[2][LENGTH];
#pragma unroll
                for (int i = 0; i < 2; i++) numbers_of(x[i], *(const uint4*)(own + (2 * team + i) * padded + at));
#pragma unroll
                for (int j = 0; j < 2; j++) {
                    const float* row = tile + (number + j) * padded + at;
                    const float4 low = *(const float4*)row, high = *(const float4*)(row + 4);
                    const float y[LENGTH] = {low.x, low.y, low.z, low.w, high.x, high.y, high.z, high.w};
#pragma unroll
                    for (int i = 0; i < 2; i++) {
#pragma unroll
                        for (int l = 0; l < LENGTH; l++) {
                            const float e = __fsub_rn(x[i][l], y[l]);
                            sums[i][j][l] = __fmaf_rn(e, e, sums[i][j][l]);
                        }
                    }
                }
            }
#pragma unroll
            for (int j = 0; j < 2; j++) {
#pragma unroll
                for (int i = 0; i < 2; i++) {
                    const float score = __fsub_rn(0.0f, team_sum(sums[i][j]));
                    // The last centroid again, where they are no more, is no better than itself.
                    if (score > best[i]) best[i] = score, nearest[i] = first + number + j;
                }
            }
        }
    }
#pragma unroll
    for (int i = 0; i < 2; i++) {
        const int key = base + 2 * team + i;
        if (member == i && key < n) labels[(i64)head * n + key] = nearest[i];
    }
}

// Moves a centroid to the mean of its keys, if it has any. A warp is a cluster of a head.
extern "C" __global__ void __launch_bounds__(THREADS)
kmeans_update(const u16* k, const i32* keys, const i32* labels, u16* centroids, int n, int hkv, int d, int clusters) {
    const int cluster = blockIdx.x * (THREADS / 32) + warp_id(), head = blockIdx.y;
    if (cluster >= clusters) return;
    for (int from = 0; from < d; from += WIDE) {
        const int at = from + lane_id() * LENGTH;
        float sums[LENGTH] = {};
        int count = 0;
        for (int base = 0; base < n; base += 32) {
            const int key = base + lane_id();
            u32 who = __ballot_sync(FULL_WARP, key < n && labels[(i64)head * n + key] == cluster);
            count += __popc(who);
            for (; who != 0; who &= who - 1) {
                float v[LENGTH];
                numbers_of(v, load_row(k + ((i64)keys[base + __ffs(who) - 1] * hkv + head) * d, at, d));
#pragma unroll
                for (int i = 0; i < LENGTH; i++) sums[i] = __fadd_rn(sums[i], v[i]);
            }
        }
        if (count == 0) return;
        u16* to = centroids + ((i64)cluster * hkv + head) * d + at;
#pragma unroll
        for (int i = 0; i < LENGTH; i++) {
            const float mean = __fdiv_rn(sums[i], (float)count);
            if (at + i < d) to[i] = mean != mean ? 0x7fc0 : float_to_bf16(mean);
        }
    }
}

// Keys by cluster, those of a cluster in their order. A warp is a cluster of a head.
extern "C" __global__ void __launch_bounds__(THREADS)
kmeans_members(const i32* keys, const i32* labels, i32* cluster_end, i32* members, int n, int clusters) {
    const int cluster = blockIdx.x * (THREADS / 32) + warp_id(), head = blockIdx.y;
    if (cluster >= clusters) return;
    labels += (i64)head * n;
    int to = 0, own = 0;
    for (int base = 0; base < n; base += 32) {
        const int key = base + lane_id(), label = key < n ? labels[key] : clusters;
        to += __popc(__ballot_sync(FULL_WARP, label < cluster));
        own += __popc(__ballot_sync(FULL_WARP, label == cluster));
    }
    if (lane_id() == 0) cluster_end[head * clusters + cluster] = to + own;
    if (own == 0) return;
    for (int base = 0; base < n; base += 32) {
        const int key = base + lane_id();
        const bool here = key < n && labels[key] == cluster;
        const u32 who = __ballot_sync(FULL_WARP, here);
        if (here) members[(i64)head * n + to + __popc(who & ((1u << lane_id()) - 1))] = keys[key];
        to += __popc(who);
    }
}
