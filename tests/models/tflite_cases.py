"""Small TFLite models, one operator (or one short chain) each, with random weights.

A case is a function that receives a `Case` and returns nothing: it declares inputs, adds operators and
names outputs. Scales are chosen so that outputs use most of the code range and some of them saturate.
"""

import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "models" / "digits"))
from tflite_writer import ModelWriter, options, schema

RELU = schema.ActivationFunctionType.RELU
RELU6 = schema.ActivationFunctionType.RELU6
RELU_N1_TO_1 = schema.ActivationFunctionType.RELU_N1_TO_1
NONE = schema.ActivationFunctionType.NONE
SAME = schema.Padding.SAME
VALID = schema.Padding.VALID

CASES = {}


class Case:
    """One model under construction: its writer, its random numbers, its inputs with their values."""

    def __init__(self, name, seed):
        self.writer = ModelWriter(f"Tandem import test: {name}")
        # The name takes part in the seed, so that adding a case leaves the bytes of the others alone.
        self.random = np.random.default_rng([seed, *name.encode()])
        self.inputs, self.values, self.outputs = [], [], []

    def codes(self, shape, dtype=np.int8):
        """Random codes over the whole range, both ends present."""
        limits = np.iinfo(dtype)
        codes = self.random.integers(limits.min, limits.max, shape, dtype, endpoint=True)
        codes.reshape(-1)[:2] = (limits.min, limits.max)
        return codes

    def input(self, shape, scale=None, zero_point=0, dtype=np.int8, value=None):
        self.inputs.append(self.writer.tensor(f"input{len(self.inputs)}", shape, dtype, scale, zero_point))
        self.values.append(self.codes(shape, dtype) if value is None else np.asarray(value, dtype))
        return self.inputs[-1]

    def output(self, shape, scale=None, zero_point=0, dtype=np.int8):
        self.outputs.append(self.inner(shape, scale, zero_point, dtype))
        return self.outputs[-1]

    def inner(self, shape, scale=None, zero_point=0, dtype=np.int8):
        return self.writer.tensor(f"t{len(self.writer.tensors)}", shape, dtype, scale, zero_point)

    def ints(self, *values):
        """A constant vector of int32; with one bare int, a scalar."""
        value = np.array(values[0] if len(values) == 1 else values, np.int32)
        return self.writer.constant(f"c{len(self.writer.tensors)}", value)

    def op(self, kind, inputs, outputs, version=1, opts=None):
        self.writer.operator(kind, inputs, np.atleast_1d(outputs), version, opts)

    def weights(self, shape, axis, channels, input_scale, bias=True):
        """Int8 weights and int32 bias with a scale for each channel (or one when `axis` is None)."""
        codes = np.clip(self.codes(shape), -127, 127).astype(np.int8)
        scale = self.random.uniform(0.004, 0.012, 1 if axis is None else channels).astype(np.float32)
        made = [self.writer.constant("weights", codes, scale, 0, axis)]
        if bias:
            values = self.random.integers(-20000, 20000, channels, np.int32)
            made.append(self.writer.constant("bias", values, np.float32(input_scale) * scale, 0, None if axis is None else 0))
        return made


def case(function):
    CASES[function.__name__] = function
    return function


def output_scale(input_scale, depth):
    """An output scale at which a sum of `depth` uniform int8 products spans about three standard deviations."""
    return float(np.float32(input_scale * 0.008 * np.sqrt(depth) * 74 * 73 * 3 / 128))


def conv_options(kind="Conv2D", stride=(1, 1), dilation=(1, 1), padding=SAME, activation=NONE, **more):
    return options(
        kind, strideH=stride[0], strideW=stride[1], dilationHFactor=dilation[0], dilationWFactor=dilation[1],
        padding=padding, fusedActivationFunction=activation, **more,
    )


def conv(c, shape, kernel, out_shape, groups=1, zero_point=-7, out_zero_point=11, shrink=1.0, **opts):
    x = c.input(shape, 0.0371, zero_point)
    depth = shape[3] // groups
    weights = c.weights([out_shape[3], *kernel, depth], 0, out_shape[3], 0.0371)
    y = c.output(out_shape, output_scale(0.0371, kernel[0] * kernel[1] * depth) * shrink, out_zero_point)
    c.op("CONV_2D", [x, *weights], y, 3, conv_options(**opts))


@case
def conv_valid_5x3(c):
    conv(c, [1, 9, 8, 5], (5, 3), [1, 5, 6, 7], padding=VALID)


@case
def conv_same_stride2_relu6(c):
    # An even extent with stride 2 pads one row at the end only. Six is inside the code range.
    conv(c, [1, 8, 10, 3], (3, 3), [1, 4, 5, 9], stride=(2, 2), activation=RELU6, out_zero_point=-40)


@case
def conv_uneven_strides_clamp1(c):
    conv(c, [1, 7, 9, 4], (3, 2), [1, 4, 3, 5], stride=(2, 3), activation=RELU_N1_TO_1)


@case
def conv_dilated(c):
    conv(c, [1, 11, 10, 4], (3, 3), [1, 11, 10, 6], dilation=(2, 3), activation=RELU, out_zero_point=-128)


@case
def conv_grouped(c):
    conv(c, [1, 6, 6, 12], (3, 3), [1, 6, 6, 8], groups=4)


@case
def conv_batch2(c):
    conv(c, [2, 5, 6, 3], (3, 3), [2, 5, 6, 4])


@case
def conv_pointwise_stride2(c):
    conv(c, [1, 7, 7, 17], (1, 1), [1, 4, 4, 19], stride=(2, 2))


@case
def conv_upscaling_multiplier(c):
    # Weights times input scale above the output scale: the requantisation shifts left.
    x = c.input([1, 4, 16, 1], 0.0371, -7, value=c.random.integers(-40, 41, (1, 4, 16, 1)))
    scale = np.array([0.02, 0.013, 0.0071, 0.029], np.float32)
    weights = c.writer.constant("weights", np.array([1, -1, 2, 1], np.int8).reshape(4, 1, 1, 1), scale, 0, 0)
    bias = c.writer.constant("bias", np.array([3, -5, 0, 7], np.int32), np.float32(0.0371) * scale, 0, 0)
    c.op("CONV_2D", [x, weights, bias], c.output([1, 4, 16, 4], 0.00019, 0), 3, conv_options(padding=VALID))


# Multipliers that are powers of two make exact halves, the one place where every rounding rule shows:
# away from zero (tflref), to even (XNNPACK's float requantisation), up (integer single rounding).


@case
def conv_rounding_ties(c):
    x = c.input([1, 8, 8, 3], 0.5, 3, value=c.random.integers(-25, 26, (1, 8, 8, 3)))
    scale = np.array([2.0**-3, 2.0**-4, 2.0**-5, 2.0**-6], np.float32)
    weights = c.writer.constant("weights", c.random.integers(-3, 4, (4, 3, 3, 3)).astype(np.int8), scale, 0, 0)
    bias = c.writer.constant("bias", c.random.integers(-50, 50, 4, np.int32), np.float32(0.5) * scale, 0, 0)
    c.op("CONV_2D", [x, weights, bias], c.output([1, 8, 8, 4], 0.25, -2), 3, conv_options())


@case
def depthwise_rounding_ties(c):
    x = c.input([1, 8, 8, 4], 0.5, 3, value=c.random.integers(-25, 26, (1, 8, 8, 4)))
    scale = np.array([2.0**-2, 2.0**-3, 2.0**-4, 2.0**-5], np.float32)
    weights = c.writer.constant("weights", c.random.integers(-3, 4, (1, 3, 3, 4)).astype(np.int8), scale, 0, 3)
    bias = c.writer.constant("bias", c.random.integers(-50, 50, 4, np.int32), np.float32(0.5) * scale, 0, 0)
    opts = conv_options("DepthwiseConv2D", depthMultiplier=1)
    c.op("DEPTHWISE_CONV_2D", [x, weights, bias], c.output([1, 8, 8, 4], 0.25, -2), 3, opts)


@case
def dense_rounding_ties(c):
    x = c.input([16, 10], 0.5, 3, value=c.random.integers(-25, 26, (16, 10)))
    weights = c.writer.constant("weights", c.random.integers(-3, 4, (8, 10)).astype(np.int8), np.float32(2.0**-3))
    bias = c.writer.constant("bias", c.random.integers(-50, 50, 8, np.int32), np.float32(2.0**-4))
    c.op("FULLY_CONNECTED", [x, weights, bias], c.output([16, 8], 0.25, -2), 4, options("FullyConnected"))


@case
def dense_per_channel_rounding_ties(c):
    x = c.input([16, 10], 0.5, 3, value=c.random.integers(-25, 26, (16, 10)))
    scale = np.array([2.0**-2, 2.0**-3, 2.0**-4, 2.0**-5], np.float32)
    weights = c.writer.constant("weights", c.random.integers(-3, 4, (4, 10)).astype(np.int8), scale, 0, 0)
    bias = c.writer.constant("bias", c.random.integers(-50, 50, 4, np.int32), np.float32(0.5) * scale, 0, 0)
    c.op("FULLY_CONNECTED", [x, weights, bias], c.output([16, 4], 0.25, -2), 12, options("FullyConnected"))


@case
def conv_per_tensor_u8(c):
    x = c.input([1, 7, 6, 3], 0.0215, 117, np.uint8)
    weights = c.writer.constant("weights", c.codes([5, 3, 3, 3], np.uint8), np.float32(0.0083), 142)
    bias = c.writer.constant("bias", c.random.integers(-9000, 9000, 5, np.int32), np.float32(0.0215) * np.float32(0.0083))
    y = c.output([1, 7, 6, 5], output_scale(0.0215, 27), 131, np.uint8)
    c.op("CONV_2D", [x, weights, bias], y, 1, conv_options(activation=RELU6))


@case
def depthwise_per_tensor_u8(c):
    x = c.input([1, 7, 6, 6], 0.0215, 117, np.uint8)
    weights = c.writer.constant("weights", c.codes([1, 3, 3, 6], np.uint8), np.float32(0.0083), 120)
    bias = c.writer.constant("bias", c.random.integers(-9000, 9000, 6, np.int32), np.float32(0.0215) * np.float32(0.0083))
    y = c.output([1, 4, 3, 6], output_scale(0.0215, 9), 131, np.uint8)
    opts = conv_options("DepthwiseConv2D", stride=(2, 2), depthMultiplier=1)
    c.op("DEPTHWISE_CONV_2D", [x, weights, bias], y, 1, opts)


def depthwise(c, shape, kernel, out_shape, multiplier, **opts):
    x = c.input(shape, 0.0294, 5)
    weights = c.weights([1, *kernel, out_shape[3]], 3, out_shape[3], 0.0294)
    y = c.output(out_shape, output_scale(0.0294, kernel[0] * kernel[1]), -9)
    c.op("DEPTHWISE_CONV_2D", [x, *weights], y, 3, conv_options("DepthwiseConv2D", depthMultiplier=multiplier, **opts))


@case
def depthwise_multiplier2(c):
    depthwise(c, [1, 7, 8, 5], (3, 3), [1, 7, 8, 10], 2)


@case
def depthwise_multiplier8_one_channel(c):
    depthwise(c, [1, 12, 5, 1], (10, 4), [1, 6, 3, 8], 8, stride=(2, 2), activation=RELU)


@case
def depthwise_dilated_valid(c):
    depthwise(c, [1, 9, 9, 6], (3, 3), [1, 5, 5, 6], 1, dilation=(2, 2), padding=VALID)


def transpose_conv(c, shape, kernel, out_shape, stride, padding, bias):
    x = c.input(shape, 0.0312, -3)
    weights = c.weights([out_shape[3], *kernel, shape[3]], 0, out_shape[3], 0.0312, bias)
    y = c.output(out_shape, output_scale(0.0312, kernel[0] * kernel[1] * shape[3] / (stride * stride)), 4)
    opts = options("TransposeConv", padding=padding, strideH=stride, strideW=stride)
    c.op("TRANSPOSE_CONV", [c.ints(*out_shape), weights[0], x, *weights[1:]], y, 3 if bias else 2, opts)


@case
def transpose_conv_same_stride2(c):
    transpose_conv(c, [1, 4, 5, 6], (3, 3), [1, 8, 10, 4], 2, SAME, True)


@case
def transpose_conv_valid_no_bias(c):
    transpose_conv(c, [1, 3, 4, 5], (2, 3), [1, 6, 9, 3], 2, VALID, False)


def dense(c, shape, outputs, axis, bias, activation, version, keep=False):
    x = c.input(shape, 0.0198, 21)
    weights = c.weights([outputs, shape[-1]], axis, outputs, 0.0198, bias)
    y = c.output([*shape[:-1], outputs], output_scale(0.0198, shape[-1]), -15)
    if not bias:
        weights.append(-1)
    opts = options("FullyConnected", fusedActivationFunction=activation, keepNumDims=keep)
    c.op("FULLY_CONNECTED", [x, *weights], y, version, opts)


@case
def dense_batch3(c):
    dense(c, [3, 37], 11, None, True, NONE, 4)


@case
def dense_no_bias_relu(c):
    dense(c, [1, 64], 18, None, False, RELU, 6)


@case
def dense_per_channel(c):
    dense(c, [2, 33], 9, 0, True, NONE, 12)


@case
def dense_keeps_dimensions(c):
    dense(c, [1, 2, 3, 16], 5, None, True, NONE, 5, keep=True)


def pool(c, kind, shape, size, stride, padding, out_shape, activation=NONE, zero_point=-20):
    x = c.input(shape, 0.0555, zero_point)
    y = c.output(out_shape, 0.0555, zero_point)
    opts = options(
        "Pool2D", padding=padding, strideH=stride[0], strideW=stride[1], filterHeight=size[0], filterWidth=size[1],
        fusedActivationFunction=activation,
    )
    c.op(kind, [x], y, 2, opts)


@case
def max_pool_same_3x3(c):
    pool(c, "MAX_POOL_2D", [1, 8, 7, 5], (3, 3), (2, 2), SAME, [1, 4, 4, 5])


@case
def max_pool_valid_2x3_relu6(c):
    pool(c, "MAX_POOL_2D", [1, 7, 9, 17], (2, 3), (1, 2), VALID, [1, 6, 4, 17], RELU6, -70)


@case
def average_pool_same_3x3(c):
    # The divisor at the border counts only the pixels inside.
    pool(c, "AVERAGE_POOL_2D", [1, 8, 7, 5], (3, 3), (2, 2), SAME, [1, 4, 4, 5])


@case
def average_pool_valid_5x4(c):
    pool(c, "AVERAGE_POOL_2D", [1, 5, 9, 18], (5, 4), (1, 1), VALID, [1, 1, 6, 18], RELU)


def mean(c, shape, axes, keep, out_shape, out_scale, out_zero_point):
    x = c.input(shape, 0.047, -12)
    y = c.output(out_shape, out_scale, out_zero_point)
    c.op("MEAN", [x, c.ints(axes)], y, 2, options("Reducer", keepDims=keep))


@case
def mean_global_average(c):
    mean(c, [1, 7, 6, 10], [1, 2], True, [1, 1, 1, 10], 0.0113, 3)


@case
def mean_global_average_flat_same_scale(c):
    mean(c, [1, 4, 4, 20], [1, 2], False, [1, 20], 0.047, -12)


@case
def mean_over_channels(c):
    mean(c, [1, 3, 4, 9], [3], False, [1, 3, 4], 0.02, 0)


@case
def concat_same_scale(c):
    parts = [c.input([1, 3, 4, n], 0.031, 7) for n in (5, 1, 3)]
    opts = options("Concatenation", axis=-1, fusedActivationFunction=NONE)
    c.op("CONCATENATION", parts, c.output([1, 3, 4, 9], 0.031, 7), 2, opts)


@case
def concat_different_scales_u8(c):
    # The int8 kernel insists on equal scales; the uint8 kernel rescales each input.
    parts = [c.input([1, 3, 4, n], s, z, np.uint8) for n, s, z in ((5, 0.031, 7), (2, 0.052, 130), (3, 0.011, 90))]
    opts = options("Concatenation", axis=3, fusedActivationFunction=NONE)
    c.op("CONCATENATION", parts, c.output([1, 3, 4, 10], 0.052, 130, np.uint8), 1, opts)


@case
def concat_after_requantise(c):
    a, b = c.input([1, 3, 4, 5], 0.031, 7), c.input([1, 2, 4, 5], 0.014, -60)
    same = c.inner([1, 2, 4, 5], 0.031, 7)
    c.op("QUANTIZE", [b], same, 2, options("Quantize"))
    opts = options("Concatenation", axis=1, fusedActivationFunction=NONE)
    c.op("CONCATENATION", [a, same], c.output([1, 5, 4, 5], 0.031, 7), 2, opts)


@case
def split_three(c):
    x = c.input([1, 3, 4, 9], 0.02, 1)
    parts = [c.output([1, 3, 4, 3], 0.02, 1) for _ in range(3)]
    c.op("SPLIT", [c.ints(3), x], parts, 2, options("Split", numSplits=3))


@case
def split_v_uneven(c):
    x = c.input([1, 7, 3, 4], 0.02, 1)
    parts = [c.output([1, n, 3, 4], 0.02, 1) for n in (2, 4, 1)]
    c.op("SPLIT_V", [x, c.ints(2, 4, 1), c.ints(1)], parts, 2, options("SplitV", numSplits=3))


@case
def slice_rest(c):
    x = c.input([1, 6, 7, 5], 0.02, 1)
    c.op("SLICE", [x, c.ints(0, 2, 1, 3), c.ints(1, 3, -1, 2)], c.output([1, 3, 6, 2], 0.02, 1), 2, options("Slice"))


@case
def strided_slice_masks(c):
    # Row steps of two from the start, columns backwards to the end of the mask, one channel taken out.
    x = c.input([1, 7, 6, 4], 0.02, 1)
    opts = options("StridedSlice", beginMask=0b0011, endMask=0b0111, ellipsisMask=0, newAxisMask=0, shrinkAxisMask=0b1000)
    bounds = [c.ints(0, 0, 4, -2), c.ints(0, 0, 0, -1), c.ints(1, 2, -1, 1)]
    c.op("STRIDED_SLICE", [x, *bounds], c.output([1, 4, 5], 0.02, 1), 2, opts)


@case
def pad_zero_point(c):
    x = c.input([1, 4, 5, 3], 0.02, 17)
    amounts = c.writer.constant("amounts", np.array([[0, 0], [1, 2], [3, 0], [0, 1]], np.int32))
    c.op("PAD", [x, amounts], c.output([1, 7, 8, 4], 0.02, 17), 2, options("Pad"))


@case
def pad_value(c):
    x = c.input([1, 4, 5, 3], 0.02, 17)
    amounts = c.writer.constant("amounts", np.array([[0, 0], [1, 1], [0, 2], [0, 0]], np.int32))
    value = c.writer.constant("value", np.array([-99], np.int8), 0.02, 17)
    c.op("PADV2", [x, amounts, value], c.output([1, 6, 7, 3], 0.02, 17), 2, options("PadV2"))


@case
def pad_then_conv_valid(c):
    x = c.input([1, 6, 6, 4], 0.0371, -30)
    amounts = c.writer.constant("amounts", np.array([[0, 0], [1, 0], [1, 0], [0, 0]], np.int32))
    padded = c.inner([1, 7, 7, 4], 0.0371, -30)
    c.op("PAD", [x, amounts], padded, 2, options("Pad"))
    y = c.output([1, 3, 3, 6], output_scale(0.0371, 36), 0)
    c.op("CONV_2D", [padded, *c.weights([6, 3, 3, 4], 0, 6, 0.0371)], y, 3, conv_options(stride=(2, 2), padding=VALID))


def resize(c, kind, shape, size, align, half):
    x = c.input(shape, 0.02, -5)
    opts = options({"RESIZE_BILINEAR": "ResizeBilinear", "RESIZE_NEAREST_NEIGHBOR": "ResizeNearestNeighbor"}[kind])
    opts.alignCorners, opts.halfPixelCenters = align, half
    c.op(kind, [x, c.ints(*size)], c.output([1, *size, shape[3]], 0.02, -5), 3, opts)


@case
def resize_nearest_double(c):
    resize(c, "RESIZE_NEAREST_NEIGHBOR", [1, 4, 5, 3], (8, 10), False, False)


@case
def resize_nearest_half_pixel(c):
    resize(c, "RESIZE_NEAREST_NEIGHBOR", [1, 5, 7, 3], (8, 4), False, True)


@case
def resize_nearest_align_corners(c):
    resize(c, "RESIZE_NEAREST_NEIGHBOR", [1, 4, 5, 3], (7, 9), True, False)


@case
def resize_bilinear_plain(c):
    resize(c, "RESIZE_BILINEAR", [1, 4, 5, 3], (9, 7), False, False)


@case
def resize_bilinear_half_pixel(c):
    resize(c, "RESIZE_BILINEAR", [1, 4, 5, 3], (8, 10), False, True)


@case
def resize_bilinear_align_corners(c):
    resize(c, "RESIZE_BILINEAR", [1, 4, 5, 3], (7, 9), True, False)


def unary(c, kind, scale, zero_point, out_scale, out_zero_point, version=2, opts=None):
    """Every int8 code once."""
    x = c.input([1, 4, 8, 8], scale, zero_point, value=np.arange(-128, 128).reshape(1, 4, 8, 8))
    c.op(kind, [x], c.output([1, 4, 8, 8], out_scale, out_zero_point), version, opts)


@case
def relu(c):
    unary(c, "RELU", 0.041, 9, 0.0305, -128)


@case
def relu_same_scale(c):
    unary(c, "RELU", 0.041, 9, 0.041, 9)


@case
def relu6(c):
    unary(c, "RELU6", 0.083, -11, 6 / 255, -128)


@case
def leaky_relu(c):
    unary(c, "LEAKY_RELU", 0.041, 9, 0.035, -25, opts=options("LeakyRelu", alpha=0.1))


@case
def hard_swish(c):
    unary(c, "HARD_SWISH", 0.07, -8, 0.041, -120, version=1, opts=options("HardSwish"))


@case
def logistic(c):
    unary(c, "LOGISTIC", 0.0627, 14, 1 / 256, -128)


@case
def tanh(c):
    unary(c, "TANH", 0.0315, -6, 1 / 128, 0)


def binary(c, kind, left, right, out_shape, out, table, activation=NONE):
    a, b = c.input(*left), c.input(*right)
    c.op(kind, [a, b], c.output(out_shape, *out), 2, options(table, fusedActivationFunction=activation))


@case
def add_different_scales(c):
    binary(c, "ADD", ([1, 5, 6, 7], 0.031, 12), ([1, 5, 6, 7], 0.0088, -33), [1, 5, 6, 7], (0.034, -4), "Add")


@case
def add_broadcast_relu(c):
    binary(c, "ADD", ([1, 5, 6, 7], 0.031, 12), ([1, 1, 1, 7], 0.042, -3), [1, 5, 6, 7], (0.04, -128), "Add", RELU)


@case
def add_rounding_ties(c):
    binary(c, "ADD", ([1, 5, 6, 7], 0.25, 12), ([1, 5, 6, 7], 0.5, -33), [1, 5, 6, 7], (1.0, -4), "Add")


@case
def mul_rounding_ties(c):
    binary(c, "MUL", ([1, 5, 6, 7], 0.25, 12), ([1, 5, 6, 7], 0.25, -33), [1, 5, 6, 7], (4.0, -4), "Mul")


@case
def sub(c):
    binary(c, "SUB", ([1, 5, 6, 7], 0.031, 12), ([1, 5, 6, 7], 0.027, -33), [1, 5, 6, 7], (0.045, 6), "Sub")


@case
def mul(c):
    binary(c, "MUL", ([1, 5, 6, 7], 0.031, 12), ([1, 5, 6, 7], 0.027, -33), [1, 5, 6, 7], (0.07, 6), "Mul")


@case
def mul_by_channel_gate(c):
    binary(c, "MUL", ([1, 5, 6, 7], 0.031, 12), ([1, 1, 1, 7], 1 / 256, -128), [1, 5, 6, 7], (0.028, 12), "Mul")


@case
def quantise_f32_to_i8(c):
    # Ends, ties in both directions and values outside the range.
    steps = np.concatenate([np.arange(-140, 140, 2.5), [-0.0, 1e9, -1e9, 0.5, -0.5, 1.5]]).astype(np.float32)
    x = c.input([1, len(steps)], dtype=np.float32, value=(steps * np.float32(0.0625)).reshape(1, -1))
    c.op("QUANTIZE", [x], c.output([1, len(steps)], 0.0625, 3), 1, options("Quantize"))


@case
def quantise_i8_to_i8(c):
    unary(c, "QUANTIZE", 0.0411, 19, 0.0573, -34, opts=options("Quantize"))


@case
def quantise_u8_to_i8(c):
    x = c.input([1, 256], 0.0078, 128, np.uint8, np.arange(256).reshape(1, -1))
    c.op("QUANTIZE", [x], c.output([1, 256], 0.0078, 0), 2, options("Quantize"))


@case
def dequantise_i8(c):
    x = c.input([1, 256], 0.0371, -19, value=np.arange(-128, 128).reshape(1, -1))
    c.op("DEQUANTIZE", [x], c.output([1, 256], dtype=np.float32), 2, options("Dequantize"))


@case
def argmax_channels(c):
    # Few distinct codes, so that ties occur: the first wins.
    x = c.input([1, 5, 6, 9], 0.02, 0, value=c.random.integers(-3, 4, (1, 5, 6, 9)))
    y = c.output([1, 5, 6], dtype=np.int32)
    c.op("ARG_MAX", [x, c.ints(3)], y, 2, options("ArgMax", outputType=schema.TensorType.INT32))


@case
def transpose_rotate(c):
    x = c.input([2, 3, 4, 5], 0.02, 0)
    c.op("TRANSPOSE", [x, c.ints(0, 3, 1, 2)], c.output([2, 5, 3, 4], 0.02, 0), 2, options("Transpose"))


@case
def softmax_batch4_beta2(c):
    x = c.input([4, 13], 0.0611, 20)
    c.op("SOFTMAX", [x], c.output([4, 13], 1 / 256, -128), 2, options("Softmax", beta=2.0))


@case
def float_conv_pool_dense(c):
    x = c.input([1, 6, 6, 2], dtype=np.float32, value=c.random.standard_normal((1, 6, 6, 2)))
    weights = c.writer.constant("w", c.random.standard_normal((4, 3, 3, 2)).astype(np.float32))
    bias = c.writer.constant("b", c.random.standard_normal(4).astype(np.float32))
    y = c.inner([1, 6, 6, 4], dtype=np.float32)
    c.op("CONV_2D", [x, weights, bias], y, 1, conv_options(activation=RELU))
    pooled = c.inner([1, 3, 3, 4], dtype=np.float32)
    c.op("AVERAGE_POOL_2D", [y], pooled, 1, options("Pool2D", strideH=2, strideW=2, filterHeight=2, filterWidth=2, padding=VALID))
    flat = c.inner([1, 36], dtype=np.float32)
    c.op("RESHAPE", [pooled, c.ints(1, 36)], flat, 1, options("Reshape", newShape=np.array([1, 36], np.int32)))
    matrix = c.writer.constant("m", c.random.standard_normal((5, 36)).astype(np.float32) / 6)
    scores = c.inner([1, 5], dtype=np.float32)
    c.op("FULLY_CONNECTED", [flat, matrix, -1], scores, 6, options("FullyConnected"))
    c.op("SOFTMAX", [scores], c.output([1, 5], dtype=np.float32), 1, options("Softmax", beta=1.0))
