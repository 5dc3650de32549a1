// Convolutions of each channel of codes by itself.
//
// A lane of a warp takes four channels, and a warp 128. Their weights stand in shared memory by tap, four channels a word, so that
// a tap of four channels is a word of codes, a word of weights and four dp4a, each with one byte of the weights. Outside the
// input stands the code of zero; its products are taken off the bias.
#include "window.cuh"

#define LANES 32
#define LINES 8
#define THREADS (LANES * LINES)

struct Shape {
    Window high, wide;
    int images, channels, multiplier;
};

// Four channels a thread: their number is a multiple of 4, and each has one output.
extern "C" __global__ void __launch_bounds__(THREADS)
depthwise(const i8* x, const i8* weight, const int* bias, const float* scale, i8* out, const __grid_constant__ Shape shape,
          Requant requant, int input_zero_point) {
    extern __shared__ u32 weights[];
    const Window &high = shape.high, &wide = shape.wide;
    const int taps = high.kernel * wide.kernel, channels = shape.channels;
    const int lane = threadIdx.x % LANES, block = blockIdx.y * LANES * 4, channel = block + lane * 4;
    const int present = min_of(channels - block, LANES * 4);
    for (int i = threadIdx.x; i < present * taps; i += THREADS) {
        ((i8*)weights)[i % taps * LANES * 4 + i / taps] = weight[(size_t)block * taps + i];
    }
    __syncthreads();
    if (channel >= channels) return;
    int start[4];
    float scales[4];
#pragma unroll
    for (int i = 0; i < 4; i++) {
        start[i] = 0;
        scales[i] = scale[channel + i];
    }
    for (int tap = 0; tap < taps; tap++) {
        u32 w = weights[tap * LANES + lane];
#pragma unroll
        for (int i = 0; i < 4; i++) start[i] += (i8)(w >> i * 8);
    }
#pragma unroll
    for (int i = 0; i < 4; i++) start[i] = (int)((u32)bias[channel + i] - (u32)input_zero_point * (u32)start[i]);
    const u32 zero = (u32)(input_zero_point & 0xff) * 0x01010101u;
    const u32 pixels = (u32)shape.images * high.output * wide.output;
    for (u32 pixel = blockIdx.x * LINES + threadIdx.x / LANES; pixel < pixels; pixel += gridDim.x * LINES) {
        const int column = pixel % wide.output, row = pixel / wide.output % high.output;
        const int image = pixel / wide.output / high.output;
        const int h = row * high.stride - high.before, w = column * wide.stride - wide.before;
        int sums[4];
#pragma unroll
        for (int i = 0; i < 4; i++) sums[i] = start[i];
        int tap = lane;
        for (int th = 0; th < high.kernel; th++) {
            const int y = h + th * high.dilation;
            const bool line = y >= 0 && y < high.input;
            for (int tw = 0; tw < wide.kernel; tw++, tap += LANES) {
                const int z = w + tw * wide.dilation;
                u32 codes = zero;
                if (line && z >= 0 && z < wide.input) {
                    codes = *(const u32*)(x + ((size_t)(image * high.input + y) * wide.input + z) * channels + channel);
                }
                const u32 taken = weights[tap];
#pragma unroll
                for (int i = 0; i < 4; i++) sums[i] = dp4a(codes, taken & 0xffu << i * 8, sums[i]);
            }
        }
        u32 codes = 0;
#pragma unroll
        for (int i = 0; i < 4; i++) codes |= code_of(requant, sums[i], scales[i]) << i * 8;
        *(u32*)(out + (size_t)pixel * channels + channel) = codes;
    }
}

// One output a thread: any number of channels and of outputs of each, and windows of any size.
extern "C" __global__ void __launch_bounds__(THREADS)
depthwise_any(const i8* x, const i8* weight, const int* bias, const float* scale, i8* out, const __grid_constant__ Shape shape,
              Requant requant, int input_zero_point) {
    const Window &high = shape.high, &wide = shape.wide;
    const int outputs = shape.channels * shape.multiplier;
    const u32 items = (u32)shape.images * high.output * wide.output * outputs;
    for (u32 item = blockIdx.x * THREADS + threadIdx.x; item < items; item += gridDim.x * THREADS) {
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
                sum += (u32)((code - input_zero_point) * w[tw]);
            }
        }
        out[item] = (i8)code_of(requant, (int)sum, scale[output]);
    }
}
