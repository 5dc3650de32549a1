// Convolutions of codes as products: a row is an output pixel, the sum runs over the taps of its window and the channels under
// them. Rows are never stored: 16-byte pieces are gathered from the image into the slots that mma.sync reads.
//
// Outside the input stands the code of zero, whose products, like those of the input's zero point everywhere, are taken off the
// bias beforehand. Where tiles are few, several blocks share the sum of one.
//
// ROW_SUMS: whether the code of zero in the weights is not 0. Then the sum of each row is computed along with the products, by a
// right operand of ones, and what the zero point makes of it taken off them.
//
// TN: output channels of a tile. STAGES: slots of shared memory. WIDTH: bytes that are copied at a time, 16, 8 or 4: a
// divisor of the channels, so that they lie under one tap. Where there is none, channels are padded beforehand.
#define DTYPE 2
#define TM 128
#include "mma_tile.cuh"
#include "window.cuh"

#ifndef ROW_SUMS
#define ROW_SUMS 0
#endif

// Rows of the tile whose pieces one thread copies, all at the same place along the sum.
#define COPIES (TM / (THREADS / PIECES))
// A row of codes on its way out.
#define OUT_ROW (TN + 16)

struct Shape {
    Window high, wide;
    int images, channels, outputs;
};

// Rows of codes, each of `from`, with the code `fill` behind them, so that each has `to`, a multiple of 4.
extern "C" __global__ void __launch_bounds__(256) conv_pad(const u8* x, u32* out, i64 rows, int from, int to, int fill) {
    const i64 words = rows * (to / 4);
    for (i64 i = (i64)blockIdx.x * 256 + threadIdx.x; i < words; i += (i64)gridDim.x * 256) {
        const i64 row = i / (to / 4);
        const int at = (int)(i - row * (to / 4)) * 4;
        u32 word = 0;
#pragma unroll
        for (int j = 0; j < 4; j++) {
            word |= (u32)(at + j < from ? x[row * from + at + j] : fill & 0xff) << j * 8;
        }
        out[i] = word;
    }
}

// bias - input_zero_point times the sum of the weights, less `whole` times their zero point; a warp an output channel.
extern "C" __global__ void __launch_bounds__(128)
conv_fold(const i8* weight, const int* bias, int* folded, int outputs, int length, int input_zero_point, int weight_zero_point,
          int whole) {
    const int output = blockIdx.x * 4 + threadIdx.x / 32, lane = lane_id();
    if (output >= outputs) return;
    const i8* row = weight + (size_t)output * length;
    int sum = 0;
    if (length % 4 == 0) {
        for (int i = lane * 4; i < length; i += 128) sum = dp4a(*(const u32*)(row + i), 0x01010101u, sum);
    } else {
        for (int i = lane; i < length; i += 32) sum += row[i];
    }
#pragma unroll
    for (int mask = 16; mask > 0; mask >>= 1) sum += __shfl_xor_sync(FULL_WARP, sum, mask);
    const u32 centred = (u32)sum - (u32)weight_zero_point * (u32)whole;
    if (lane == 0) folded[output] = (int)((u32)bias[output] - (u32)input_zero_point * centred);
}

// Where a row's window lies: its image's first pixel, and its first tap relative to the image.
struct Pixel {
    int image, row, column;
};
// A place along the sum.
struct Place {
    int th, tw, channel;
};

DEVICE Place place_at(const Shape& shape, int k) {
    int tap = k / shape.channels;
    return {tap / shape.wide.kernel, tap % shape.wide.kernel, k - tap * shape.channels};
}

DEVICE void advance(const Shape& shape, Place& place, int codes) {
    place.channel += codes;
    while (place.channel >= shape.channels) {
        place.channel -= shape.channels;
        if (++place.tw == shape.wide.kernel) {
            place.tw = 0;
            place.th++;
        }
    }
}

// The address of the code under a tap, or null outside the image.
DEVICE const i8* code_at(const i8* x, const Shape& shape, const Pixel& pixel, const Place& place) {
    int y = pixel.row + place.th * shape.high.dilation, z = pixel.column + place.tw * shape.wide.dilation;
    bool inside = place.th < shape.high.kernel && y >= 0 && y < shape.high.input && z >= 0 && z < shape.wide.input;
    return inside ? x + (size_t)(pixel.image + y * shape.wide.input + z) * shape.channels + place.channel : nullptr;
}

// Adds to the sums of the rows of a warp, every lane those of its own rows.
DEVICE void add_rows(int (&sums)[ROWS][4], u32 slot, int row) {
    const int lane = lane_id();
    const u32 ones[2] = {0x01010101u, 0x01010101u};
#pragma unroll
    for (int part = 0; part < TK_BYTES / 32; part++) {
#pragma unroll
        for (int i = 0; i < ROWS; i++) {
            u32 a[4];
            ldmatrix_x4(a, piece(slot, row + i * 16 + lane % 16, part * 2 + lane / 16));
            mma_s8(sums[i], a, ones);
        }
    }
}

DEVICE void copy_async(u32 to, const i8* from) {
#if WIDTH == 16
    cp_async_16(to, from, 16);
#else
    cp_async<WIDTH>(to, from);
#endif
}

extern "C" __global__ void __launch_bounds__(THREADS)
conv_mma(const i8* x, const i8* weight, i8* out, int* partials, const __grid_constant__ Epilogue epilogue,
         const __grid_constant__ Shape shape, int input_zero_point, int weight_zero_point) {
    extern __shared__ u8 dynamic_shared[];
    const u32 stages = (shared_address(dynamic_shared) + 127) & ~127u;
    const int pixels = shape.images * shape.high.output * shape.wide.output, outputs = shape.outputs;
    // Blocks beside each other share their pixels.
    const int columns_of_tiles = ceil_div(outputs, TN);
    const int row = blockIdx.x / columns_of_tiles * TM, column = blockIdx.x % columns_of_tiles * TN;
    const int warp = warp_id(), lane = lane_id();
    const int warp_row = warp / WARPS_N * (TM / 2), warp_column = warp % WARPS_N * 32;
    const int length = shape.high.kernel * shape.wide.kernel * shape.channels;
    // The steps of this block's part of the sum.
    const int all = ceil_div(length, TK_BYTES), splits = gridDim.y, split = blockIdx.y;
    const int begin = (int)((i64)all * split / splits), steps = (int)((i64)all * (split + 1) / splits);
    const u32 zero = (u32)(input_zero_point & 0xff) * 0x01010101u;

    const int copy_row = threadIdx.x / PIECES, copy_piece = threadIdx.x % PIECES;
    Pixel windows[COPIES];
#pragma unroll
    for (int i = 0; i < COPIES; i++) {
        int pixel = row + copy_row + i * (THREADS / PIECES);
        int y = pixel / shape.wide.output % shape.high.output, z = pixel % shape.wide.output;
        int image = pixel / shape.wide.output / shape.high.output;
        windows[i].image = image * shape.high.input * shape.wide.input;
        // A row beyond the last pixel has its window outside every image.
        windows[i].row = pixel < pixels ? y * shape.high.stride - shape.high.before : -(1 << 30);
        windows[i].column = z * shape.wide.stride - shape.wide.before;
    }
#if WIDTH == 16
    Place place = length > 0 ? place_at(shape, begin * TK_BYTES + copy_piece * 16) : Place{0, 0, 0};
#endif

    int sums[ROWS][4][4] = {};
#if ROW_SUMS
    int rows_of_codes[ROWS][4] = {};
#endif
    // Called for one step after the other. A group is committed for every one, also where there is none to copy, so that waiting
    // counts steps.
    auto copy = [&](int step) {
        if (step < steps) {
            const u32 to = stages + (step - begin) % STAGES * STAGE_BYTES;
            const int k = step * TK_BYTES + copy_piece * 16;
#if WIDTH == 16
            Place at = place;
            advance(shape, place, TK_BYTES);
#else
            Place at = place_at(shape, k);
#endif
#pragma unroll
            for (int part = 0; part < 16; part += WIDTH) {
#pragma unroll
                for (int i = 0; i < COPIES; i++) {
                    const u32 slot = piece(to, copy_row + i * (THREADS / PIECES), copy_piece) + part;
                    const i8* from = code_at(x, shape, windows[i], at);
                    if (from) copy_async(slot, from);
                    else fill_shared<WIDTH>(slot, zero);
                }
                if (WIDTH < 16) advance(shape, at, WIDTH);
            }
            // Weights; beyond the last channel and behind the last tap they are 0.
#pragma unroll
            for (int i = 0; i < TN / (THREADS / PIECES); i++) {
                const int r = copy_row + i * (THREADS / PIECES);
                const int left = column + r < outputs ? length - k : 0;
                const i8* from = weight + (left > 0 ? (size_t)(column + r) * length + k : 0);
                const u32 slot = piece(to + A_BYTES, r, copy_piece);
#pragma unroll
                for (int part = 0; part < 16; part += WIDTH) {
                    if (part < left) copy_async(slot + part, from + part);
                    else fill_shared<WIDTH>(slot + part, 0);
                }
            }
        }
        cp_async_commit();
    };
#pragma unroll
    for (int i = 0; i < STAGES - 1; i++) copy(begin + i);

    for (int step = begin; step < steps; step++) {
        // The pieces of this step have landed, and every warp is done with the step before, whose slot the next copy fills.
        cp_async_wait<STAGES - 2>();
        __syncthreads();
        copy(step + STAGES - 1);
        add_products(sums, stages + (step - begin) % STAGES * STAGE_BYTES, warp_row, warp_column);
#if ROW_SUMS
        add_rows(rows_of_codes, stages + (step - begin) % STAGES * STAGE_BYTES, warp_row);
#endif
    }
    cp_async_wait<0>();
#if ROW_SUMS
#pragma unroll
    for (int at = 0; at < ROWS * 16; at++) {
        const u32 row_sum = (u32)rows_of_codes[at / 16][at / 2 % 2 * 2];
        sums[at / 16][at / 4 % 4][at % 4] = (int)((u32)sums[at / 16][at / 4 % 4][at % 4] - (u32)weight_zero_point * row_sum);
    }
#endif
    if (splits > 1) {
        int* part = partials + (size_t)split * pixels * outputs;
#pragma unroll
        for (int i = 0; i < ROWS; i++) {
#pragma unroll
            for (int at = 0; at < 16; at++) {
                const int r = row + warp_row + i * 16 + lane / 4 + at / 2 % 2 * 8;
                const int c = column + warp_column + at / 4 * 8 + lane % 4 * 2 + at % 2;
                if (r < pixels && c < outputs) part[(size_t)r * outputs + c] = sums[i][at / 4][at % 4];
            }
        }
        return;
    }
    // The slots become room for the codes.
    __syncthreads();
#pragma unroll
    for (int j = 0; j < 4; j++) {
        const int c = warp_column + j * 8 + lane % 4 * 2;
        int start[2];
        Factor factors[2];
#pragma unroll
        for (int i = 0; i < 2; i++) {
            start[i] = column + c + i < outputs ? epilogue.bias[column + c + i] : 0;
            factors[i] = factor_at(epilogue.factors, column + c + i, column + c + i < outputs);
        }
#pragma unroll
        for (int i = 0; i < ROWS; i++) {
#pragma unroll
            for (int half = 0; half < 2; half++) {
                const int r = warp_row + i * 16 + lane / 4 + half * 8;
                u32 pair = finish(epilogue, sums[i][j][half * 2], start[0], factors[0])
                         | finish(epilogue, sums[i][j][half * 2 + 1], start[1], factors[1]) << 8;
                store_shared_2(stages + r * OUT_ROW + c, (u16)pair);
            }
        }
    }
    __syncthreads();
    const int rows = min_of(pixels - row, TM), columns = min_of(outputs - column, TN);
    if (outputs % 16 == 0) {
        for (int i = threadIdx.x; i < rows * (TN / 16); i += THREADS) {
            const int r = i / (TN / 16), c = i % (TN / 16) * 16;
            if (c < columns) *(uint4*)(out + (size_t)(row + r) * outputs + column + c) = load_shared_16(stages + r * OUT_ROW + c);
        }
    } else {
        const u8* codes = dynamic_shared + (stages - shared_address(dynamic_shared));
        for (int i = threadIdx.x; i < rows * columns; i += THREADS) {
            const int r = i / columns, c = i - r * columns;
            out[(size_t)(row + r) * outputs + column + c] = (i8)codes[r * OUT_ROW + c];
        }
    }
}
