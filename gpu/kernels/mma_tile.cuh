// A tile of a product by mma.sync, for kernels that each fill the slots of its operands in their own way.
//
// TM, TN: rows and columns of the tile. DTYPE: that of epilogue.cuh. A slot holds TM rows of the left operand and TN of the right
// one, the sum innermost. A warp has half of the rows and 32 columns.
#pragma once
#include "epilogue.cuh"

// Bytes along the sum of one slot: a row of shared memory, whose 16-byte pieces are swizzled by its number.
#define TK_BYTES 128
#define PIECES (TK_BYTES / 16)
#define A_BYTES (TM * TK_BYTES)
#define STAGE_BYTES ((TM + TN) * TK_BYTES)
#define WARPS_N (TN / 32)
#define THREADS (2 * WARPS_N * 32)
#define ROWS (TM / 2 / 16)

DEVICE u32 piece(u32 base, int row, int at) { return base + row * TK_BYTES + (at ^ row % 8) * 16; }

DEVICE void multiply(Sum (&sums)[4], const u32 (&a)[4], const u32 (&b)[2]) {
#if DTYPE == 2
    mma_s8(sums, a, b);
#elif DTYPE == 1
    mma_f16(sums, a, b);
#else
    mma_bf16(sums, a, b);
#endif
}

// Adds the products of a slot for the warp whose first row and column these are.
DEVICE void add_products(Sum (&sums)[ROWS][4][4], u32 slot, int row, int column) {
    const int lane = lane_id();
#pragma unroll
    for (int part = 0; part < TK_BYTES / 32; part++) {
        u32 a[ROWS][4], b[2][4];
#pragma unroll
        for (int i = 0; i < ROWS; i++) {
            ldmatrix_x4(a[i], piece(slot, row + i * 16 + lane % 16, part * 2 + lane / 16));
        }
#pragma unroll
        for (int j = 0; j < 2; j++) {
            int at = column + j * 16 + lane % 8 + lane / 16 * 8;
            ldmatrix_x4(b[j], piece(slot + A_BYTES, at, part * 2 + lane / 8 % 2));
        }
#pragma unroll
        for (int i = 0; i < ROWS; i++) {
#pragma unroll
            for (int j = 0; j < 4; j++) {
                const u32 pair[2] = {b[j / 2][j % 2 * 2], b[j / 2][j % 2 * 2 + 1]};
                multiply(sums[i][j], a[i], pair);
            }
        }
    }
}
