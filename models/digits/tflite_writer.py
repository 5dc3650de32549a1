"""Builds TFLite files from numpy arrays.

A thin layer over the schema classes that the ai-edge-litert package carries: it keeps the tables of
tensors, buffers and operator codes consistent, and it stores constant data on 16-byte boundaries as
the schema asks. It also runs a file on the two integer kernel families that the goldens are named after.
"""

import numpy as np
from flatbuffers import Builder
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter, OpResolverType

TENSOR_TYPES = {
    np.dtype(np.float32): schema.TensorType.FLOAT32,
    np.dtype(np.int32): schema.TensorType.INT32,
    np.dtype(np.uint8): schema.TensorType.UINT8,
    np.dtype(np.int64): schema.TensorType.INT64,
    np.dtype(np.bool_): schema.TensorType.BOOL,
    np.dtype(np.int8): schema.TensorType.INT8,
}


class AlignedBuffer(schema.BufferT):
    """A buffer whose bytes start at a multiple of 16, which the generated classes do not ensure."""

    def Pack(self, builder):
        offset = None
        if self.data is not None:
            raw = bytes(self.data)
            builder.StartVector(1, len(raw), 16)
            builder.head = builder.head - len(raw)
            builder.Bytes[builder.head : builder.head + len(raw)] = raw
            offset = builder.EndVector()
        schema.BufferStart(builder)
        if offset is not None:
            schema.BufferAddData(builder, offset)
        return schema.BufferEnd(builder)


class ModelWriter:
    """Collects tensors and operators of one subgraph; `finish` returns the bytes of the file."""

    def __init__(self, description):
        self.description = description
        self.buffers = [AlignedBuffer()]
        self.tensors = []
        self.codes = []
        self.operators = []

    def tensor(self, name, shape, dtype, scale=None, zero_point=0, axis=None, data=None):
        """Adds a tensor and returns its index. `scale` may be a list, then `axis` names its dimension."""
        tensor = schema.TensorT()
        tensor.name = name
        tensor.shape = np.asarray(shape, np.int32)
        tensor.type = TENSOR_TYPES[np.dtype(dtype)]
        tensor.buffer = 0
        if data is not None:
            data = np.asarray(data, np.dtype(dtype), order="C")
            assert list(data.shape) == list(shape), (name, data.shape, shape)
            buffer = AlignedBuffer()
            buffer.data = data.tobytes()
            tensor.buffer = len(self.buffers)
            self.buffers.append(buffer)
        if scale is not None:
            scales = np.atleast_1d(np.asarray(scale, np.float32))
            quantization = schema.QuantizationParametersT()
            quantization.scale = scales
            quantization.zeroPoint = np.broadcast_to(np.asarray(zero_point, np.int64), scales.shape).copy()
            quantization.quantizedDimension = 0 if axis is None else axis
            tensor.quantization = quantization
        self.tensors.append(tensor)
        return len(self.tensors) - 1

    def constant(self, name, data, scale=None, zero_point=0, axis=None):
        """Adds a tensor whose bytes are in the file."""
        data = np.asarray(data)
        return self.tensor(name, data.shape, data.dtype, scale, zero_point, axis, data)

    def operator(self, kind, inputs, outputs, version=1, options=None):
        """Appends one builtin operator; `kind` is its schema name and `options` its options table."""
        builtin = getattr(schema.BuiltinOperator, kind)
        code = (builtin, version)
        if code not in self.codes:
            self.codes.append(code)
        operator = schema.OperatorT()
        operator.opcodeIndex = self.codes.index(code)
        operator.inputs = np.asarray(inputs, np.int32)
        operator.outputs = np.asarray(outputs, np.int32)
        if options is not None:
            operator.builtinOptionsType = getattr(schema.BuiltinOptions, type(options).__name__[:-1])
            operator.builtinOptions = options
        self.operators.append(operator)

    def finish(self, inputs, outputs):
        """Packs the file."""
        subgraph = schema.SubGraphT()
        subgraph.name = "main"
        subgraph.tensors = self.tensors
        subgraph.inputs = np.asarray(inputs, np.int32)
        subgraph.outputs = np.asarray(outputs, np.int32)
        subgraph.operators = self.operators
        model = schema.ModelT()
        model.version = 3
        model.description = self.description
        model.buffers = self.buffers
        model.subgraphs = [subgraph]
        model.operatorCodes = []
        for builtin, version in self.codes:
            code = schema.OperatorCodeT()
            code.builtinCode = builtin
            # Readers older than the wide field look only at this one, which saturates at the placeholder.
            code.deprecatedBuiltinCode = min(builtin, 127)
            code.version = version
            model.operatorCodes.append(code)
        builder = Builder(4096)
        builder.Finish(model.Pack(builder), b"TFL3")
        return bytes(builder.Output())


def options(kind, **fields):
    """An options table by its schema name, with the given fields set: `options("Pool2D", strideW=2)`."""
    table = getattr(schema, kind + "OptionsT")()
    for field, value in fields.items():
        if not hasattr(table, field):
            raise AttributeError(f"{kind}Options has no field {field}")
        setattr(table, field, value)
    return table


def interpreter(model, kernels):
    """An interpreter of the file's bytes on one kernel family: `tflref` or `xnnpack`."""
    resolver = {"tflref": OpResolverType.BUILTIN_REF, "xnnpack": OpResolverType.AUTO}[kernels]
    made = Interpreter(model_content=model, num_threads=1, experimental_op_resolver_type=resolver)
    made.allocate_tensors()
    return made


def run(model, kernels, samples):
    """Runs the file once a sample. A sample is the list of its input arrays; the result lists its output arrays."""
    made = interpreter(model, kernels)
    inputs, outputs = made.get_input_details(), made.get_output_details()
    results = []
    for sample in samples:
        for detail, value in zip(inputs, sample, strict=True):
            made.set_tensor(detail["index"], np.ascontiguousarray(value).reshape(detail["shape"]))
        made.invoke()
        results.append([made.get_tensor(detail["index"]).copy() for detail in outputs])
    return results
