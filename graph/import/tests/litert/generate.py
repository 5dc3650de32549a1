"""Makes cases.tar.gz: TFLite models of one operator each, with inputs and the outputs of LiteRT's reference kernels.

    python generate.py        (packages: models/digits/requirements.txt)

A case is a folder in the archive: model.tflite, inN.bin and outN.bin (packed little-endian). Operators that the
reference resolver lacks run on LiteRT's optimised kernels.
"""

import gzip
import io
import sys
import tarfile
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[3] / "models" / "digits"))
from tflite_writer import ModelWriter, TENSOR_TYPES, options, run, schema  # noqa: E402

TENSOR_TYPES[np.dtype(np.int16)] = schema.TensorType.INT16
TENSOR_TYPES[np.dtype(np.float16)] = schema.TensorType.FLOAT16
F32, I32, I64, I16, I8, U8, BOOL = np.float32, np.int32, np.int64, np.int16, np.int8, np.uint8, np.bool_
SAME, VALID = schema.Padding.SAME, schema.Padding.VALID

archive = {}


class Case:
    """A model under construction, with random numbers that depend on its name alone."""

    def __init__(self, name):
        self.name = name
        self.writer = ModelWriter(name)
        self.random = np.random.default_rng([*name.encode()])
        self.inputs, self.values, self.outputs = [], [], []

    def reals(self, shape, low=-3, high=3):
        return self.random.uniform(low, high, shape).astype(F32)

    def codes(self, shape, dtype):
        limits = np.iinfo(dtype)
        return self.random.integers(limits.min, limits.max, shape, dtype, endpoint=True)

    def input(self, value, scale=None, zero=0):
        value = np.asarray(value)
        self.inputs.append(self.writer.tensor(f"in{len(self.inputs)}", value.shape, value.dtype, scale, zero))
        self.values.append(value)
        return self.inputs[-1]

    def constant(self, value, *quant):
        return self.writer.constant(f"c{len(self.writer.tensors)}", np.asarray(value), *quant)

    def ints(self, value):
        return self.constant(np.asarray(value, I32))

    def inner(self, shape, dtype=F32, scale=None, zero=0):
        return self.writer.tensor(f"t{len(self.writer.tensors)}", shape, dtype, scale, zero)

    def output(self, shape, dtype=F32, scale=None, zero=0):
        self.outputs.append(self.inner(shape, dtype, scale, zero))
        return self.outputs[-1]

    def op(self, kind, inputs, outputs, opts=None, version=1):
        self.writer.operator(kind, inputs, outputs if isinstance(outputs, list) else [outputs], version, opts)

    def finish(self):
        model = self.writer.finish(self.inputs, self.outputs)
        try:
            results = run(model, "tflref", [self.values])[0]
        except (ValueError, RuntimeError):
            results = run(model, "xnnpack", [self.values])[0]
        archive[f"{self.name}/model.tflite"] = model
        for stem, arrays in (("in", self.values), ("out", results)):
            for i, array in enumerate(arrays):
                archive[f"{self.name}/{stem}{i}.bin"] = np.ascontiguousarray(array).tobytes()


def unary(name, kind, value=None, opts=None, version=1, **ends):
    """`ends`: x and y give (scale, zero point) of quantised operand and result; dtype, out are their dtypes."""
    c = Case(name)
    dtype = ends.get("dtype", F32)
    if value is None:
        value = c.reals((2, 3, 4)) if dtype is F32 else c.codes((2, 4, 32), dtype)
    x = c.input(value, *ends.get("x", ()))
    y = c.output(np.shape(value), ends.get("out", np.asarray(value).dtype), *ends.get("y", ()))
    c.op(kind, [x], y, opts, version)
    c.finish()


def binary(name, kind, a, b, opts=None, version=1, out=None, quant=((), (), ())):
    c = Case(name)
    a, b = (v(c) if callable(v) else np.asarray(v, BOOL if kind.startswith("LOGICAL") else I32) for v in (a, b))
    x, y = c.input(a, *quant[0]), c.input(b, *quant[1])
    c.op(kind, [x, y], c.output(np.broadcast_shapes(a.shape, b.shape), out or a.dtype, *quant[2]), opts, version)
    c.finish()


def layout(name, kind, shape, operands, out, opts=None, version=1, dtype=F32, quant=()):
    c = Case(name)
    x = c.input(c.reals(shape) if dtype is F32 else c.codes(shape, dtype), *quant)
    c.op(kind, [x, *(c.ints(o) for o in operands)], c.output(out, dtype, *quant), opts, version)
    c.finish()


def window(name, kind, shape, weights, out, opts, version=1):
    c = Case(name)
    x, w, b = c.input(c.reals(shape)), c.constant(c.reals(weights)), c.constant(c.reals(out[-1:]))
    operands = [c.ints(out), w, x, b] if kind == "TRANSPOSE_CONV" else [x, w, b]
    c.op(kind, operands, c.output(out), opts, version)
    c.finish()


def elementwise():
    for kind in (
        "RELU RELU6 RELU_N1_TO_1 RELU_0_TO_1 LOGISTIC TANH EXP ABS NEG SIN COS FLOOR CEIL ROUND SIGN ELU HARD_SWISH SQUARE"
    ).split():
        unary(f"f32_{kind.lower()}", kind)
    for kind in ("LOG", "SQRT", "RSQRT"):
        unary(f"f32_{kind.lower()}", kind, np.linspace(0.1, 9, 24, dtype=F32))
    unary("f32_leaky_relu", "LEAKY_RELU", opts=options("LeakyRelu", alpha=0.2))
    unary("f32_gelu", "GELU", opts=options("Gelu", approximate=False))
    unary("f32_gelu_tanh", "GELU", opts=options("Gelu", approximate=True))
    unary("f32_softmax_beta", "SOFTMAX", opts=options("Softmax", beta=0.7))
    unary("f32_log_softmax", "LOG_SOFTMAX")
    unary("f32_l2_normalization", "L2_NORMALIZATION", opts=options("L2Norm"))
    unary("bool_not", "LOGICAL_NOT", np.array([True, False, True]))
    unary("i32_abs", "ABS", np.array([-3, 4, 0], I32))
    unary("i32_neg", "NEG", np.array([-3, 4, 0], I32))
    for name, value, out in (
        ("f32_i32", np.array([1.5, -2.7, 0.2], F32), I32), ("i32_f32", np.array([5, -7], I32), F32),
        ("bool_f32", np.array([True, False]), F32), ("f32_bool", np.array([0, 0.5, -1], F32), BOOL),
        ("i32_i64", np.array([5, -7], I32), I64),
    ):
        unary(f"cast_{name}", "CAST", value, options("Cast"), out=out)

    def real(shape, low=-3):
        return lambda c: c.reals(shape, low)

    def small(shape):
        return lambda c: c.random.integers(-3, 4, shape).astype(I32)

    for kind, table in (("ADD", "Add"), ("SUB", "Sub"), ("MUL", "Mul"), ("DIV", "Div")):
        binary(f"f32_{kind.lower()}", kind, real((2, 3, 4)), real((3, 1)), options(table))
        relu6 = options(table, fusedActivationFunction=schema.ActivationFunctionType.RELU6)
        binary(f"f32_{kind.lower()}_relu6", kind, real((2, 3, 4)), real((4,)), relu6)
        binary(f"i32_{kind.lower()}", kind, [[50, -49, 7], [8, 9, -1]], [[3, -7, 5]], options(table))
    for kind in ("MINIMUM", "MAXIMUM", "SQUARED_DIFFERENCE", "PRELU"):
        binary(f"f32_{kind.lower()}", kind, real((2, 3, 4)), real((4,)))
    for kind in ("FLOOR_DIV", "FLOOR_MOD"):
        binary(f"f32_{kind.lower()}", kind, real((2, 3, 4)), real((4,)), version=2)
    unary("f32_zeros_like", "ZEROS_LIKE")
    binary("f32_pow", "POW", real((2, 3), 0.1), real((2, 3)))
    for kind in ("EQUAL", "NOT_EQUAL", "LESS", "LESS_EQUAL", "GREATER", "GREATER_EQUAL"):
        binary(f"i32_{kind.lower()}", kind, small((3, 5)), small((5,)), out=BOOL)
    for kind in ("LOGICAL_AND", "LOGICAL_OR"):
        binary(f"bool_{kind.lower()}", kind, [True, False, True, False], [True, True, False, False])
    for name, kind, shape in (("select", "SELECT", (3, 4)), ("select_rows", "SELECT", (3,)), ("select_v2", "SELECT_V2", (4,))):
        c = Case(name)
        operands = [c.input(c.random.integers(0, 2, shape).astype(BOOL)), c.input(c.reals((3, 4))), c.input(c.reals((3, 4)))]
        c.op(kind, operands, c.output((3, 4)))
        c.finish()
    c = Case("f32_add_n")
    c.op("ADD_N", [c.input(c.reals((2, 3))) for _ in range(3)], c.output((2, 3)))
    c.finish()


def reductions():
    for kind in ("MEAN", "SUM", "REDUCE_MAX", "REDUCE_MIN", "REDUCE_PROD"):
        layout(f"f32_{kind.lower()}", kind, (2, 3, 4, 5), [[1, -1]], (2, 4), options("Reducer", keepDims=False))
        layout(f"f32_{kind.lower()}_keep", kind, (2, 3, 4, 5), [[2]], (2, 3, 1, 5), options("Reducer", keepDims=True))
    for kind, dtype in (("ARG_MAX", I64), ("ARG_MIN", I32)):
        c = Case(kind.lower())
        opts = options(kind.title().replace("_", ""), outputType=TENSOR_TYPES[np.dtype(dtype)])
        c.op(kind, [c.input(c.reals((2, 5, 3))), c.ints(1)], c.output((2, 3), dtype), opts)
        c.finish()
    layout("cumsum", "CUMSUM", (2, 5), [1], (2, 5), options("Cumsum"))
    layout("cumsum_exclusive_reverse", "CUMSUM", (2, 5), [1], (2, 5), options("Cumsum", exclusive=True, reverse=True))


def layouts():
    layout("reshape", "RESHAPE", (2, 3, 4), [[4, -1]], (4, 6))
    layout("reshape_by_options", "RESHAPE", (2, 3, 4), [], (3, 8), options("Reshape", newShape=np.array([3, -1], I32)))
    for name, axes, out in (("squeeze", [], (3, 2)), ("squeeze_one", [-2], (1, 3, 2))):
        layout(name, "SQUEEZE", (1, 3, 1, 2), [], out, options("Squeeze", squeezeDims=np.array(axes, I32)))
    layout("expand_dims_front", "EXPAND_DIMS", (3, 2), [0], (1, 3, 2))
    layout("expand_dims_back", "EXPAND_DIMS", (3, 2), [-1], (3, 2, 1))
    layout("transpose", "TRANSPOSE", (2, 3, 4), [[2, 0, 1]], (4, 2, 3))
    layout("transpose_5", "TRANSPOSE", (1, 2, 3, 2, 2), [[4, 0, 3, 1, 2]], (2, 1, 2, 2, 3))
    layout("reverse", "REVERSE_V2", (2, 3, 4), [[1]], (2, 3, 4))
    layout("tile", "TILE", (2, 3), [[2, 3]], (4, 9))
    layout("broadcast_to", "BROADCAST_TO", (3, 1), [[2, 3, 4]], (2, 3, 4), version=3)
    layout("pad", "PAD", (2, 3, 2), [[[0, 1], [2, 0], [1, 1]]], (3, 5, 4))
    layout("mirror_pad_reflect", "MIRROR_PAD", (3, 4), [[[1, 2], [2, 1]]], (6, 7), options("MirrorPad", mode=0))
    layout("mirror_pad_symmetric", "MIRROR_PAD", (3, 4), [[[1, 2], [2, 1]]], (6, 7), options("MirrorPad", mode=1))
    layout("slice", "SLICE", (4, 5, 6), [[1, 0, 2], [2, -1, 3]], (2, 5, 3))
    for name, begin, end, step, out, masks in (
        ("plain", [1, 0], [4, 5], [2, 1], (2, 5), {}),
        ("backwards", [-1, -1], [0, -6], [-1, -2], (5, 3), {"endMask": 1}),
        ("shrink", [2, 1], [3, 4], [1, 1], (3,), {"shrinkAxisMask": 1}),
        ("masks", [1, 1], [1, 1], [1, 1], (5, 4), {"beginMask": 1, "endMask": 3}),
        ("ellipsis", [0, 1], [0, 3], [1, 1], (5, 2), {"ellipsisMask": 1}),
        ("new_axis", [0, 0, 1], [0, 5, 3], [1, 1, 1], (1, 5, 2), {"newAxisMask": 1}),
        ("beyond_the_end", [-9, 2], [99, 99], [1, 1], (5, 3), {}),
        ("offset", [1, 2], [2, 3], [1, 1], (2, 3), {"offset": True}),
    ):
        version = 8 if "offset" in masks else 4
        layout(f"strided_slice_{name}", "STRIDED_SLICE", (5, 5), [begin, end, step], out, options("StridedSlice", **masks), version)
    layout("space_to_depth", "SPACE_TO_DEPTH", (1, 4, 6, 3), [], (1, 2, 3, 12), options("SpaceToDepth", blockSize=2))
    layout("depth_to_space", "DEPTH_TO_SPACE", (1, 2, 3, 12), [], (1, 4, 6, 3), options("DepthToSpace", blockSize=2))
    layout("space_to_batch", "SPACE_TO_BATCH_ND", (1, 4, 5, 2), [[2, 3], [[0, 0], [0, 1]]], (6, 2, 2, 2))
    layout("space_to_batch_one_axis", "SPACE_TO_BATCH_ND", (2, 6, 2), [[2], [[1, 1]]], (4, 4, 2))
    layout("batch_to_space", "BATCH_TO_SPACE_ND", (6, 2, 2, 2), [[2, 3], [[0, 1], [1, 0]]], (1, 3, 5, 2))
    layout("gather", "GATHER", (4, 3), [[[3, 0], [1, 1]]], (2, 2, 3), options("Gather", axis=0))
    layout("gather_axis_1", "GATHER", (2, 4, 3), [[2, 0]], (2, 2, 3), options("Gather", axis=1))
    for kind, table in (("RESIZE_BILINEAR", "ResizeBilinear"), ("RESIZE_NEAREST_NEIGHBOR", "ResizeNearestNeighbor")):
        for name, flags in (("plain", {}), ("aligned", {"alignCorners": True}), ("half_pixel", {"halfPixelCenters": True})):
            for size in ((7, 9), (2, 3), (8, 10)):
                case = f"{kind.lower()}_{name}_{size[0]}"
                layout(case, kind, (1, 4, 5, 2), [size], (1, *size, 2), options(table, **flags), 3)

    c = Case("pad_v2")
    c.op("PADV2", [c.input(c.reals((2, 3))), c.ints([[1, 0], [0, 2]]), c.constant(np.array([7.5], F32))], c.output((3, 5)))
    c.finish()
    c = Case("concatenation")
    c.op("CONCATENATION", [c.input(c.reals((2, 3, n))) for n in (2, 4)], c.output((2, 3, 6)), options("Concatenation", axis=-1))
    c.finish()
    c = Case("split")
    c.op("SPLIT", [c.ints(1), c.input(c.reals((2, 6)))], [c.output((2, 2)) for _ in range(3)], options("Split", numSplits=3))
    c.finish()
    c = Case("split_v")
    x = c.input(c.reals((2, 6)))
    parts = [c.output((2, n)) for n in (1, 3, 2)]
    c.op("SPLIT_V", [x, c.ints([1, -1, 2]), c.ints(-1)], parts, options("SplitV", numSplits=3))
    c.finish()
    c = Case("unpack")
    c.op("UNPACK", [c.input(c.reals((2, 3, 2)))], [c.output((2, 2)) for _ in range(3)], options("Unpack", num=3, axis=-2))
    c.finish()
    c = Case("pack")
    c.op("PACK", [c.input(c.reals((2, 2))) for _ in range(3)], c.output((2, 2, 3)), options("Pack", valuesCount=3, axis=-1))
    c.finish()
    c = Case("embedding_lookup")
    c.op("EMBEDDING_LOOKUP", [c.input(np.array([2, 0], I32)), c.constant(c.reals((4, 3)))], c.output((2, 3)))
    c.finish()


def windows():
    def conv(padding, stride=(1, 1), dilation=(1, 1), **more):
        kind = more.pop("kind", "Conv2D")
        return options(
            kind, padding=padding, strideH=stride[0], strideW=stride[1], dilationHFactor=dilation[0],
            dilationWFactor=dilation[1], **more,
        )

    window("f32_conv_same", "CONV_2D", (2, 7, 8, 3), (4, 3, 2, 3), (2, 4, 3, 4), conv(SAME, (2, 3), fusedActivationFunction=1))
    window("f32_conv_valid", "CONV_2D", (1, 9, 8, 3), (4, 3, 2, 3), (1, 5, 7, 4), conv(VALID, dilation=(2, 1)))
    window("f32_conv_same_dilated", "CONV_2D", (1, 9, 8, 3), (4, 3, 3, 3), (1, 9, 8, 4), conv(SAME, dilation=(2, 3)))
    window("f32_conv_grouped", "CONV_2D", (1, 5, 5, 6), (4, 3, 3, 3), (1, 5, 5, 4), conv(SAME))
    depthwise = conv(SAME, (2, 2), kind="DepthwiseConv2D", depthMultiplier=2)
    window("f32_depthwise", "DEPTHWISE_CONV_2D", (1, 6, 7, 3), (1, 3, 3, 6), (1, 3, 4, 6), depthwise)
    depthwise = conv(VALID, dilation=(2, 2), kind="DepthwiseConv2D", depthMultiplier=1, fusedActivationFunction=3)
    window("f32_depthwise_dilated", "DEPTHWISE_CONV_2D", (1, 8, 8, 3), (1, 3, 3, 3), (1, 4, 4, 3), depthwise)
    for name, shape, kernel, out, padding, stride in (
        ("same", (1, 4, 5, 3), 3, (1, 8, 10, 2), SAME, 2), ("same_odd", (1, 4, 5, 3), 3, (1, 7, 9, 2), SAME, 2),
        ("valid", (1, 4, 5, 3), 3, (1, 9, 11, 2), VALID, 2), ("valid_longer", (1, 4, 5, 3), 3, (1, 10, 12, 2), VALID, 2),
        ("gaps", (1, 3, 3, 2), 2, (1, 9, 9, 2), SAME, 3), ("wide", (1, 3, 3, 2), 5, (1, 6, 6, 2), SAME, 2),
    ):
        opts = options("TransposeConv", padding=padding, strideW=stride, strideH=stride)
        window(f"f32_transpose_conv_{name}", "TRANSPOSE_CONV", shape, (2, kernel, kernel, shape[3]), out, opts, 3)
    opts = options("Conv3D", padding=SAME, strideD=2, strideH=1, strideW=2)
    window("f32_conv_3d", "CONV_3D", (1, 4, 5, 5, 2), (3, 3, 2, 2, 3), (1, 2, 5, 3, 3), opts)
    for name, shape, weights, out, keep in (
        ("plain", (3, 5), (4, 5), (3, 4), False), ("rows", (2, 3, 5), (4, 5), (6, 4), False),
        ("keep", (2, 3, 5), (4, 5), (2, 3, 4), True), ("joined", (2, 3, 5), (4, 15), (2, 4), False),
    ):
        window(f"f32_dense_{name}", "FULLY_CONNECTED", shape, weights, out, options("FullyConnected", keepNumDims=keep))
    for x in (False, True):
        for y in (False, True):
            shapes = ((2, 4, 3) if x else (2, 3, 4), (2, 5, 4) if y else (2, 4, 5))
            c = Case(f"f32_batch_matmul_{int(x)}{int(y)}")
            operands = [c.input(c.reals(s)) for s in shapes]
            c.op("BATCH_MATMUL", operands, c.output((2, 3, 5)), options("BatchMatMul", adjX=x, adjY=y))
            c.finish()
    for kind in ("MAX_POOL_2D", "AVERAGE_POOL_2D"):
        for padding, out in ((SAME, (1, 4, 3, 3)), (VALID, (1, 3, 3, 3))):
            opts = options("Pool2D", padding=padding, strideW=2, strideH=2, filterWidth=2, filterHeight=3)
            layout(f"f32_{kind.lower()}_{'sv'[padding]}", kind, (1, 7, 6, 3), [], out, opts)
    for name, weights, quant in (("i8", lambda c: c.codes((4, 8), I8), (0.02, 0)), ("f16", lambda c: c.reals((4, 8)).astype(np.float16), ())):
        c = Case(f"f32_dense_weights_{name}")
        real = c.inner((4, 8))
        c.op("DEQUANTIZE", [c.constant(weights(c), *quant)], real)
        c.op("FULLY_CONNECTED", [c.input(c.reals((2, 8))), real, c.constant(c.reals((4,)))], c.output((2, 4)), options("FullyConnected"))
        c.finish()


def quantised():
    for dtype, name, z in ((I8, "i8", 0), (U8, "u8", 128)):
        def codes(shape=(2, 5, 6)):
            return lambda c: c.codes(shape, dtype)

        same = ((0.03, z + 4),) * 3
        binary(f"{name}_minimum", "MINIMUM", codes(), codes(), None, 2, quant=same)
        binary(f"{name}_maximum", "MAXIMUM", codes(), codes((6,)), None, 2, quant=same)
        mixed = ((0.03, z + 4), (0.01, z - 9), (0.025, z - 20))
        binary(f"{name}_prelu", "PRELU", codes(), codes((1, 1, 6)), quant=mixed)
        for kind in ("EQUAL", "NOT_EQUAL", "LESS", "LESS_EQUAL", "GREATER", "GREATER_EQUAL"):
            binary(f"{name}_{kind.lower()}", kind, codes(), codes(), None, 2, BOOL, ((0.03, z + 4), (0.05, z - 9), ()))
        mixed = ((0.03, z + 4), (0.05, z - 9), (0.06, z + 1))
        binary(f"{name}_add", "ADD", codes(), codes(), options("Add", fusedActivationFunction=1), 2, quant=mixed)
        binary(f"{name}_sub", "SUB", codes(), codes(), options("Sub"), 2, quant=mixed)
        binary(f"{name}_mul", "MUL", codes(), codes(), options("Mul", fusedActivationFunction=3), 2, quant=mixed)
        for kind in ("MAX_POOL_2D", "AVERAGE_POOL_2D"):
            opts = options("Pool2D", padding=SAME, strideW=2, strideH=2, filterWidth=3, filterHeight=3, fusedActivationFunction=3)
            layout(f"{name}_{kind.lower()}", kind, (1, 7, 6, 3), [], (1, 4, 3, 3), opts, 2, dtype, (0.04, z - 8))
        ends = {"dtype": dtype, "x": (0.05, z)}
        unary(f"{name}_softmax", "SOFTMAX", opts=options("Softmax", beta=0.5), version=2, y=(1 / 256, z - 128), **ends)
        unary(f"{name}_logistic", "LOGISTIC", y=(1 / 256, z - 128), **ends)
        unary(f"{name}_tanh", "TANH", y=(1 / 128, z), **ends)
        unary(f"{name}_leaky_relu", "LEAKY_RELU", opts=options("LeakyRelu", alpha=0.3), version=2, y=(0.04, z - 18), **ends)
        unary(f"{name}_hard_swish", "HARD_SWISH", y=(0.04, z - 100), **ends)
        unary(f"{name}_relu", "RELU", version=2, y=(0.04, z - 128), **ends)
        unary(f"{name}_relu6", "RELU6", version=2, y=(0.04, z - 128), **ends)
    binary("i8_squared_difference", "SQUARED_DIFFERENCE", lambda c: c.codes((2, 5, 6), I8), lambda c: c.codes((2, 5, 6), I8), None, 2,
           quant=((0.03, 4), (0.05, -9), (0.3, -100)))
    for kind, zero, y in (
        ("EXP", 4, (0.02, -128)), ("ABS", 4, (0.03, -128)), ("RSQRT", -128, (0.02, -128)), ("LOG", -128, (0.03, 4)),
        ("SQRT", -128, (0.03, 4)), ("LOG_SOFTMAX", 4, (16 / 256, 127)), ("GELU", 4, (0.03, 4)),
    ):
        unary(f"i8_{kind.lower()}", kind, version=2, dtype=I8, x=(0.03, zero), y=y)
    unary("i8_elu", "ELU", dtype=I8, x=(0.03, 4), y=(0.03, 4))
    for kind, y in (
        ("MEAN", (0.05, -7)), ("SUM", (0.3, -7)), ("REDUCE_MAX", (0.03, 4)), ("REDUCE_MIN", (0.03, 4)), ("REDUCE_PROD", (0.3, -7)),
    ):
        for name, axes, out in (("rows", [1], (2, 1, 6)), ("all", [1, 2], (2,))):
            c = Case(f"i8_{kind.lower()}_{name}")
            x = c.input(c.codes((2, 5, 6), I8), 0.03, 4)
            c.op(kind, [x, c.ints(axes)], c.output(out, I8, *y), options("Reducer", keepDims=name == "rows"), 2)
            c.finish()
    for name, dtype, keep, z in (("i8_mean_image", I8, True, 0), ("u8_mean_image", U8, False, 128)):
        c = Case(name)
        x = c.input(c.codes((1, 4, 5, 6), dtype), 0.03, z + 4)
        c.op("MEAN", [x, c.ints([1, 2])], c.output((1, 1, 1, 6) if keep else (1, 6), dtype, 0.01, z - 10), options("Reducer", keepDims=keep), 2)
        c.finish()
    for a, b, x, y in ((I8, U8, (0.03, 4), (0.03, 132)), (U8, U8, (0.03, 4), (0.05, 132)), (I16, I8, (0.001, 0), (0.2, 5)), (I8, I16, (0.03, 4), (0.0002, 0))):
        names = [np.dtype(t).name for t in (a, b)]
        unary(f"requantise_{names[0]}_{names[1]}", "QUANTIZE", version=2, dtype=a, out=b, x=x, y=y)
    c = Case("i8_batch_matmul")
    operands = [c.input(c.codes((2, 3, 4), I8), 0.05, 3), c.input(c.codes((2, 4, 5), I8), 0.03, -7)]
    c.op("BATCH_MATMUL", operands, c.output((2, 3, 5), I8, 0.3, 5), options("BatchMatMul"))
    c.finish()
    c = Case("i16_conv")
    weights = c.constant(np.maximum(c.codes((6, 3, 3, 4), I8), -127), c.random.uniform(0.005, 0.02, 6), 0, 0)
    operands = [c.input(c.codes((1, 5, 5, 4), I16), 1e-3, 0), weights, c.constant(c.random.integers(-9999, 9999, 6, I64))]
    opts = options("Conv2D", padding=SAME, strideW=1, strideH=1, fusedActivationFunction=1)
    c.op("CONV_2D", operands, c.output((1, 5, 5, 6), I16, 2e-3, 0), opts, 4)
    c.finish()


def main():
    for group in (elementwise, reductions, layouts, windows, quantised):
        group()
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for name in sorted(archive):
            member = tarfile.TarInfo(name)
            member.size = len(archive[name])
            tar.addfile(member, io.BytesIO(archive[name]))
    (HERE / "cases.tar.gz").write_bytes(gzip.compress(packed.getvalue(), 9, mtime=0))
    print(len({name.split("/")[0] for name in archive}), "cases")


if __name__ == "__main__":
    main()
