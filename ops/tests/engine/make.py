"""Makes cases.json: single operators on random codes, with the results of LiteRT.

    pip install ai-edge-litert==2.3.0 flatbuffers numpy
    python make.py

Family `tflref` is the resolver BUILTIN_REF, `xnnpack` the resolver BUILTIN with its default delegate, one thread. The seed is fixed: a second run writes the same file.
"""

import json
from pathlib import Path

import flatbuffers
import numpy as np
from ai_edge_litert import interpreter as litert
from ai_edge_litert import schema_py_generated as schema

TYPES = {"i8": np.int8, "u8": np.uint8, "i32": np.int32, "f32": np.float32}
CODES = {np.dtype(np.int8): schema.TensorType.INT8, np.dtype(np.uint8): schema.TensorType.UINT8,
         np.dtype(np.int32): schema.TensorType.INT32, np.dtype(np.float32): schema.TensorType.FLOAT32}
RESOLVERS = {"tflref": litert.OpResolverType.BUILTIN_REF, "xnnpack": litert.OpResolverType.BUILTIN}
rng = np.random.default_rng(20261123)
cases = []


class Value:
    """A tensor of a one-operator model."""

    def __init__(self, shape, dtype, scale=None, zero=0, data=None, axis=0):
        self.shape, self.dtype = [int(d) for d in shape], dtype
        self.scale = None if scale is None else np.atleast_1d(np.float32(scale))
        self.zero = None if scale is None else np.broadcast_to(np.int64(zero), self.scale.shape)
        self.data, self.axis = data, axis


def model(code, values, inputs, outputs, options=None, version=1):
    m = schema.ModelT()
    m.version, m.buffers = 3, [schema.BufferT()]
    graph = schema.SubGraphT()
    graph.tensors = []
    for i, v in enumerate(values):
        t = schema.TensorT()
        t.name, t.shape, t.type, t.buffer = f"t{i}".encode(), np.int32(v.shape), CODES[np.dtype(TYPES[v.dtype])], 0
        if v.data is not None:
            b = schema.BufferT()
            b.data = np.frombuffer(np.ascontiguousarray(v.data).tobytes(), np.uint8)
            m.buffers.append(b)
            t.buffer = len(m.buffers) - 1
        if v.scale is not None:
            q = schema.QuantizationParametersT()
            q.scale, q.zeroPoint, q.quantizedDimension = v.scale, v.zero.copy(), v.axis
            t.quantization = q
        graph.tensors.append(t)
    op = schema.OperatorT()
    op.opcodeIndex, op.inputs, op.outputs = 0, np.int32(inputs), np.int32(outputs)
    if options:
        name, fields = options
        o = getattr(schema, name + "T")()
        for key, value in fields.items():
            assert hasattr(o, key), key
            setattr(o, key, value)
        op.builtinOptions, op.builtinOptionsType = o, getattr(schema.BuiltinOptions, name)
    graph.operators = [op]
    graph.inputs = np.int32([i for i in inputs if i >= 0 and values[i].data is None])
    graph.outputs = np.int32(outputs)
    m.subgraphs = [graph]
    opcode = schema.OperatorCodeT()
    opcode.builtinCode = getattr(schema.BuiltinOperator, code)
    opcode.deprecatedBuiltinCode, opcode.version = min(opcode.builtinCode, 127), version
    m.operatorCodes = [opcode]
    builder = flatbuffers.Builder(1024)
    builder.Finish(m.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def buffer_of(*arguments):
    """The model under the newest version of the operator that the engine knows."""
    for version in (4, 3, 2, 1):
        buffer = model(*arguments, version=version)
        try:
            litert.Interpreter(model_content=buffer, experimental_op_resolver_type=RESOLVERS["tflref"])
            return buffer
        except ValueError:
            pass
    raise SystemExit(f"{arguments[0]} is unknown to the engine")


def run(buffer, family, inputs):
    it = litert.Interpreter(model_content=buffer, experimental_op_resolver_type=RESOLVERS[family], num_threads=1)
    it.allocate_tensors()
    for detail, x in zip(it.get_input_details(), inputs):
        it.set_tensor(detail["index"], x)
    it.invoke()
    return it.get_tensor(it.get_output_details()[0]["index"])


def tensor(value, data, weights=None):
    """The JSON of an operand; `weights` moves TFLite's depthwise layout to the project's."""
    data, axis = np.asarray(data, TYPES[value.dtype]).reshape(value.shape), value.axis
    if weights is not None:
        data, axis = np.transpose(data, weights), weights.index(axis) if axis else 0
    j = {"dtype": value.dtype, "shape": list(data.shape), "hex": data.astype(data.dtype.newbyteorder("<")).tobytes().hex()}
    if value.scale is not None:
        j["quant"] = {"scale": [float(s) for s in value.scale], "zero_point": [int(z) for z in value.zero]}
        if len(value.scale) > 1:
            j["quant"]["axis"] = axis
    return j


def case(name, op, code, values, inputs, output, operands, options=None, weights=None, families=("tflref", "xnnpack")):
    """`operands`: which of the values the project's operator takes; inputs without data get random codes."""
    given = {i: v.data for i, v in enumerate(values) if v.data is not None}
    for i in inputs:
        if i >= 0 and i not in given:
            given[i] = codes(values[i]) if values[i].dtype != "f32" else reals(values[i], values[output])
    buffer = buffer_of(code, values, inputs, [output], options)
    fed = [given[i] for i in inputs if i >= 0 and values[i].data is None]
    results = {}
    for family in families:
        y = run(buffer, family, fed)
        results[family] = tensor(values[output], y.reshape(values[output].shape))["hex"]
    listed = [tensor(values[i], given[i], weights if k == 1 else None) for k, i in enumerate(operands)]
    result = tensor(values[output], np.zeros(values[output].shape))
    del result["hex"]
    cases.append({"name": name, "op": op, "operands": listed, "result": result, "codes": results})


def codes(v):
    lo, hi = (-128, 128) if v.dtype == "i8" else (0, 256)
    return rng.integers(lo, hi, v.shape).astype(TYPES[v.dtype])


def reals(v, out):
    step = np.float64(out.scale[0])
    ties = (rng.integers(-300, 300, v.shape) + 0.5) * step
    return np.where(rng.random(v.shape) < 0.5, ties, rng.normal(0, 90 * step, v.shape)).astype(np.float32)


def zero(dtype):
    return int(rng.integers(-128, 128)) + (128 if dtype == "u8" else 0)


def scale(low=0.003, high=0.1):
    return float(np.float32(np.exp(rng.uniform(np.log(low), np.log(high)))))


def ratio(low=0.3, high=3.0):
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def ints(values):
    return Value([len(values)], "i32", data=np.int32(values))


ACTS = [("None", 0), ("Relu", 1), ("Relu6", 3), ("ReluN1To1", 2)]


def act(i):
    return ACTS[i % 4]


def same(n, kernel, stride, dilation):
    reach = (kernel - 1) * dilation + 1
    out = -(-n // stride)
    pad = max((out - 1) * stride + reach - n, 0)
    return out, (pad // 2, pad - pad // 2)


def valid(n, kernel, stride, dilation):
    return (n - (kernel - 1) * dilation - 1) // stride + 1, (0, 0)


def window(i, shape, kernel, stride, dilation=(1, 1)):
    padding = i % 2
    sizes = [(same, valid)[padding](n, *rest) for n, *rest in zip(shape, kernel, stride, dilation)]
    return padding, [s[0] for s in sizes], [list(s[1]) for s in sizes]


def products(i, dtype):
    """Convolution, depthwise convolution, dense layer, transposed convolution, matrix product."""
    per_channel = dtype == "i8" and i % 2 == 0
    name, number = act(i)
    outputs, depth = int(rng.integers(3, 20)), int(rng.integers(1, 6))
    weight_scale = rng.uniform(0.3, 2, outputs if per_channel else 1).astype(np.float32) * np.float32(0.01)
    weight_zero = 0 if dtype == "i8" else zero(dtype)
    si = scale(0.01, 0.2)

    def weights(shape, axis, count):
        data = codes(Value(shape, dtype))
        data = np.maximum(data, -127) if dtype == "i8" else data
        return Value(shape, dtype, weight_scale[:count] if per_channel else weight_scale[:1], weight_zero, data, axis if per_channel else 0)

    def bias(count):
        return Value([count], "i32", np.float32(si) * weight_scale[:count] if per_channel else si * weight_scale[:1], 0,
                     rng.integers(-4000, 4000, count).astype(np.int32))

    def result(shape, taps):
        return Value(shape, dtype, si * 0.01 * np.sqrt(taps) * 40 * ratio(), zero(dtype))

    kernel, stride, dilation = [int(v) for v in rng.integers(1, 4, 2)], [int(v) for v in rng.integers(1, 3, 2)], [1, 1]
    if i % 3 == 2:
        stride, dilation = [1, 1], [2, 2]
    h, w = int(rng.integers(6, 9)), int(rng.integers(6, 9))
    padding, out, pads = window(i, (h, w), kernel, stride, dilation)
    x = Value([1, h, w, depth], dtype, si, zero(dtype))
    attributes = {"stride": stride, "dilation": dilation, "pad": pads, "act": name}
    fields = {"padding": padding, "strideH": stride[0], "strideW": stride[1], "dilationHFactor": dilation[0],
              "dilationWFactor": dilation[1], "fusedActivationFunction": number}
    case("conv", {"Conv": {**attributes, "groups": 1}}, "CONV_2D",
         [x, weights([outputs, *kernel, depth], 0, outputs), bias(outputs), result([1, *out, outputs], depth * kernel[0] * kernel[1])],
         [0, 1, 2], 3, [0, 1, 2], ("Conv2DOptions", fields))
    multiplier = 1 + i % 2
    wide = max(1, outputs // multiplier)
    total = wide * multiplier
    x = Value([1, h, w, wide], dtype, si, zero(dtype))
    case("depthwise conv", {"Conv": {**attributes, "groups": wide}}, "DEPTHWISE_CONV_2D",
         [x, weights([1, *kernel, total], 3, total), bias(total), result([1, *out, total], kernel[0] * kernel[1])],
         [0, 1, 2], 3, [0, 1, 2], ("DepthwiseConv2DOptions", {**fields, "depthMultiplier": multiplier}), weights=[3, 1, 2, 0])
    rows, k = 1 + 4 * (i % 2), int(rng.integers(5, 70))
    case("dense", {"Dense": {"act": name}}, "FULLY_CONNECTED",
         [Value([rows, k], dtype, si, zero(dtype)), weights([outputs, k], 0, outputs), bias(outputs), result([rows, outputs], k)],
         [0, 1, 2], 3, [0, 1, 2], ("FullyConnectedOptions", {"fusedActivationFunction": number}))
    size, step = int(rng.integers(2, 5)), int(rng.integers(1, 3))
    extent = (5 - 1) * step + size
    shape = [1, extent, extent, outputs]
    case("transposed conv", {"ConvTranspose": {"stride": [step] * 2, "dilation": [1, 1], "pad": [[0, 0]] * 2, "output_pad": [0, 0], "groups": 1, "act": "None"}},
         "TRANSPOSE_CONV",
         [ints(shape), weights([outputs, size, size, depth], 0, outputs), Value([1, 5, 5, depth], dtype, si, zero(dtype)),
          bias(outputs), result(shape, depth * size)],
         [0, 1, 2, 3], 4, [2, 1, 3], ("TransposeConvOptions", {"padding": 1, "strideH": step, "strideW": step}))
    if dtype == "i8":
        # Family B rounds once, as ONNX Runtime; XNNPACK's delegate leaves this operator to the built-in kernel of family A.
        m, k, n = [int(v) for v in rng.integers(3, 20, 3)]
        swap = bool(i % 2)
        b = Value([2, n, k] if swap else [2, k, n], dtype, 0.01, zero(dtype))
        case("matrix product", {"MatMul": {"transpose_a": False, "transpose_b": swap}}, "BATCH_MATMUL",
             [Value([2, m, k], dtype, si, zero(dtype)), b, result([2, m, n], k)], [0, 1], 2, [0, 1],
             ("BatchMatMulOptions", {"adjX": False, "adjY": swap}), families=("tflref",))


def elementwise(i, dtype):
    name, number = act(i)
    a, b = scale(), scale()
    shapes = [([1, 4, 5, 6], [1, 4, 5, 6]), ([1, 4, 5, 6], [6]), ([1, 4, 1, 6], [1, 1, 5, 1])][i % 3]
    for kind in ("Add", "Sub", "Mul"):
        out = (a + b) * ratio(0.4, 1.5) if kind != "Mul" else a * b * 90 * ratio()
        case(kind.lower(), {"Binary": {"kind": kind, "act": name}}, kind.upper(),
             [Value(shapes[0], dtype, a, zero(dtype)), Value(shapes[1], dtype, b, zero(dtype)), Value([1, 4, 5, 6], dtype, out, zero(dtype))],
             [0, 1], 2, [0, 1], (kind + "Options", {"fusedActivationFunction": number}))
    shape = [1, 8, 8, 4]
    every = np.arange(256, dtype=np.uint8).view(TYPES[dtype]).reshape(shape)
    slope = Value([1, 1, 4], dtype, 0.01, zero(dtype))
    slope.data = codes(slope)
    case("prelu", {"Binary": {"kind": "PRelu", "act": "None"}}, "PRELU",
         [Value(shape, dtype, a, zero(dtype)), slope, Value(shape, dtype, a * ratio(), zero(dtype))], [0, 1], 2, [0, 1])
    low = -128 if dtype == "i8" else 0
    alpha = float(np.float32([0.1, 0.01, 0.3, -0.2][i % 4]))
    unary = [
        ("Sigmoid", "LOGISTIC", 1 / 256, low, None),
        ("Tanh", "TANH", 1 / 128, low + 128, None),
        ("HardSwish", "HARD_SWISH", a * ratio(), zero(dtype), ("HardSwishOptions", {})),
        ({"LeakyRelu": {"alpha": alpha}}, "LEAKY_RELU", a * ratio(), zero(dtype), ("LeakyReluOptions", {"alpha": alpha})),
        ("Relu", "RELU", a * ratio(), zero(dtype), None),
        ("Relu6", "RELU6", a * ratio(), zero(dtype), None),
        ("ReluN1To1", "RELU_N1_TO_1", a * ratio(), zero(dtype), None),
    ]
    for kind, code, out, out_zero, options in unary:
        add_unary(kind, code, {"Unary": kind}, every, dtype, dtype, a, out, out_zero, options)
    add_unary("requantize", "QUANTIZE", "Requantize", every, dtype, dtype, a, a * ratio(), zero(dtype), ("QuantizeOptions", {}))
    other = "u8" if dtype == "i8" else "i8"
    add_unary("requantize to the other type", "QUANTIZE", "Requantize", every, dtype, other, a, a * ratio(), zero(other), ("QuantizeOptions", {}))
    # Family B divides as ONNX says; XNNPACK multiplies by the reciprocal, which differs around ties.
    case("quantize", "Quantize", "QUANTIZE", [Value([1, 64], "f32"), Value([1, 64], dtype, a, zero(dtype))], [0], 1, [0], ("QuantizeOptions", {}),
         families=("tflref",))
    case("dequantize", "Dequantize", "DEQUANTIZE", [Value([1, 64], dtype, a, zero(dtype)), Value([1, 64], "f32")], [0], 1, [0], ("DequantizeOptions", {}))


def add_unary(kind, code, op, every, dtype, out_dtype, a, out, out_zero, options):
    values = [Value(every.shape, dtype, a, zero(dtype)), Value(every.shape, out_dtype, out, out_zero)]
    buffer = buffer_of(code, values, [0], [1], options)
    results = {f: tensor(values[1], run(buffer, f, [every]))["hex"] for f in RESOLVERS}
    result = tensor(values[1], np.zeros(every.shape))
    del result["hex"]
    label = code.lower() if isinstance(kind, dict) or code != "QUANTIZE" else kind
    cases.append({"name": label, "op": op, "operands": [tensor(values[0], every)], "result": result, "codes": results})


def spatial(i, dtype):
    name, number = act(i)
    s, z = scale(), zero(dtype)
    kernel, stride = [int(v) for v in rng.integers(1, 5, 2)], [int(v) for v in rng.integers(1, 3, 2)]
    padding, out, pads = window(i, (7, 6), kernel, stride)
    for kind in ("Average", "Max"):
        op = {"kind": kind, "kernel": kernel, "stride": stride, "dilation": [1, 1], "pad": pads, "ceil": False, "count_include_pad": False, "act": name}
        case(kind.lower() + " pool", {"Pool": op}, kind.upper() + "_POOL_2D",
             [Value([1, 7, 6, 5], dtype, s, z), Value([1, *out, 5], dtype, s, z)], [0], 1, [0],
             ("Pool2DOptions", {"padding": padding, "strideH": stride[0], "strideW": stride[1], "filterHeight": kernel[0],
                                "filterWidth": kernel[1], "fusedActivationFunction": number}))
    axes = [[1, 2], [1], [3], [1, 2, 3], [2, 3]][i % 5]
    shape = [1, int(rng.integers(3, 9)), int(rng.integers(3, 9)), 5]
    keep = bool(i % 2)
    reduced = [1 if a in axes else n for a, n in enumerate(shape) if keep or a not in axes]
    for kind in ("Mean", "Sum"):
        si, zi = scale(), zero(dtype)
        # The reference kernel for sums of int8 does not compute a sum.
        families = ("xnnpack",) if kind == "Sum" and dtype == "i8" else tuple(RESOLVERS)
        case("reduce " + kind.lower(), {"Reduce": {"kind": kind, "axes": axes, "keep_dims": keep}}, kind.upper(),
             [Value(shape, dtype, si, zi), Value(reduced, dtype, si * ratio() * (1 if kind == "Mean" else 8), zero(dtype)), ints(axes)],
             [0, 2], 1, [0], ("ReducerOptions", {"keepDims": keep}), families=families)
    case("reduce max", {"Reduce": {"kind": "Max", "axes": axes, "keep_dims": keep}}, "REDUCE_MAX",
         [Value(shape, dtype, s, z), Value(reduced, dtype, s, z), ints(axes)], [0, 2], 1, [0], ("ReducerOptions", {"keepDims": keep}))
    columns, low = int([2, 10, 33][i % 3]), -128 if dtype == "i8" else 0
    beta = [1.0, 0.5][i % 2]
    case("softmax", {"Softmax": {"axis": 1, "beta": beta, "log": False}}, "SOFTMAX",
         [Value([6, columns], dtype, scale(0.002, 0.5), zero(dtype)), Value([6, columns], dtype, 1 / 256, low)], [0], 1, [0],
         ("SoftmaxOptions", {"beta": beta}))
    rows, cols = [int(v) for v in rng.integers(1, 14, 2)]
    for coordinate, corners, half in (("Asymmetric", False, False), ("AlignCorners", True, False), ("HalfPixel", False, True)):
        for mode, code in (("Linear", "RESIZE_BILINEAR"), ({"Nearest": "Floor" if coordinate == "Asymmetric" else "RoundPreferCeil"}, "RESIZE_NEAREST_NEIGHBOR")):
            op = {"shape": [1, rows, cols, 3], "scale": [1.0, rows / 5, cols / 6, 1.0], "mode": mode, "coordinate": coordinate,
                  "antialias": False, "roi": None, "extrapolation": 0.0}
            options = "ResizeBilinearOptions" if mode == "Linear" else "ResizeNearestNeighborOptions"
            case(code.lower(), {"Resize": op}, code,
                 [Value([1, 5, 6, 3], dtype, s, z), Value([1, rows, cols, 3], dtype, s, z), ints([rows, cols])], [0, 2], 1, [0],
                 (options, {"alignCorners": corners, "halfPixelCenters": half}))
    if dtype == "u8":
        case("concat", {"Concat": {"axis": 3, "act": "None"}}, "CONCATENATION",
             [Value([1, 4, 4, 2], dtype, s, z), Value([1, 4, 4, 3], dtype, s * ratio(), zero(dtype)), Value([1, 4, 4, 5], dtype, s, z)],
             [0, 1], 2, [0, 1], ("ConcatenationOptions", {"axis": 3}))
    amount = [[0, 0], [1, 2], [0, 1], [2, 0]]
    case("pad", {"Pad": {"amount": amount, "mode": "Constant"}}, "PAD",
         [Value([1, 2, 3, 2], dtype, s, z), Value([1, 5, 4, 4], dtype, s, z), Value([4, 2], "i32", data=np.int32(amount))], [0, 2], 1, [0],
         ("PadOptions", {}))


def boundaries(i, dtype):
    """Weights that are zero and biases that lie around the steps of the codes: every rounding shows."""
    si, so, z = scale(0.01, 1), scale(0.01, 1), zero(dtype)
    sw = float(np.float32(so / si * 2.0 ** rng.uniform(-16, -3)))
    middles = (np.arange(-129, 129, 4) + 0.5 + rng.integers(0, 4)) / (float(np.float32(si)) * sw / float(np.float32(so)))
    bias = np.concatenate([np.round(middles) + d for d in (-1, 0, 1)]).astype(np.int32)
    n, w0 = len(bias), 0 if dtype == "i8" else 7

    def values(x, w, y, axis=0):
        return [Value(x, dtype, si, w0), Value(w, dtype, sw, w0, np.full(w, w0, TYPES[dtype]), axis),
                Value([n], "i32", si * sw, 0, bias), Value(y, dtype, so, z)]

    one = {"stride": [1, 1], "dilation": [1, 1], "pad": [[0, 0], [0, 0]], "groups": 1, "act": "None"}
    fields = {"padding": 1, "strideH": 1, "strideW": 1, "dilationHFactor": 1, "dilationWFactor": 1}
    case("conv at the steps", {"Conv": one}, "CONV_2D", values([1, 1, 1, 1], [n, 1, 1, 1], [1, 1, 1, n]), [0, 1, 2], 3, [0, 1, 2], ("Conv2DOptions", fields))
    case("dense at the steps", {"Dense": {"act": "None"}}, "FULLY_CONNECTED", values([1, 1], [n, 1], [1, n]), [0, 1, 2], 3, [0, 1, 2], ("FullyConnectedOptions", {}))


for i in range(4):
    for dtype in ("i8", "u8"):
        products(i, dtype)
        elementwise(i, dtype)
        spatial(i, dtype)
        boundaries(i, dtype)
out = Path(__file__).with_name("cases.json")
out.write_text("[\n" + ",\n".join(json.dumps(c) for c in cases) + "\n]\n")
print(len(cases), "cases,", out.stat().st_size, "bytes")
