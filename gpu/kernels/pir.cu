// Private information retrieval: for every request the exclusive or of the buckets whose bit it sets.
//
// No branch and no address depends on a bit of a request: bits become masks, or operands of products. A block sums the buckets of
// a chunk and stores what it finds, a sum a chunk and request; pir_fold joins them, which is exact in any order.
//
// QUERIES: requests of a block. WIDTH: bytes of a load or copy: 16, or 8 where rows of the database begin at multiples of 8 alone.
#include "prelude.cuh"

#ifndef QUERIES
#define QUERIES 1
#endif
#ifndef WIDTH
#define WIDTH 16
#endif

#define THREADS 256
// Loads and copies of a bucket.
#define VECTORS(words) ((words) * 8 / WIDTH)

#if WIDTH == 16
typedef uint4 Vector;
DEVICE Vector load(const Vector* from) { return load_streaming_16(from); }
DEVICE Vector zero() { return make_uint4(0, 0, 0, 0); }
DEVICE void add(Vector& sum, Vector x, u32 mask) {
    sum.x ^= x.x & mask;
    sum.y ^= x.y & mask;
    sum.z ^= x.z & mask;
    sum.w ^= x.w & mask;
}
#else
typedef uint2 Vector;
DEVICE Vector load(const Vector* from) { return __ldg(from); }
DEVICE Vector zero() { return make_uint2(0, 0); }
DEVICE void add(Vector& sum, Vector x, u32 mask) {
    sum.x ^= x.x & mask;
    sum.y ^= x.y & mask;
}
#endif

#if QUERIES < 16

// --- A few requests: masks ---

// Buckets whose masks are in shared memory at a time: those of a word of a request.
#define TILE 64
// Masks of a bucket: a power of two.
#define SLOTS (QUERIES > 8 ? 16 : QUERIES > 4 ? 8 : QUERIES > 2 ? 4 : QUERIES)
// Loads of a thread that are on their way together.
#define LOADS (QUERIES > 8 ? 4 : 8)

// All ones or zero for every bucket of a tile and every request; those of absent requests are zero.
DEVICE void make_masks(u32 (&masks)[TILE][SLOTS], const u64* requests, int word, int length, int queries) {
    for (int i = threadIdx.x; i < TILE * SLOTS; i += THREADS) {
        const int bucket = i / SLOTS, query = i % SLOTS;
        const u64 bits = query < queries ? requests[(i64)query * length + word] : 0;
        masks[bucket][query] = 0u - (u32)(bits >> bucket & 1);
    }
}

// The masks of a bucket, four of them a load.
DEVICE void read_masks(u32 (&to)[SLOTS], const u32 (&from)[SLOTS]) {
#if QUERIES > 2
#pragma unroll
    for (int i = 0; i < SLOTS; i += 4) {
        const uint4 x = *(const uint4*)(from + i);
        to[i] = x.x, to[i + 1] = x.y, to[i + 2] = x.z, to[i + 3] = x.w;
    }
#else
#pragma unroll
    for (int i = 0; i < SLOTS; i++) to[i] = from[i];
#endif
}

// `width` vectors of a bucket are a block's, as many threads along them, and the other threads take other buckets; a power of two
// of at least 4. Block (x, y) has the vectors from x width on, and the buckets of chunk y.
extern "C" __global__ void __launch_bounds__(THREADS, 2)
pir_scan(const Vector* db, const u64* requests, Vector* out, int buckets, int words, int queries, int chunk, int width) {
    __shared__ __align__(16) u32 masks[2][TILE][SLOTS];
    __shared__ Vector place[THREADS];
    const int length = ceil_div(buckets, 64), stride = VECTORS(words);
    const int begin = blockIdx.y * chunk, end = min_of(buckets - begin, chunk) + begin;
    const int rows = THREADS / width, row = threadIdx.x / width;
    const int column = blockIdx.x * width + threadIdx.x % width;
    const bool inside = column < stride;
    Vector sums[QUERIES];
#pragma unroll
    for (int q = 0; q < QUERIES; q++) sums[q] = zero();
    int turn = 0;
    for (int tile = begin; tile < end; tile += TILE, turn ^= 1) {
        // A thread that is here has left the tile before the last one, whose masks are overwritten.
        make_masks(masks[turn], requests, tile / 64, length, queries);
        __syncthreads();
        for (int first = row; first < TILE; first += rows * LOADS) {
            Vector x[LOADS];
#pragma unroll
            for (int i = 0; i < LOADS; i++) {
                const int at = first + i * rows;
                const bool there = inside && at < TILE && tile + at < end;
                x[i] = there ? load(db + (i64)(tile + at) * stride + column) : zero();
            }
#pragma unroll
            for (int i = 0; i < LOADS; i++) {
                u32 mask[SLOTS];
                read_masks(mask, masks[turn][(first + i * rows) % TILE]);
#pragma unroll
                for (int q = 0; q < QUERIES; q++) add(sums[q], x[i], mask[q]);
            }
        }
    }
#pragma unroll
    for (int q = 0; q < QUERIES; q++) {
        place[threadIdx.x] = sums[q];
        __syncthreads();
        if (row == 0 && inside && q < queries) {
            for (int i = 1; i < rows; i++) add(sums[q], place[i * width + threadIdx.x], FULL_WARP);
            out[((i64)blockIdx.y * queries + q) * stride + column] = sums[q];
        }
        __syncthreads();
    }
}

#else

// --- Many requests: a product over GF(2) ---

// Buckets of a step: a product of 256 bits.
#define STEP 256
// Bytes of a bucket that a block sums: for each of its eight warps a byte of every 16 bits of a quarter.
#define STRIPE 64
#define STAGES 4
#define DB_SLOT (STEP * STRIPE)
#define SLOT (DB_SLOT + QUERIES * STEP / 8)

// WIDTH of global memory to shared memory, or zeros.
template <int SIZE>
DEVICE void copy_or_zero(u32 to, const void* from, bool there) {
    if (SIZE == 16) {
        cp_async_16(to, from, there ? 16 : 0);
    } else {
        asm volatile("cp.async.ca.shared.global [%0], [%1], 8, %2;" :: "r"(to), "l"(from), "r"(there ? 8 : 0) : "memory");
    }
}

// Where 16 bytes of a bucket lie: permuted among the eight of a line, so that the rows of a matrix lie in different banks.
DEVICE u32 place_of(int bucket, int piece) {
    const int permute = (bucket >> 3 & 1) | (bucket >> 5 & 3) << 1;
    return bucket / 2 * 128 + (((bucket & 1) * 4 + piece) ^ permute) * 16;
}
// The same of 128 bits of a request.
DEVICE u32 request_place(int query, int half) { return DB_SLOT + ((2 * query + half) ^ (query >> 2 & 1)) * 16; }

struct Scan {
    const u8* db;
    const u64* requests;
    int words, queries, length;
    // Where the chunk ends.
    int end;
    // The first byte of a bucket, and the first request.
    int stripe, query;
};

DEVICE void copy_step(const Scan& scan, u32 slot, int bucket) {
    constexpr int PIECES = STRIPE / WIDTH;
#pragma unroll
    for (int i = 0; i < STEP * PIECES / THREADS; i++) {
        const int at = i * THREADS + threadIdx.x, row = at / PIECES, byte = at % PIECES * WIDTH;
        const bool there = bucket + row < scan.end && scan.stripe + byte < scan.words * 8;
        const u8* from = scan.db + (there ? (i64)(bucket + row) * scan.words * 8 + scan.stripe + byte : 0);
        copy_or_zero<WIDTH>(slot + place_of(row, byte / 16) + byte % 16, from, there);
    }
    // A word of a request a thread.
    if (threadIdx.x < QUERIES * STEP / 64) {
        const int query = threadIdx.x / (STEP / 64), word = threadIdx.x % (STEP / 64);
        const int at = bucket / 64 + word;
        const bool there = scan.query + query < scan.queries && at < scan.length;
        const u64* from = scan.requests + (there ? (i64)(scan.query + query) * scan.length + at : 0);
        copy_or_zero<8>(slot + request_place(query, word / 2) + word % 2 * 8, from, there);
    }
    cp_async_commit();
}

// In every byte: bit a of x[j] becomes bit j of x[a].
DEVICE void transpose(u32 (&x)[8]) {
#pragma unroll
    for (int s = 4; s > 0; s /= 2) {
        const u32 low = s == 4 ? 0x0f0f0f0fu : s == 2 ? 0x33333333u : 0x55555555u;
#pragma unroll
        for (int i = 0; i < 8; i++) {
            if (i & s) continue;
            const u32 a = x[i], b = x[i + s];
            x[i] = (a & low) | (b << s & ~low);
            x[i + s] = (a >> s & low) | (b & ~low);
        }
    }
}

// d += the bits that are set in both a row of a and a column of b.
DEVICE void mma_b1(int (&d)[4], u32 a0, u32 a1, u32 a2, u32 a3, u32 b0, u32 b1) {
    asm volatile("mma.sync.aligned.m16n8k256.row.col.s32.b1.b1.s32.and.popc {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                 : "+r"(d[0]), "+r"(d[1]), "+r"(d[2]), "+r"(d[3]) : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b0), "r"(b1));
}

// Block (x, y, z) has the bytes from 64 x on, the buckets of chunk y, whose length is a multiple of 256, and the requests from
// QUERIES z on. A row of a product is a bit of all buckets, a column a request; whether a count is odd is the exclusive or.
extern "C" __global__ void __launch_bounds__(THREADS, QUERIES > 32 || WIDTH == 8 ? 1 : 2)
pir_matrix(const u8* db, const u64* requests, u64* out, int buckets, int words, int queries, int chunk) {
    extern __shared__ __align__(128) u8 slots[];
    const u32 first = shared_address(slots);
    const int begin = blockIdx.y * chunk;
    const Scan scan = {db, requests, words, queries, ceil_div(buckets, 64), min_of(buckets - begin, chunk) + begin,
                       (int)blockIdx.x * STRIPE, (int)blockIdx.z * QUERIES};
    const int steps = ceil_div(scan.end - begin, STEP);
    // This warp's 16 bytes of a bucket, and which byte of every two of them.
    const int warp = warp_id(), piece = warp / 2, half = warp % 2;
    const int lane = lane_id(), matrix = lane / 8, row = lane % 8;
    // This lane's row of four matrices of 8 x 16 bits. Rows are chosen such that the words of lane l are bits of 32 buckets that
    // follow each other from 32 (l % 4) on, as the words of a request are.
    const u32 from_db = place_of(row / 2 * 32 + matrix % 2 * 16 + row % 2 * 8 + matrix / 2, piece);
    const u32 from_requests = request_place(matrix / 2 * 8 + row, matrix % 2);
    int sums[4][QUERIES / 8][4] = {};

#pragma unroll
    for (int s = 0; s < STAGES - 1; s++) copy_step(scan, first + s * SLOT, begin + s * STEP);
    for (int step = 0; step < steps; step++) {
        cp_async_wait<STAGES - 2>();
        __syncthreads();
        // All threads have left the step before this one, whose slot is overwritten.
        copy_step(scan, first + (step + STAGES - 1) % STAGES * SLOT, begin + (step + STAGES - 1) * STEP);
        const u32 slot = first + step % STAGES * SLOT;
        // Bit j of the byte for 32 buckets each of the first and of the second half of the step.
        u32 bits[2][8];
#pragma unroll
        for (int h = 0; h < 2; h++) {
#pragma unroll
            for (int i = 0; i < 4; i++) {
                u32 x[4];
                ldmatrix_x4_trans(x, slot + from_db + h * (DB_SLOT / 2) + i * 128);
                bits[h][2 * i] = __byte_perm(x[0], x[1], half ? 0x7531 : 0x6420);
                bits[h][2 * i + 1] = __byte_perm(x[2], x[3], half ? 0x7531 : 0x6420);
            }
            transpose(bits[h]);
        }
#pragma unroll
        for (int n = 0; n < QUERIES / 8; n += 2) {
            u32 b[4];
            ldmatrix_x4(b, slot + from_requests + n * 256);
#pragma unroll
            for (int m = 0; m < 4; m++) {
                mma_b1(sums[m][n], bits[0][2 * m], bits[0][2 * m + 1], bits[1][2 * m], bits[1][2 * m + 1], b[0], b[1]);
                mma_b1(sums[m][n + 1], bits[0][2 * m], bits[0][2 * m + 1], bits[1][2 * m], bits[1][2 * m + 1], b[2], b[3]);
            }
        }
    }
    // Results take the place of the slots, in which copies of nothing may still be under way.
    cp_async_wait<0>();
    __syncthreads();
#pragma unroll
    for (int n = 0; n < QUERIES / 8; n++) {
#pragma unroll
        for (int e = 0; e < 2; e++) {
            u32 byte = 0;
#pragma unroll
            for (int m = 0; m < 4; m++) byte |= (sums[m][n][e] & 1) << 2 * m | (sums[m][n][2 + e] & 1) << (2 * m + 1);
            slots[(8 * n + lane % 4 * 2 + e) * STRIPE + piece * 16 + lane / 4 * 2 + half] = byte;
        }
    }
    __syncthreads();
    for (int i = threadIdx.x; i < QUERIES * STRIPE / 8; i += THREADS) {
        const int query = scan.query + i / (STRIPE / 8), word = scan.stripe / 8 + i % (STRIPE / 8);
        if (query < queries && word < words) {
            out[((i64)blockIdx.y * queries + query) * words + word] = ((const u64*)slots)[i];
        }
    }
}

#endif

// The sums of all chunks, each of `len` words.
extern "C" __global__ void __launch_bounds__(THREADS)
pir_fold(const u64* partials, u64* out, u64 len, int chunks) {
    for (u64 i = blockIdx.x * (u64)THREADS + threadIdx.x; i < len; i += (u64)gridDim.x * THREADS) {
        u64 sum = 0;
#pragma unroll 4
        for (int chunk = 0; chunk < chunks; chunk++) sum ^= partials[chunk * len + i];
        out[i] = sum;
    }
}
