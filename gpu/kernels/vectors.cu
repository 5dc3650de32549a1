// Single opcodes on given bits. Each kernel runs one opcode of its list and writes all that the opcode leaves in registers, so
// that a device and the simulator can be compared to the last bit.
//
// The header has the lists SCALAR_OPCODES, MMA_OPCODES, MOVE_OPCODES and WGMMA_OPCODES of OPCODE(number, PTX), with operands
// numbered as in the asm statements below.
#include "prelude.cuh"
#include "variant.cuh"

// Of three words each thread makes one.
extern "C" __global__ void __launch_bounds__(128) scalar(const u32* shared, const u32* items, u32* out, int opcode) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    const u32 a = items[3 * i], b = items[3 * i + 1], c = items[3 * i + 2];
    u32 y = 0;
    switch (opcode) {
#define OPCODE(NUMBER, TEXT) \
    case NUMBER: asm volatile(TEXT : "=r"(y) : "r"(a), "r"(b), "r"(c)); break;
        SCALAR_OPCODES
#undef OPCODE
    }
    out[i] = y;
}

// Four words of sums, which the product is added to, four of A, four of B; a shape that has fewer takes the first ones.
extern "C" __global__ void __launch_bounds__(32) mma(const u32* shared, const u32* items, u32* out, int opcode) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    const u32* x = items + 12 * i;
    u32 d[4] = {x[0], x[1], x[2], x[3]};
    switch (opcode) {
#define OPCODE(NUMBER, TEXT) \
    case NUMBER: \
        asm volatile(TEXT : "+r"(d[0]), "+r"(d[1]), "+r"(d[2]), "+r"(d[3]) \
                     : "r"(x[4]), "r"(x[5]), "r"(x[6]), "r"(x[7]), "r"(x[8]), "r"(x[9]), "r"(x[10]), "r"(x[11])); \
        break;
        MMA_OPCODES
#undef OPCODE
    }
    for (int j = 0; j < 4; j++) out[4 * i + j] = d[j];
}

// The offset of a row in the kibibyte of shared memory, and four registers. What is written are the registers, then 32 bytes of
// shared memory.
extern "C" __global__ void __launch_bounds__(32) move(const u32* shared, const u32* items, u32* out, int opcode) {
    __shared__ alignas(16) u32 rows[256];
    const int i = threadIdx.x;
    const u32* x = items + 5 * i;
    for (int j = 0; j < 8; j++) rows[8 * i + j] = shared[8 * i + j];
    __syncwarp();
    u32 d[4] = {x[1], x[2], x[3], x[4]};
    const u32 at = shared_address(rows) + x[0];
    switch (opcode) {
#define OPCODE(NUMBER, TEXT) \
    case NUMBER: asm volatile(TEXT : "+r"(d[0]), "+r"(d[1]), "+r"(d[2]), "+r"(d[3]) : "r"(at) : "memory"); break;
        MOVE_OPCODES
#undef OPCODE
    }
    __syncwarp();
    for (int j = 0; j < 4; j++) out[12 * i + j] = d[j];
    for (int j = 0; j < 8; j++) out[12 * i + 4 + j] = rows[8 * i + j];
}

#if __CUDA_ARCH__ >= 900

#define WORDS_8(d, i) \
    "+r"(d[i]), "+r"(d[i + 1]), "+r"(d[i + 2]), "+r"(d[i + 3]), "+r"(d[i + 4]), "+r"(d[i + 5]), "+r"(d[i + 6]), "+r"(d[i + 7])
#define WORDS_32(d, i) WORDS_8(d, i), WORDS_8(d, i + 8), WORDS_8(d, i + 16), WORDS_8(d, i + 24)

// 64 words of sums and four of A; 32 KiB of shared memory, whose address as a descriptor has it is the last operand.
extern "C" __global__ void __launch_bounds__(128) wgmma(const u32* shared, const u32* items, u32* out, int opcode) {
    extern __shared__ u8 room[];
    const int i = threadIdx.x;
    const u32 image = (shared_address(room) + 1023) & ~1023u;
    for (int j = i; j < 8192; j += 128) store_shared_4(image + 4 * j, shared[j]);
    const u32* x = items + 68 * i;
    u32 d[64];
#pragma unroll
    for (int j = 0; j < 64; j++) d[j] = x[j];
    const u64 at = image >> 4;
    fence_proxy_async();
    __syncthreads();
    switch (opcode) {
#define OPCODE(NUMBER, TEXT) \
    case NUMBER: \
        asm volatile(TEXT : WORDS_32(d, 0), WORDS_32(d, 32) : "r"(x[64]), "r"(x[65]), "r"(x[66]), "r"(x[67]), "l"(at) : "memory"); \
        break;
        WGMMA_OPCODES
#undef OPCODE
    }
#pragma unroll
    for (int j = 0; j < 64; j++) out[64 * i + j] = d[j];
}

#endif
