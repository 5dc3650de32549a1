"""Small quantised ONNX models: the QDQ form, two QLinear operators and one float chain.

Graph inputs and outputs are codes where the model is quantised throughout, so that a comparison is of
integers. The opset is 18, which every current runtime reads.
"""

import numpy as np
from onnx import TensorProto, checker, helper, numpy_helper

OPSET, IR_VERSION = 18, 9
TYPES = {"int8": TensorProto.INT8, "uint8": TensorProto.UINT8, "float32": TensorProto.FLOAT, "int64": TensorProto.INT64}

CASES = {}


class Case:
    """One graph under construction; every method that adds a node returns the name of its result."""

    def __init__(self, name, seed):
        self.name = name
        self.random = np.random.default_rng([seed, *name.encode()])
        self.nodes, self.constants = [], []
        self.inputs, self.values, self.outputs = [], {}, []

    def constant(self, value, dtype):
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(value, dtype), name))
        return name

    def node(self, kind, inputs, **attributes):
        name = f"n{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [name], name=f"{kind}_{len(self.nodes)}", **attributes))
        return name

    def input(self, shape, dtype="int8", value=None):
        name = f"input{len(self.inputs)}"
        self.inputs.append(helper.make_tensor_value_info(name, TYPES[dtype], shape))
        if value is None and dtype == "float32":
            value = self.random.standard_normal(shape)
        elif value is None:
            limits = np.iinfo(dtype)
            value = self.random.integers(limits.min, limits.max, shape, dtype, endpoint=True)
        self.values[name] = np.asarray(value, dtype)
        return name

    def output(self, name, shape, dtype="int8"):
        self.nodes.append(helper.make_node("Identity", [name], [f"output{len(self.outputs)}"]))
        self.outputs.append(helper.make_tensor_value_info(f"output{len(self.outputs)}", TYPES[dtype], shape))

    def quantise(self, x, scale, zero_point, dtype="int8"):
        return self.node("QuantizeLinear", [x, self.constant(scale, "float32"), self.constant(zero_point, dtype)])

    def dequantise(self, x, scale, zero_point, dtype="int8", **attributes):
        return self.node("DequantizeLinear", [x, self.constant(scale, "float32"), self.constant(zero_point, dtype)], **attributes)

    def weights(self, shape, axis, input_scale, bias_length=None, dtype="int8"):
        """Dequantised random weights, and a bias when asked for; a scale per index of `axis`, one for None."""
        channels = 1 if axis is None else shape[axis]
        scale = self.random.uniform(0.004, 0.012, channels).astype(np.float32)
        zero_point = 0 if dtype == "int8" else 131
        codes = self.random.integers(-127 + (128 if dtype == "uint8" else 0), 128 + (128 if dtype == "uint8" else 0), shape)
        if axis is None:
            made = [self.dequantise(self.constant(codes, dtype), scale[0], zero_point, dtype)]
        else:
            made = [self.dequantise(self.constant(codes, dtype), scale, np.full(channels, zero_point), dtype, axis=axis)]
        if bias_length is not None:
            values = self.constant(self.random.integers(-20000, 20000, bias_length), "int32")
            bias_scale = np.float32(input_scale) * scale
            if axis is None:
                made.append(self.dequantise(values, bias_scale[0], 0, "int32"))
            else:
                made.append(self.dequantise(values, bias_scale, np.zeros(bias_length), "int32", axis=0))
        return made

    def finish(self):
        graph = helper.make_graph(self.nodes, self.name, self.inputs, self.outputs, self.constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
        model.producer_name = "tandem-tests"
        checker.check_model(model, full_check=True)
        return model.SerializeToString()


def case(function):
    CASES[function.__name__] = function
    return function


def output_scale(input_scale, depth):
    return np.float32(input_scale * 0.008 * np.sqrt(depth) * 74 * 73 * 3 / 128)


def conv(c, shape, weights, out_shape, axis=0, dtype="int8", zero_point=-7, out_zero_point=11, after=None, transpose=False, **attributes):
    scale = 0.0371
    outputs = out_shape[1]
    x = c.dequantise(c.input(shape, dtype), scale, zero_point, dtype)
    y = c.node("ConvTranspose" if transpose else "Conv", [x, *c.weights(weights, axis, scale, outputs)], **attributes)
    if after == "Relu":
        y = c.node("Relu", [y])
    elif after == "Clip":
        y = c.node("Clip", [y, c.constant(0, "float32"), c.constant(6, "float32")])
    depth = int(np.prod(weights[1:]))
    c.output(c.quantise(y, output_scale(scale, depth), out_zero_point, dtype), out_shape, dtype)


@case
def qdq_conv_per_channel(c):
    conv(c, [1, 3, 9, 8], [6, 3, 3, 3], [1, 6, 5, 4], pads=[1, 1, 1, 1], strides=[2, 2])


@case
def qdq_conv_uneven_pads(c):
    conv(c, [1, 3, 9, 8], [6, 3, 3, 3], [1, 6, 9, 9], pads=[0, 1, 2, 2])


@case
def qdq_conv_same_upper_relu(c):
    conv(c, [1, 4, 6, 7], [5, 4, 3, 3], [1, 5, 3, 4], after="Relu", out_zero_point=-128, auto_pad="SAME_UPPER", strides=[2, 2])


@case
def qdq_conv_u8_clip(c):
    conv(c, [1, 4, 6, 7], [5, 4, 3, 3], [1, 5, 6, 7], axis=None, dtype="uint8", zero_point=117, out_zero_point=40, after="Clip", pads=[1, 1, 1, 1])


@case
def qdq_conv_depthwise(c):
    conv(c, [1, 6, 7, 7], [6, 1, 3, 3], [1, 6, 7, 7], group=6, pads=[1, 1, 1, 1])


@case
def qdq_conv_grouped_dilated(c):
    conv(c, [1, 8, 9, 9], [6, 4, 3, 3], [1, 6, 5, 5], group=2, dilations=[2, 2])


@case
def qdq_conv_transpose(c):
    conv(c, [1, 4, 4, 5], [4, 3, 3, 3], [1, 3, 8, 10], axis=None, transpose=True, strides=[2, 2], pads=[0, 0, 1, 1])


@case
def qdq_matmul_constant(c):
    x = c.dequantise(c.input([5, 24], "uint8"), 0.021, 120, "uint8")
    y = c.node("MatMul", [x, *c.weights([24, 9], None, 0.021)])
    c.output(c.quantise(y, output_scale(0.021, 24), 133, "uint8"), [5, 9], "uint8")


@case
def qdq_matmul_per_column(c):
    x = c.dequantise(c.input([2, 3, 24]), 0.021, -5)
    y = c.node("MatMul", [x, *c.weights([24, 7], 1, 0.021)])
    c.output(c.quantise(y, output_scale(0.021, 24), 8), [2, 3, 7])


@case
def qdq_matmul_two_inputs(c):
    a = c.dequantise(c.input([2, 4, 16]), 0.021, -5)
    b = c.dequantise(c.input([2, 16, 6]), 0.008, 9)
    c.output(c.quantise(c.node("MatMul", [a, b]), output_scale(0.021, 16), 8), [2, 4, 6])


@case
def qdq_gemm_bias(c):
    x = c.dequantise(c.input([3, 20]), 0.021, -5)
    y = c.node("Gemm", [x, *c.weights([8, 20], None, 0.021, 8)], transB=1)
    c.output(c.quantise(y, output_scale(0.021, 20), 8), [3, 8])


def binary(c, kind, right_shape, out_scale, out_zero_point):
    a = c.dequantise(c.input([1, 5, 4, 6]), 0.031, 12)
    b = c.dequantise(c.input(right_shape), 0.0088, -33)
    c.output(c.quantise(c.node(kind, [a, b]), out_scale, out_zero_point), [1, 5, 4, 6])


@case
def qdq_add(c):
    binary(c, "Add", [1, 5, 4, 6], 0.034, -4)


@case
def qdq_add_broadcast(c):
    binary(c, "Add", [5, 1, 1], 0.034, -4)


@case
def qdq_mul(c):
    binary(c, "Mul", [1, 5, 4, 6], 0.021, 6)


@case
def qdq_concat_different_scales(c):
    parts = [c.dequantise(c.input([1, n, 3, 4]), s, z) for n, s, z in ((2, 0.031, 7), (5, 0.052, -10), (3, 0.011, 90))]
    c.output(c.quantise(c.node("Concat", parts, axis=1), 0.05, -4), [1, 10, 3, 4])


def pool(c, kind, out_shape, out_scale, out_zero_point, **attributes):
    x = c.dequantise(c.input([1, 5, 8, 7]), 0.0555, -20)
    c.output(c.quantise(c.node(kind, [x], **attributes), out_scale, out_zero_point), out_shape)


@case
def qdq_average_pool(c):
    pool(c, "AveragePool", [1, 5, 4, 3], 0.0231, 4, kernel_shape=[2, 2], strides=[2, 2])


@case
def qdq_average_pool_counts_padding(c):
    pool(c, "AveragePool", [1, 5, 4, 4], 0.0231, 4, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1], count_include_pad=1)


@case
def qdq_average_pool_skips_padding(c):
    pool(c, "AveragePool", [1, 5, 4, 4], 0.0231, 4, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])


@case
def qdq_global_average_pool(c):
    pool(c, "GlobalAveragePool", [1, 5, 1, 1], 0.0101, 4)


@case
def qdq_max_pool(c):
    pool(c, "MaxPool", [1, 5, 4, 4], 0.0555, -20, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])


def unary(c, kind, out_scale, out_zero_point, **attributes):
    """Every int8 code once."""
    x = c.dequantise(c.input([1, 256], value=np.arange(-128, 128).reshape(1, -1)), 0.0471, -9)
    c.output(c.quantise(c.node(kind, [x], **attributes), out_scale, out_zero_point), [1, 256])


@case
def qdq_sigmoid(c):
    unary(c, "Sigmoid", 1 / 256, -128)


@case
def qdq_leaky_relu(c):
    unary(c, "LeakyRelu", 0.035, -25, alpha=0.1)


@case
def qdq_softmax(c):
    x = c.dequantise(c.input([4, 11]), 0.0471, -9)
    c.output(c.quantise(c.node("Softmax", [x], axis=1), 1 / 256, -128), [4, 11])


@case
def qdq_rounding_ties(c):
    # Powers of two make exact halves, where QuantizeLinear rounds to even.
    x = c.dequantise(c.input([1, 3, 8, 8], value=c.random.integers(-25, 26, (1, 3, 8, 8))), 0.5, 3)
    codes = c.constant(c.random.integers(-3, 4, (4, 3, 3, 3)), "int8")
    w = c.dequantise(codes, [2.0**-3, 2.0**-4, 2.0**-5, 2.0**-6], [0, 0, 0, 0], axis=0)
    c.output(c.quantise(c.node("Conv", [x, w], pads=[1, 1, 1, 1]), 0.25, -2), [1, 4, 8, 8])


@case
def qdq_float_edges(c):
    # Float in, float out, two quantised layers between, as converters write it.
    x = c.input([1, 2, 6, 6], "float32")
    x = c.dequantise(c.quantise(x, 0.026, 3), 0.026, 3)
    y = c.node("Relu", [c.node("Conv", [x, *c.weights([4, 2, 3, 3], 0, 0.026, 4)], pads=[1, 1, 1, 1])])
    scale = output_scale(0.026, 18) / 2
    y = c.dequantise(c.quantise(y, scale, -128), scale, -128)
    flat = c.node("Flatten", [c.node("MaxPool", [y], kernel_shape=[2, 2], strides=[2, 2])])
    y = c.node("Gemm", [flat, *c.weights([5, 36], None, scale, 5)], transB=1)
    last = output_scale(scale, 36)
    c.output(c.dequantise(c.quantise(y, last, 5), last, 5), [1, 5], "float32")


@case
def qlinear_conv_per_channel(c):
    x = c.input([1, 3, 6, 6], "uint8")
    scale = c.constant(c.random.uniform(0.004, 0.012, 5), "float32")
    inputs = [
        x, c.constant(0.0371, "float32"), c.constant(117, "uint8"),
        c.constant(c.random.integers(-127, 128, (5, 3, 3, 3)), "int8"), scale, c.constant(np.zeros(5), "int8"),
        c.constant(output_scale(0.0371, 27), "float32"), c.constant(131, "uint8"),
        c.constant(c.random.integers(-9000, 9000, 5), "int32"),
    ]
    c.output(c.node("QLinearConv", inputs, pads=[1, 1, 1, 1]), [1, 5, 6, 6], "uint8")


@case
def qlinear_matmul(c):
    inputs = [
        c.input([4, 18], "uint8"), c.constant(0.021, "float32"), c.constant(120, "uint8"),
        c.constant(c.random.integers(0, 256, (18, 6)), "uint8"), c.constant(0.008, "float32"), c.constant(129, "uint8"),
        c.constant(output_scale(0.021, 18), "float32"), c.constant(131, "uint8"),
    ]
    c.output(c.node("QLinearMatMul", inputs), [4, 6], "uint8")


@case
def float_conv_norm_pool_gemm(c):
    def normal(*shape, scale=1.0):
        return c.constant(c.random.standard_normal(shape) * scale, "float32")

    y = c.node("Conv", [c.input([1, 2, 6, 6], "float32"), normal(4, 2, 3, 3)], pads=[1, 1, 1, 1])
    variance = c.constant(c.random.uniform(0.5, 2.0, 4), "float32")
    y = c.node("BatchNormalization", [y, normal(4), normal(4), normal(4), variance], epsilon=1e-3)
    y = c.node("MaxPool", [c.node("Relu", [y])], kernel_shape=[2, 2], strides=[2, 2])
    y = c.node("Gemm", [c.node("Flatten", [y]), normal(5, 36, scale=1 / 6), normal(5)], transB=1)
    c.output(c.node("Softmax", [y], axis=1), [1, 5], "float32")
