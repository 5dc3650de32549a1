// Convolutions of each channel of codes by itself.
//
// A block takes some channels, a strip of output columns and a band of output rows, and goes down the rows. The rows of the input
// that its window covers stand in a ring in shared memory, with those of the next output rows on their way, so that a band reads
// each row once. A thread takes four channels and pairs of adjacent outputs: of every four columns that a pair covers it transposes
// the four words, each four channels of a column, so that a word has the columns of one channel, and one dp4a multiplies them for
// one output. Weights stand in shared memory in the same form, with 0 for a column that an output does not cover.
//
// Outside the input stands the code of zero; its products are taken off the bias.
//
// LANES: words of four channels that a block takes: 8, 16 or 32.
#include "window.cuh"

#define CHUNK (LANES * 4)
// Bytes of a pixel in shared memory: the gap puts pairs that a warp reads in different banks.
#define PITCH (LANES == 32 ? CHUNK : CHUNK * 3 / 2)
// Pairs of outputs that a thread takes at a time, so that weights are read once for all of them.
#define PAIRS 4
// Output rows whose input is on its way while one is computed.
#define AHEAD 2
#define ANY_THREADS 256

struct Shape {
    Window high, wide;
    int images, channels, multiplier;
};

// How blocks share the work; made by the host.
struct Tiling {
    // Strips of an image and output columns of each, bands and output rows of each.
    int strips, width, bands, height;
    // Input columns of a strip, groups of four of them that a pair of outputs covers, and rows of the ring.
    int columns, groups, ring;
};

// Where a band and strip of the input begin.
struct Corner {
    int image, row, column, channel;
};

// Copies a row, counted from the corner on, into its place in the ring, BYTES of a pixel at a time.
template <int BYTES>
DEVICE void copy_row(u32 ring, const i8* x, const Shape& shape, const Tiling& tiling, const Corner& corner, int row, u32 zero) {
    const int y = corner.row + row;
    const i8* line = x + ((size_t)corner.image * shape.high.input + y) * shape.wide.input * shape.channels;
    const u32 to = ring + row % tiling.ring * tiling.columns * PITCH;
    for (int i = threadIdx.x; i < tiling.columns * (CHUNK / BYTES); i += blockDim.x) {
        const int at = i / (CHUNK / BYTES), part = i % (CHUNK / BYTES) * BYTES;
        const int z = corner.column + at, channel = corner.channel + part;
        const u32 place = to + at * PITCH + part;
        if (y >= 0 && y < shape.high.input && z >= 0 && z < shape.wide.input && channel < shape.channels) {
            const i8* from = line + (size_t)z * shape.channels + channel;
            if (BYTES == 16) cp_async_16(place, from, 16);
            else cp_async<4>(place, from);
        } else {
            fill_shared<BYTES>(place, zero);
        }
    }
}

// Four words, each a column of four channels, become four words, each a channel of four columns.
DEVICE void transpose(u32 (&x)[4]) {
    const u32 a = __byte_perm(x[0], x[1], 0x5140), b = __byte_perm(x[2], x[3], 0x5140);
    const u32 c = __byte_perm(x[0], x[1], 0x7362), d = __byte_perm(x[2], x[3], 0x7362);
    x[0] = __byte_perm(a, b, 0x5410), x[1] = __byte_perm(a, b, 0x7632);
    x[2] = __byte_perm(c, d, 0x5410), x[3] = __byte_perm(c, d, 0x7632);
}

// Channels are a multiple of 4, and each has one output. The weights' zero point is 0.
extern "C" __global__ void __launch_bounds__(256)
depthwise(const i8* x, const i8* weight, const int* bias, Factors factors, i8* out, const __grid_constant__ Shape shape,
          const __grid_constant__ Tiling tiling, Requant requant, int input_zero_point) {
    extern __shared__ uint4 dynamic_shared[];
    const Window &high = shape.high, &wide = shape.wide;
    const int strip = blockIdx.x % tiling.strips, band = blockIdx.x / tiling.strips % tiling.bands;
    const int image = blockIdx.x / tiling.strips / tiling.bands, channels = shape.channels, block = blockIdx.y * CHUNK;
    const int column = strip * tiling.width, width = min_of(tiling.width, wide.output - column);
    const int row = band * tiling.height, rows = min_of(tiling.height, high.output - row);
    const Corner corner = {image, row * high.stride - high.before, column * wide.stride - wide.before, block};
    const u32 zero = (u32)(input_zero_point & 0xff) * 0x01010101u;
    const int span = (high.kernel - 1) * high.dilation + 1;

    const int words = high.kernel * tiling.groups * 2 * CHUNK, taps = high.kernel * wide.kernel;
    const u32 weights = shared_address(dynamic_shared), ring = weights + words * 4 + CHUNK * taps;

    // The rows that this output row of the band covers and those before do not. A group is committed for every one, also where
    // there is none to copy, so that waiting counts output rows.
    auto copy = [&](int at) {
        if (at < rows) {
            const int end = at * high.stride + span;
            for (int i = at > 0 ? max_of(end - high.stride, at * high.stride) : 0; i < end; i++) {
                if (channels % 16 == 0) copy_row<16>(ring, x, shape, tiling, corner, i, zero);
                else copy_row<4>(ring, x, shape, tiling, corner, i, zero);
            }
        }
        cp_async_commit();
    };
#pragma unroll
    for (int i = 0; i < AHEAD; i++) copy(i);

    // The weights as they are, and then by row and group of columns of the window, and output of the pair: a word of four columns
    // for each channel.
    const u8* plain = (const u8*)dynamic_shared + words * 4;
    const int present = min_of(channels - block, CHUNK);
    for (int i = threadIdx.x; i < present * taps / 4; i += blockDim.x) {
        ((u32*)plain)[i] = ((const u32*)(weight + (size_t)block * taps))[i];
    }
    __syncthreads();
    for (int i = threadIdx.x; i < words; i += blockDim.x) {
        const int own = i % CHUNK, output = i / CHUNK % 2, place = i / CHUNK / 2;
        const int th = place / tiling.groups, first = place % tiling.groups * 4 - output * wide.stride;
        u32 word = 0;
#pragma unroll
        for (int j = 0; j < 4; j++) {
            const int offset = first + j, tw = offset / wide.dilation;
            const bool tap = offset >= 0 && tw * wide.dilation == offset && tw < wide.kernel;
            if (tap && own < present) word |= (u32)plain[own * taps + th * wide.kernel + tw] << j * 8;
        }
        ((u32*)dynamic_shared)[i] = word;
    }
    __syncthreads();

    const int lane = threadIdx.x % LANES, channel = block + lane * 4, step = blockDim.x / LANES;
    int start[4] = {};
    const bool inside = channel < channels;
    const int4 added = inside ? *(const int4*)(bias + channel) : make_int4(0, 0, 0, 0);
    const int biases[4] = {added.x, added.y, added.z, added.w};
    const uint4 m = inside ? *(const uint4*)(factors.multiplier + channel) : make_uint4(0, 0, 0, 0);
    const int4 s = ROUNDING && inside ? *(const int4*)(factors.shift + channel) : make_int4(0, 0, 0, 0);
    const Factor own[4] = {{m.x, s.x}, {m.y, s.y}, {m.z, s.z}, {m.w, s.w}};
    for (int i = 0; i < high.kernel * tiling.groups; i++) {
        const uint4 w = load_shared_16(weights + i * 2 * CHUNK * 4 + lane * 16);
        const u32 words[4] = {w.x, w.y, w.z, w.w};
#pragma unroll
        for (int j = 0; j < 4; j++) start[j] = dp4a(words[j], 0x01010101u, start[j]);
    }
#pragma unroll
    for (int j = 0; j < 4; j++) start[j] = (int)((u32)biases[j] - (u32)input_zero_point * (u32)start[j]);

    for (int at = 0; at < rows; at++) {
        // The rows of this output row have landed, and every warp is done with the one before, whose rows the next copies fill.
        cp_async_wait<AHEAD - 1>();
        __syncthreads();
        copy(at + AHEAD);
        for (int first = threadIdx.x / LANES; first * 2 < width; first += step * PAIRS) {
            int sums[PAIRS][2][4];
#pragma unroll
            for (int i = 0; i < PAIRS * 8; i++) sums[i / 8][i / 4 % 2][i % 4] = start[i % 4];
            for (int th = 0; th < high.kernel; th++) {
                const int line = (at * high.stride + th * high.dilation) % tiling.ring;
                for (int group = 0; group < tiling.groups; group++) {
                    const u32 w = weights + (th * tiling.groups + group) * 2 * CHUNK * 4 + lane * 16;
                    const uint4 left = load_shared_16(w), right = load_shared_16(w + CHUNK * 4);
                    const u32 lefts[4] = {left.x, left.y, left.z, left.w}, rights[4] = {right.x, right.y, right.z, right.w};
#pragma unroll
                    for (int i = 0; i < PAIRS; i++) {
                        const int pair = first + i * step;
                        if (pair * 2 >= width) continue;
                        const u32 from = ring + (line * tiling.columns + pair * 2 * wide.stride + group * 4) * PITCH + lane * 4;
                        u32 codes[4];
#pragma unroll
                        for (int j = 0; j < 4; j++) codes[j] = load_shared_4(from + j * PITCH);
                        transpose(codes);
#pragma unroll
                        for (int j = 0; j < 4; j++) {
                            sums[i][0][j] = dp4a(codes[j], lefts[j], sums[i][0][j]);
                            sums[i][1][j] = dp4a(codes[j], rights[j], sums[i][1][j]);
                        }
                    }
                }
            }
            i8* line = out + (((size_t)image * high.output + row + at) * wide.output + column) * channels + channel;
#pragma unroll
            for (int i = 0; i < PAIRS * 2; i++) {
                const int z = (first + i / 2 * step) * 2 + i % 2;
                u32 codes = 0;
#pragma unroll
                for (int j = 0; j < 4; j++) codes |= code_of(requant, sums[i / 2][i % 2][j], own[j]) << j * 8;
                if (z < width && inside) *(u32*)(line + (size_t)z * channels) = codes;
            }
        }
    }
}

// One output a thread: any number of channels and of outputs of each, windows of any size, and weights with a zero point.
extern "C" __global__ void __launch_bounds__(ANY_THREADS)
depthwise_any(const i8* x, const i8* weight, const int* bias, Factors factors, i8* out, const __grid_constant__ Shape shape,
              Requant requant, int input_zero_point, int weight_zero_point) {
    const Window &high = shape.high, &wide = shape.wide;
    const int outputs = shape.channels * shape.multiplier;
    const u32 items = (u32)shape.images * high.output * wide.output * outputs;
    for (u32 item = blockIdx.x * ANY_THREADS + threadIdx.x; item < items; item += gridDim.x * ANY_THREADS) {
        const int output = item % outputs, channel = output / shape.multiplier;
        const u32 pixel = item / outputs;
        const int column = pixel % wide.output, row = pixel / wide.output % high.output;
        const int image = pixel / wide.output / high.output;
        const Taps rows = taps_inside(high, row), columns = taps_inside(wide, column);
        u32 sum = (u32)bias[output];
        for (int th = rows.begin; th < rows.end; th++) {
            const int line = (image * high.input + row * high.stride - high.before + th * high.dilation) * wide.input;
            const int start = line + column * wide.stride - wide.before;
            const i8* w = weight + (size_t)(output * high.kernel + th) * wide.kernel;
            for (int tw = columns.begin; tw < columns.end; tw++) {
                const int code = x[(size_t)(start + tw * wide.dilation) * shape.channels + channel];
                sum += (u32)((code - input_zero_point) * (w[tw] - weight_zero_point));
            }
        }
        out[item] = (i8)code_of(requant, (int)sum, factor_at(factors, output, true));
    }
}
