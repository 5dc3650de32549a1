// C[m, n] = A[m, k] B[n, k]^T in bf16, f32 sums: one producer warpgroup with tensor copies, two consumers with wgmma, a ring of
// stages between them, the result staged in shared memory and stored by tensor copies.

typedef unsigned int u32;
typedef unsigned long long u64;

struct alignas(64) TensorMap { u64 opaque[16]; };

enum { M = 128, N = 64, K = 64, STAGES = 3, A_BYTES = M * K * 2, B_BYTES = N * K * 2, STAGE = A_BYTES + B_BYTES };

__device__ __forceinline__ u32 shared_address(const void *p) { return (u32)__cvta_generic_to_shared(p); }

__device__ __forceinline__ void wait(u32 bar, u32 parity) {
    asm volatile("{\n.reg .pred done;\nAGAIN:\n"
                 "mbarrier.try_wait.parity.shared::cta.b64 done, [%0], %1;\n@done bra READY;\nbra AGAIN;\nREADY:\n}"
                 ::"r"(bar), "r"(parity) : "memory");
}

__device__ __forceinline__ void arrive(u32 bar) {
    asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(bar) : "memory");
}

__device__ __forceinline__ void expect(u32 bar, u32 bytes) {
    asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(bar), "r"(bytes) : "memory");
}

__device__ __forceinline__ void load_box(u32 to, const TensorMap *map, int x, int y, u32 bar) {
    asm volatile("cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, {%2, %3}], [%4];"
                 ::"r"(to), "l"(map), "r"(x), "r"(y), "r"(bar) : "memory");
}

// K contiguous in rows of 128 bytes, swizzled, eight rows to 1024 bytes.
__device__ __forceinline__ u64 descriptor(u32 at) {
    return (u64)((at & 0x3ffff) >> 4) | 1ull << 16 | (1024ull >> 4) << 32 | 1ull << 62;
}

#define ALL(d) "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]), "+f"(d[4]), "+f"(d[5]), "+f"(d[6]), "+f"(d[7]), "+f"(d[8]), \
    "+f"(d[9]), "+f"(d[10]), "+f"(d[11]), "+f"(d[12]), "+f"(d[13]), "+f"(d[14]), "+f"(d[15]), "+f"(d[16]), "+f"(d[17]), \
    "+f"(d[18]), "+f"(d[19]), "+f"(d[20]), "+f"(d[21]), "+f"(d[22]), "+f"(d[23]), "+f"(d[24]), "+f"(d[25]), "+f"(d[26]), \
    "+f"(d[27]), "+f"(d[28]), "+f"(d[29]), "+f"(d[30]), "+f"(d[31])

__device__ __forceinline__ void multiply(float (&d)[32], u64 a, u64 b, int accumulate) {
    asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, %34, 0;\n"
                 "wgmma.mma_async.sync.aligned.m64n64k16.f32.bf16.bf16 "
                 "{%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, %16, %17, %18, %19, %20, %21, %22, "
                 "%23, %24, %25, %26, %27, %28, %29, %30, %31}, %32, %33, p, 1, 1, 0, 0;\n}"
                 : ALL(d) : "l"(a), "l"(b), "r"(accumulate));
}

extern "C" __global__ void __launch_bounds__(384, 1)
gemm(const __grid_constant__ TensorMap a, const __grid_constant__ TensorMap b, const __grid_constant__ TensorMap c, int k) {
    extern __shared__ __align__(1024) unsigned char tiles[];
    __shared__ __align__(8) u64 full[STAGES], empty[STAGES];
    const u32 base = shared_address(tiles);
    const int steps = (k + K - 1) / K, group = threadIdx.x / 128, lane = threadIdx.x % 32;
    if (threadIdx.x == 0) {
        for (int s = 0; s < STAGES; s++) {
            asm volatile("mbarrier.init.shared::cta.b64 [%0], 1;" ::"r"(shared_address(&full[s])) : "memory");
            asm volatile("mbarrier.init.shared::cta.b64 [%0], 8;" ::"r"(shared_address(&empty[s])) : "memory");
        }
        asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
    }
    __syncthreads();
    if (group == 0) {
        asm volatile("setmaxnreg.dec.sync.aligned.u32 40;");
        if (threadIdx.x == 0) {
            #pragma unroll 1
            for (int t = 0; t < steps; t++) {
                int s = t % STAGES;
                wait(shared_address(&empty[s]), t / STAGES % 2 ^ 1);
                expect(shared_address(&full[s]), STAGE);
                load_box(base + s * STAGE, &a, t * K, blockIdx.y * M, shared_address(&full[s]));
                load_box(base + s * STAGE + A_BYTES, &b, t * K, blockIdx.x * N, shared_address(&full[s]));
            }
        }
        return;
    }
    asm volatile("setmaxnreg.inc.sync.aligned.u32 232;");
    float d[32];
    for (int i = 0; i < 32; i++) d[i] = 0.0f;
    const int half = group - 1;
    u32 elected;
    asm volatile("mov.u32 %0, %%laneid;" : "=r"(elected));
    #pragma unroll 1
    for (int t = 0; t < steps; t++) {
        int s = t % STAGES;
        wait(shared_address(&full[s]), t / STAGES % 2);
        asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
        #pragma unroll
        for (int kk = 0; kk < K / 16; kk++)
            multiply(d, descriptor(base + s * STAGE + half * (A_BYTES / 2) + kk * 32),
                     descriptor(base + s * STAGE + A_BYTES + kk * 32), 1);
        asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
        asm volatile("wgmma.wait_group.sync.aligned 0;" : ALL(d) :: "memory");
        if (elected == 0) arrive(shared_address(&empty[s]));
    }
    // Each consumer stages its 64 rows of 64 floats, and one thread stores them.
    const u32 out = base + STAGES * STAGE + half * (64 * N * 4);
    const int warp = threadIdx.x / 32 % 4;
    #pragma unroll
    for (int j = 0; j < 8; j++)
        #pragma unroll
        for (int i = 0; i < 4; i++) {
            int row = warp * 16 + lane / 4 + i / 2 * 8, column = j * 8 + lane % 4 * 2 + i % 2;
            asm volatile("st.shared.f32 [%0], %1;" ::"r"(out + (row * N + column) * 4), "f"(d[j * 4 + i]) : "memory");
        }
    asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
    asm volatile("bar.sync %0, 128;" ::"r"(group) : "memory");
    if (threadIdx.x % 128 == 0) {
        asm volatile("cp.async.bulk.tensor.2d.global.shared::cta.bulk_group [%0, {%1, %2}], [%3];"
                     ::"l"(&c), "r"(blockIdx.x * N), "r"(blockIdx.y * M + half * 64), "r"(out) : "memory");
        asm volatile("cp.async.bulk.commit_group;" ::: "memory");
        asm volatile("cp.async.bulk.wait_group.read 0;" ::: "memory");
    }
}
