// Matrix products by mma.sync, for shapes and alignments of every kind, and by plain arithmetic in binary32; and the sum of the
// partial products that a split along k leaves.
//
// DTYPE: of a, b and out. TM, TN: rows and columns of a tile. STAGES: slots of shared memory. ALIGNED: whether rows of a and b
// begin at multiples of 16 bytes, so that they can be copied asynchronously; else they are put together from aligned words.
#include "epilogue.cuh"

// Adds the partial products in the order of the splits.
extern "C" __global__ void __launch_bounds__(256)
gemm_reduce(const Sum* partials, u8* out, const __grid_constant__ Epilogue epilogue, int m, int n, int splits) {
    size_t count = (size_t)m * n;
    for (size_t at = (size_t)blockIdx.x * 256 + threadIdx.x; at < count; at += (size_t)gridDim.x * 256) {
        Sum sum = 0;
        for (int split = 0; split < splits; split++) {
#if DTYPE == 2
            sum = (int)((u32)sum + (u32)partials[split * count + at]);
#else
            sum += partials[split * count + at];
#endif
        }
        store_result(epilogue, out, at, sum, (int)(at % n));
    }
}

#if DTYPE == 3

// Rows that a warp multiplies with its column, and the warps of a block.
#define FEW 4
#define COLUMNS 8

// Few rows: a warp takes a column, which is read once. `vectors`: k is a multiple of 4.
extern "C" __global__ void __launch_bounds__(COLUMNS * 32)
gemv_f32(const float* a, const float* b, u8* out, const __grid_constant__ Epilogue epilogue, int m, int n, int k, int vectors) {
    const int column = blockIdx.x * COLUMNS + threadIdx.x / 32, first = blockIdx.y * FEW, lane = lane_id();
    if (column >= n) return;
    const float* weights = b + (size_t)column * k;
    float sums[FEW] = {};
    if (vectors) {
        for (int at = lane * 4; at < k; at += 128) {
            const uint4 w = load_streaming_16(weights + at);
#pragma unroll
            for (int i = 0; i < FEW; i++) {
                if (first + i >= m) continue;
                const float4 x = *(const float4*)(a + (size_t)(first + i) * k + at);
                sums[i] = fmaf(x.x, bits_to_float(w.x), sums[i]);
                sums[i] = fmaf(x.y, bits_to_float(w.y), sums[i]);
                sums[i] = fmaf(x.z, bits_to_float(w.z), sums[i]);
                sums[i] = fmaf(x.w, bits_to_float(w.w), sums[i]);
            }
        }
    } else {
        for (int at = lane; at < k; at += 32) {
            const float w = weights[at];
#pragma unroll
            for (int i = 0; i < FEW; i++) {
                if (first + i < m) sums[i] = fmaf(a[(size_t)(first + i) * k + at], w, sums[i]);
            }
        }
    }
#pragma unroll
    for (int i = 0; i < FEW; i++) {
        const float sum = warp_sum(sums[i]);
        if (lane == i && first + i < m) store_result(epilogue, out, (size_t)(first + i) * n + column, sum, column);
    }
}

#define SIDE 64
#define DEPTH 16
// Steps of DEPTH whose products are summed apart: a sum of sums rounds less than one long sum.
#define CHUNK 16

// 64 x 64 results a block, 4 x 4 a thread.
extern "C" __global__ void __launch_bounds__(256)
gemm_f32(const float* a, const float* b, u8* out, const __grid_constant__ Epilogue epilogue, int m, int n, int k) {
    // A row of 65 words puts the columns that a warp writes in different banks.
    __shared__ float left[DEPTH][SIDE + 1], right[DEPTH][SIDE + 1];
    const int row = blockIdx.y * SIDE, column = blockIdx.x * SIDE;
    const int y = threadIdx.x / 16, x = threadIdx.x % 16;
    float sums[4][4] = {}, chunk[4][4] = {};
    for (int begin = 0; begin < k; begin += DEPTH) {
        for (int i = threadIdx.x; i < SIDE * DEPTH; i += 256) {
            int r = i / DEPTH, c = i % DEPTH;
            bool inside = begin + c < k;
            left[c][r] = inside && row + r < m ? a[(size_t)(row + r) * k + begin + c] : 0.0f;
            right[c][r] = inside && column + r < n ? b[(size_t)(column + r) * k + begin + c] : 0.0f;
        }
        __syncthreads();
#pragma unroll
        for (int c = 0; c < DEPTH; c++) {
#pragma unroll
            for (int i = 0; i < 4; i++) {
#pragma unroll
                for (int j = 0; j < 4; j++) chunk[i][j] = fmaf(left[c][y * 4 + i], right[c][x + j * 16], chunk[i][j]);
            }
        }
        __syncthreads();
        if (begin / DEPTH % CHUNK == CHUNK - 1 || begin + DEPTH >= k) {
#pragma unroll
            for (int i = 0; i < 4; i++) {
#pragma unroll
                for (int j = 0; j < 4; j++) {
                    sums[i][j] += chunk[i][j];
                    chunk[i][j] = 0.0f;
                }
            }
        }
    }
#pragma unroll
    for (int i = 0; i < 4; i++) {
#pragma unroll
        for (int j = 0; j < 4; j++) {
            int r = row + y * 4 + i, c = column + x + j * 16;
            if (r < m && c < n) store_result(epilogue, out, (size_t)r * n + c, sums[i][j], c);
        }
    }
}

#else

#include "mma_tile.cuh"

// 16 bytes at any address, from the five aligned words that hold them. These may reach beyond `end`, where there is nothing to
// read, so that has to be asked first.
DEVICE bool readable(const u8* from, const u8* end) { return from - (size_t)from % 4 + 20 <= end; }
DEVICE void load_unaligned(u32 (&x)[4], const u8* from) {
    const u32 shift = (u32)(size_t)from % 4 * 8;
    const u32* word = (const u32*)(from - (size_t)from % 4);
    u32 low = word[0];
#pragma unroll
    for (int i = 0; i < 4; i++) {
        const u32 high = word[i + 1];
        x[i] = __funnelshift_r(low, high, shift);
        low = high;
    }
}

// Rows of a matrix of `rows` rows of `bytes` bytes each, into a slot; what lies outside is zero.
DEVICE void copy_rows(u32 to, const u8* from, int count, int first, int rows, size_t bytes, size_t begin) {
    for (int i = threadIdx.x; i < count * PIECES; i += THREADS) {
        int row = i / PIECES, at = i % PIECES;
        size_t offset = begin + at * 16;
        size_t left = offset < bytes && first + row < rows ? bytes - offset : 0;
        int inside = left < 16 ? (int)left : 16;
        const u8* source = from + (inside ? (size_t)(first + row) * bytes + offset : 0);
#if ALIGNED
        cp_async_16(piece(to, row, at), source, inside);
#else
        u32 words[4] = {};
        if (inside == 16 && readable(source, from + rows * bytes)) {
            load_unaligned(words, source);
        } else {
            // All of them, so that every place of a word is known to the compiler.
#pragma unroll
            for (int byte = 0; byte < 16; byte += ELEMENT) {
                u32 value = 0;
#if ELEMENT == 2
                if (byte < inside) value = *(const u16*)(source + byte);
#else
                if (byte < inside) value = source[byte];
#endif
                words[byte / 4] |= value << byte % 4 * 8;
            }
        }
        store_shared_16(piece(to, row, at), make_uint4(words[0], words[1], words[2], words[3]));
#endif
    }
}

extern "C" __global__ void __launch_bounds__(THREADS)
gemm_mma(const u8* a, const u8* b, u8* out, Sum* partials, const __grid_constant__ Epilogue epilogue, int m, int n, int k,
         int splits) {
    extern __shared__ u8 dynamic_shared[];
    const u32 stages = (shared_address(dynamic_shared) + 127) & ~127u;
    const int row = blockIdx.y * TM, column = blockIdx.x * TN;
    const int warp = warp_id(), lane = lane_id();
    const int warp_row = warp / WARPS_N * (TM / 2), warp_column = warp % WARPS_N * 32;
    const size_t bytes = (size_t)k * ELEMENT;
    const int steps = (int)((bytes + TK_BYTES - 1) / TK_BYTES);
    const int begin = (int)((i64)steps * blockIdx.z / splits), end = (int)((i64)steps * (blockIdx.z + 1) / splits);

    Sum sums[ROWS][4][4] = {};
    // A group is committed for every step, also where there is none to copy, so that waiting counts steps.
    auto copy = [&](int step) {
        if (step < end) {
            u32 to = stages + (step - begin) % STAGES * STAGE_BYTES;
            copy_rows(to, a, TM, row, m, bytes, (size_t)step * TK_BYTES);
            copy_rows(to + A_BYTES, b, TN, column, n, bytes, (size_t)step * TK_BYTES);
        }
        cp_async_commit();
    };
#pragma unroll
    for (int i = 0; i < STAGES - 1; i++) copy(begin + i);

    for (int step = begin; step < end; step++) {
        // The copies of this step have landed, and every warp is done with the step before, whose slot the next copy fills.
        cp_async_wait<STAGES - 2>();
        __syncthreads();
        copy(step + STAGES - 1);
        add_products(sums, stages + (step - begin) % STAGES * STAGE_BYTES, warp_row, warp_column);
    }
    cp_async_wait<0>();

    Sum* part = partials + (size_t)blockIdx.z * m * n;
#pragma unroll
    for (int i = 0; i < ROWS; i++) {
#pragma unroll
        for (int j = 0; j < 4; j++) {
#pragma unroll
            for (int half = 0; half < 2; half++) {
                int r = row + warp_row + i * 16 + lane / 4 + half * 8, c = column + warp_column + j * 8 + lane % 4 * 2;
                Sum first = sums[i][j][half * 2], second = sums[i][j][half * 2 + 1];
                if (r >= m || c >= n) continue;
                size_t at = (size_t)r * n + c;
                if (splits > 1) {
                    part[at] = first;
                    if (c + 1 < n) part[at + 1] = second;
                } else if (n % 2 == 0) {
                    // Both columns are inside, and their place is aligned.
                    u32 pair = finish_pair(epilogue, first, second, c, n);
#if DTYPE == 2
                    *(u16*)(out + at) = (u16)pair;
#else
                    *(u32*)(out + at * 2) = pair;
#endif
                } else {
                    store_result(epilogue, out, at, first, c);
                    if (c + 1 < n) store_result(epilogue, out, at + 1, second, c + 1);
                }
            }
        }
    }
}

#endif
