// C[m, n] = A[m, k] B[n, k]^T in bf16, f32 sums: mma.sync, ldmatrix, a ring of three cp.async stages, ragged edges zero-filled.

typedef unsigned int u32;
typedef unsigned short u16;

enum { TILE = 64, STEP = 32, STAGES = 3, ROW = STEP + 8, HALF = TILE * ROW };

__device__ __forceinline__ u32 shared_address(const void *p) { return (u32)__cvta_generic_to_shared(p); }

__device__ __forceinline__ void copy16(u32 to, const void *from, int bytes) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to), "l"(from), "r"(bytes) : "memory");
}

__device__ __forceinline__ void load_matrices(u32 (&r)[4], u32 at) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(at) : "memory");
}

__device__ __forceinline__ void multiply(float (&d)[4], const u32 (&a)[4], u32 b0, u32 b1) {
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
                 "{%0, %1, %2, %3};"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

// One stage of one operand: 64 rows of 32 elements, 256 chunks of 16 bytes, two for each thread.
__device__ __forceinline__ void fetch(u32 to, const u16 *from, int row0, int rows, int k0, int k) {
    #pragma unroll 1
    for (int i = threadIdx.x; i < TILE * STEP / 8; i += 128) {
        int row = i / 4, column = k0 + i % 4 * 8;
        int left = row0 + row < rows ? (k - column) * 2 : 0;
        int bytes = left < 0 ? 0 : left > 16 ? 16 : left;
        const u16 *source = bytes > 0 ? from + (size_t)(row0 + row) * k + column : from;
        copy16(to + (row * ROW + i % 4 * 8) * 2, source, bytes);
    }
}

extern "C" __global__ void __launch_bounds__(128) gemm(const u16 *a, const u16 *b, float *c, int m, int n, int k) {
    __shared__ __align__(16) u16 tiles[STAGES][2][HALF];
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    const int row0 = blockIdx.y * TILE, column0 = blockIdx.x * TILE, steps = (k + STEP - 1) / STEP;
    float d[8][4] = {};
    for (int s = 0; s < STAGES - 1; s++) {
        if (s < steps) {
            fetch(shared_address(tiles[s][0]), a, row0, m, s * STEP, k);
            fetch(shared_address(tiles[s][1]), b, column0, n, s * STEP, k);
        }
        asm volatile("cp.async.commit_group;" ::: "memory");
    }
    #pragma unroll 1
    for (int t = 0; t < steps; t++) {
        asm volatile("cp.async.wait_group 1;" ::: "memory");
        __syncthreads();
        int next = t + STAGES - 1;
        if (next < steps) {
            fetch(shared_address(tiles[next % STAGES][0]), a, row0, m, next * STEP, k);
            fetch(shared_address(tiles[next % STAGES][1]), b, column0, n, next * STEP, k);
        }
        asm volatile("cp.async.commit_group;" ::: "memory");
        u32 at = shared_address(tiles[t % STAGES][0]), bt = shared_address(tiles[t % STAGES][1]);
        #pragma unroll
        for (int kk = 0; kk < STEP; kk += 16) {
            u32 x[4];
            load_matrices(x, at + ((warp * 16 + lane % 16) * ROW + kk + lane / 16 * 8) * 2);
            #pragma unroll
            for (int j = 0; j < 8; j += 2) {
                u32 y[4];
                load_matrices(y, bt + ((j * 8 + lane / 16 * 8 + lane % 8) * ROW + kk + lane / 8 % 2 * 8) * 2);
                multiply(d[j], x, y[0], y[1]);
                multiply(d[j + 1], x, y[2], y[3]);
            }
        }
    }
    #pragma unroll
    for (int j = 0; j < 8; j++)
        #pragma unroll
        for (int i = 0; i < 4; i++) {
            int row = row0 + warp * 16 + lane / 4 + i / 2 * 8, column = column0 + j * 8 + lane % 4 * 2 + i % 2;
            if (row < m && column < n) c[(size_t)row * n + column] = d[j][i];
        }
}
