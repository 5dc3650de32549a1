use super::*;
use crate::ImportOptions;
use crate::onnx::import;
use tandem_graph::interpret;
use tandem_ops::{
    Act, Arith, BinaryKind, Conv, ConvTranspose, CoordinateMode, NearestMode, PadMode, Pool, PoolKind, ReduceKind,
    Resize, ResizeMode, UnaryKind, infer,
};
use tandem_tensor::{DType, QuantParams};

/// Numbers without a pattern in -2..2, as this dtype has them.
fn noise(ty: &TensorType, seed: usize) -> Tensor {
    let mut state = seed as u32 + 1;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        f64::from(state >> 8) / f64::from(1 << 22) - 2.0
    };
    let values: Vec<f64> =
        (0..ty.elements()).map(|_| if ty.dtype == DType::Bool { f64::from(next() > 0.0) } else { next() }).collect();
    let values: Vec<f64> = match ty.dtype {
        DType::F32 | DType::F64 | DType::Bool => values,
        DType::U8 => values.iter().map(|v| (v * 30.0).abs().round()).collect(),
        _ => values.iter().map(|v| (v * 30.0).round()).collect(),
    };
    Tensor::from_f64(ty.dtype, ty.shape.clone(), &values).unwrap()
}

fn f32s(shape: &[usize]) -> TensorType {
    TensorType::new(DType::F32, shape)
}

/// A graph under construction, a node after the other.
struct Build(Graph);

impl Build {
    fn new() -> Build {
        Build(Graph::new("built", Arith::Xnnpack))
    }

    fn input(&mut self, ty: TensorType) -> ValueId {
        let id = self.0.add_value(format!("x{}", self.0.values.len()), ty);
        self.0.inputs.push(id);
        id
    }

    fn constant(&mut self, ty: TensorType) -> ValueId {
        let tensor = noise(&ty, self.0.values.len());
        self.0.add_constant(format!("w{}", self.0.values.len()), ty, tensor)
    }

    fn node(&mut self, op: Op, inputs: &[ValueId], dtype: DType) -> ValueId {
        let operands: Vec<&TensorType> = inputs.iter().map(|&id| self.0.ty(id)).collect();
        let shape = infer(&op, &operands).unwrap().remove(0);
        let y = self.0.add_value(format!("y{}", self.0.values.len()), TensorType::new(dtype, shape));
        self.0.add_node(format!("n{}", self.0.nodes.len()), op, inputs, [y]);
        y
    }

    fn done(mut self, outputs: &[ValueId]) -> Graph {
        self.0.outputs = outputs.to_vec();
        self.0.verify().unwrap();
        self.0
    }
}

fn model(graph: &Graph) -> ModelProto {
    ModelProto::decode(&write(graph, &Notes::default()).unwrap()[..]).unwrap()
}

fn nodes(graph: &Graph) -> Vec<String> {
    let nodes = model(graph).graph.unwrap().node;
    let named = |n: NodeProto| if n.domain.is_empty() { n.op_type } else { format!("{}:{}", n.domain, n.op_type) };
    nodes.into_iter().map(named).collect()
}

/// The graph that comes back computes what went out, up to rounding twice where ONNX has two operators for one.
fn comes_back(graph: &Graph) -> Graph {
    let names = nodes(graph);
    assert!(names.iter().all(|name| !name.contains(':')), "{names:?}");
    let back = import(&write(graph, &Notes::default()).unwrap(), &ImportOptions::default());
    let back = back.unwrap_or_else(|e| panic!("{names:?}: {e}"));
    assert_eq!(graph.inputs.len(), back.inputs.len());
    let inputs: Vec<Tensor> = graph.inputs.iter().enumerate().map(|(i, &id)| noise(graph.ty(id), 90 + i)).collect();
    let (expected, found) = (interpret(graph, &inputs).unwrap(), interpret(&back, &inputs).unwrap());
    for (a, b) in expected.iter().zip(&found) {
        assert_eq!((a.dtype(), a.shape()), (b.dtype(), b.shape()), "{names:?}");
        for (a, b) in a.to_f64().into_iter().zip(b.to_f64()) {
            let close = a == b || (a - b).abs() <= 1e-6 * (1.0 + a.abs()) || (a.is_nan() && b.is_nan());
            assert!(close, "{names:?}: {b} for {a}");
        }
    }
    back
}

fn alone(op: Op, operands: &[TensorType], dtype: DType) -> Graph {
    let mut build = Build::new();
    let ids: Vec<ValueId> = operands.iter().map(|ty| build.input(ty.clone())).collect();
    let y = build.node(op, &ids, dtype);
    build.done(&[y])
}

fn binary(kind: BinaryKind) -> Op {
    Op::Binary { kind, act: Act::None }
}

fn conv(stride: usize, groups: usize, act: Act) -> Op {
    Op::Conv(Conv { stride: vec![stride, 1], dilation: vec![1, 2], pad: vec![(1, 0), (2, 1)], groups, act })
}

fn pool(kind: PoolKind, act: Act) -> Op {
    let (kernel, stride, dilation, pad) = (vec![3, 2], vec![2, 1], vec![1, 1], vec![(1, 1), (0, 1)]);
    Op::Pool(Pool { kind, kernel, stride, dilation, pad, ceil: false, count_include_pad: true, act })
}

#[test]
fn every_element_wise_operator_comes_back() {
    use BinaryKind::*;
    for kind in [Add, Sub, Mul, Div, Min, Max, SquaredDifference, PRelu] {
        comes_back(&alone(binary(kind), &[f32s(&[2, 3, 4]), f32s(&[3, 1])], DType::F32));
    }
    for kind in [Equal, NotEqual, Less, LessEqual, Greater, GreaterEqual] {
        comes_back(&alone(binary(kind), &[f32s(&[2, 3]), f32s(&[3])], DType::Bool));
        comes_back(&alone(
            binary(kind),
            &[TensorType::new(DType::I32, [9]), TensorType::new(DType::I32, [9])],
            DType::Bool,
        ));
    }
    let flags = TensorType::new(DType::Bool, [7]);
    for kind in [And, Or, Xor] {
        comes_back(&alone(binary(kind), &[flags.clone(), flags.clone()], DType::Bool));
    }
    comes_back(&alone(Op::Unary(UnaryKind::Not), std::slice::from_ref(&flags), DType::Bool));
    comes_back(&alone(Op::Where, &[flags, f32s(&[7]), f32s(&[2, 1])], DType::F32));
    for act in [Act::Relu, Act::Relu6, Act::ReluN1To1] {
        comes_back(&alone(Op::Binary { kind: Add, act }, &[f32s(&[5]), f32s(&[5])], DType::F32));
    }
    let alpha = 0.3;
    for kind in [
        UnaryKind::Identity,
        UnaryKind::Relu,
        UnaryKind::Relu6,
        UnaryKind::ReluN1To1,
        UnaryKind::LeakyRelu { alpha },
        UnaryKind::HardSwish,
        UnaryKind::HardSigmoid { alpha, beta: 0.4 },
        UnaryKind::Sigmoid,
        UnaryKind::Tanh,
        UnaryKind::Exp,
        UnaryKind::Log,
        UnaryKind::Sqrt,
        UnaryKind::Rsqrt,
        UnaryKind::Reciprocal,
        UnaryKind::Neg,
        UnaryKind::Abs,
        UnaryKind::Sign,
        UnaryKind::Erf,
        UnaryKind::Sin,
        UnaryKind::Cos,
        UnaryKind::Floor,
        UnaryKind::Ceil,
        UnaryKind::Round,
        UnaryKind::Elu { alpha },
        UnaryKind::Softplus,
        UnaryKind::Gelu { tanh: true },
        UnaryKind::Gelu { tanh: false },
        UnaryKind::Swish { alpha: 1.0 },
        UnaryKind::Swish { alpha },
        UnaryKind::Clip { min: Some(-0.5), max: None },
        UnaryKind::Clip { min: None, max: Some(0.25) },
    ] {
        comes_back(&alone(Op::Unary(kind), &[f32s(&[40])], DType::F32));
    }
    comes_back(&alone(Op::Cast { to: DType::I32, saturate: true }, &[f32s(&[9])], DType::I32));
}

#[test]
fn every_product_comes_back() {
    for act in [Act::None, Act::Relu] {
        for rank in [&[2, 5][..], &[3, 2, 5]] {
            for bias in [false, true] {
                let mut build = Build::new();
                let x = build.input(f32s(rank));
                let mut operands = vec![x, build.constant(f32s(&[4, 5]))];
                operands.extend(bias.then(|| build.constant(f32s(&[4]))));
                let y = build.node(Op::Dense { act }, &operands, DType::F32);
                comes_back(&build.done(&[y]));
            }
        }
    }
    for (transpose_a, transpose_b) in [(false, false), (true, false), (false, true), (true, true)] {
        let shape = |swap: bool, m: usize, n: usize| if swap { [n, m] } else { [m, n] };
        let (a, b) = (shape(transpose_a, 3, 5), shape(transpose_b, 5, 2));
        let op = Op::MatMul { transpose_a, transpose_b };
        comes_back(&alone(op.clone(), &[f32s(&a), f32s(&b)], DType::F32));
        comes_back(&alone(op, &[f32s(&[2, a[0], a[1]]), f32s(&b)], DType::F32));
    }
    comes_back(&alone(Op::MatMul { transpose_a: true, transpose_b: true }, &[f32s(&[4]), f32s(&[4])], DType::F32));
}

#[test]
fn every_reduction_and_every_movement_comes_back() {
    use ReduceKind::*;
    for kind in [Sum, Mean, Max, Min, Prod, SumSquare, L1, L2, LogSumExp] {
        for keep_dims in [false, true] {
            comes_back(&alone(Op::Reduce { kind, axes: vec![0, 2], keep_dims }, &[f32s(&[2, 3, 4])], DType::F32));
        }
    }
    for (axis, beta, log) in [(0, 1.0, false), (1, 0.5, false), (2, 2.0, true)] {
        comes_back(&alone(Op::Softmax { axis, beta, log }, &[f32s(&[2, 3, 4])], DType::F32));
    }
    for (keep_dims, select_last, min) in [(true, false, false), (false, true, true)] {
        let op = |dtype| Op::ArgMax { axis: 1, keep_dims, select_last, min, dtype };
        comes_back(&alone(op(DType::I64), &[f32s(&[2, 3])], DType::I64));
        comes_back(&alone(op(DType::I32), &[f32s(&[2, 3])], DType::I32));
    }
    for (exclusive, reverse) in [(false, false), (true, true)] {
        comes_back(&alone(Op::CumSum { axis: 1, exclusive, reverse }, &[f32s(&[2, 4])], DType::F32));
    }
    for (k, upper) in [(0, true), (-1, false), (1, true)] {
        comes_back(&alone(Op::Trilu { k, upper }, &[f32s(&[3, 4])], DType::F32));
    }
    for mode in [PadMode::Constant, PadMode::Reflect, PadMode::Edge, PadMode::Wrap] {
        comes_back(&alone(Op::Pad { amount: vec![(1, 0), (2, 1)], mode }, &[f32s(&[3, 4])], DType::F32));
    }
    let cut = Op::Pad { amount: vec![(-1, 2)], mode: PadMode::Constant };
    comes_back(&alone(cut, &[f32s(&[4]), f32s(&[])], DType::F32));
    for (begin, size, step) in [(1, 2, 1), (0, 2, 2), (3, 4, -1), (2, 2, -2), (3, 2, -1), (1, 0, 1), (3, 1, -2)] {
        let op = Op::Slice { begin: vec![begin, 0], size: vec![size, 3], step: vec![step, 1] };
        comes_back(&alone(op, &[f32s(&[4, 3])], DType::F32));
    }
    comes_back(&alone(Op::Concat { axis: 1, act: Act::Relu6 }, &[f32s(&[2, 3]), f32s(&[2, 1])], DType::F32));
    comes_back(&alone(Op::Reshape { shape: vec![3, 0, 2] }, &[f32s(&[0, 5])], DType::F32));
    comes_back(&alone(Op::Transpose { perm: vec![2, 0, 1] }, &[f32s(&[2, 3, 4])], DType::F32));
    comes_back(&alone(Op::Expand { shape: vec![2, 3] }, &[f32s(&[3])], DType::F32));
    for dtype in [DType::I32, DType::I64, DType::U8] {
        let mut build = Build::new();
        let table = build.constant(f32s(&[61, 2]));
        let index = build.input(TensorType::new(dtype, [4]));
        let y = build.node(Op::Gather { axis: 0 }, &[table, index], DType::F32);
        comes_back(&build.done(&[y]));
    }
}

#[test]
fn every_resize_comes_back() {
    let nearest = ResizeMode::Nearest(NearestMode::Floor);
    for mode in [nearest, ResizeMode::Linear, ResizeMode::Cubic { a: -0.5, exclude_outside: true }] {
        for coordinate in [CoordinateMode::HalfPixel, CoordinateMode::AlignCorners, CoordinateMode::Asymmetric] {
            for scale in [1.5, 1.75] {
                let (shape, scale) = (vec![1, 6, 2], vec![1.0, scale, 1.0]);
                let scale = if scale[1] == 1.75 { vec![1.0, 1.55, 1.0] } else { scale };
                let r = Resize { shape, scale, mode, coordinate, antialias: false, roi: None, extrapolation: 0.0 };
                comes_back(&alone(Op::Resize(r), &[f32s(&[1, 4, 2])], DType::F32));
            }
        }
    }
    let (shape, scale, mode) = (vec![3, 6], vec![1.0, 1.5], ResizeMode::Linear);
    let roi = Some(vec![(0.0, 1.0), (0.25, 1.25)]);
    let coordinate = CoordinateMode::TfCropAndResize;
    let r = Resize { shape, scale, mode, coordinate, antialias: false, roi, extrapolation: 7.0 };
    comes_back(&alone(Op::Resize(r), &[f32s(&[3, 4])], DType::F32));
}

#[test]
fn values_stand_channels_first_only_between_operators_that_need_it() {
    let mut build = Build::new();
    let x = build.input(f32s(&[1, 9, 8, 4]));
    let weights = build.constant(f32s(&[6, 3, 3, 2]));
    let bias = build.constant(f32s(&[6]));
    let a = build.node(conv(2, 2, Act::Relu), &[x, weights, bias], DType::F32);
    let scale = build.constant(f32s(&[6]));
    let b = build.node(binary(BinaryKind::Mul), &[a, scale], DType::F32);
    let c = build.node(pool(PoolKind::Average, Act::None), &[b], DType::F32);
    let d = build.node(Op::Unary(UnaryKind::Sigmoid), &[c], DType::F32);
    let e = build.node(Op::Concat { axis: 3, act: Act::None }, &[d, c], DType::F32);
    let mean = Op::Reduce { kind: ReduceKind::Mean, axes: vec![1, 2], keep_dims: false };
    let f = build.node(mean, &[e], DType::F32);
    let graph = build.done(&[f]);
    let chain = ["Transpose", "Conv", "Relu", "Mul", "AveragePool", "Sigmoid", "Concat", "ReduceMean"];
    assert_eq!(nodes(&graph), chain);
    let back = comes_back(&graph);
    let ops: Vec<&str> = back.nodes.iter().map(|n| n.op.name()).collect();
    assert_eq!(ops, ["conv", "mul", "average_pool", "sigmoid", "concat", "mean"]);
}

#[test]
fn every_window_comes_back() {
    for (groups, channels) in [(1, 4), (2, 2), (4, 1)] {
        for act in [Act::None, Act::Relu6] {
            let mut build = Build::new();
            let x = build.input(f32s(&[2, 9, 8, 4]));
            let weights = build.constant(f32s(&[4, 3, 3, channels]));
            let y = build.node(conv(2, groups, act), &[x, weights], DType::F32);
            comes_back(&build.done(&[y]));
        }
    }
    // Weights that are no constants, one spatial axis.
    let line = Op::Conv(Conv { stride: vec![1], dilation: vec![1], pad: vec![(0, 0)], groups: 1, act: Act::None });
    comes_back(&alone(line, &[f32s(&[1, 6, 3]), f32s(&[2, 3, 3])], DType::F32));
    let mut build = Build::new();
    let x = build.input(f32s(&[1, 4, 3, 2]));
    let weights = build.constant(f32s(&[5, 3, 2, 2]));
    let bias = build.constant(f32s(&[5]));
    let (stride, dilation, pad, output_pad) = (vec![2, 1], vec![1, 1], vec![(1, 0), (0, 1)], vec![1, 0]);
    let up = |groups| {
        let (stride, dilation, pad) = (stride.clone(), dilation.clone(), pad.clone());
        Op::ConvTranspose(ConvTranspose {
            stride,
            dilation,
            pad,
            output_pad: output_pad.clone(),
            groups,
            act: Act::Relu,
        })
    };
    let y = build.node(up(1), &[x, weights, bias], DType::F32);
    comes_back(&build.done(&[y]));
    for kind in [PoolKind::Max, PoolKind::Average] {
        comes_back(&alone(pool(kind, Act::None), &[f32s(&[1, 7, 6, 3])], DType::F32));
        comes_back(&alone(pool(kind, Act::ReluN1To1), &[f32s(&[1, 7, 6, 3])], DType::F32));
    }
    let grouped = alone(up(2), &[f32s(&[1, 4, 3, 2]), f32s(&[4, 3, 2, 1])], DType::F32);
    assert_eq!(nodes(&grouped), ["tandem:ConvTranspose"]);
}

#[test]
fn the_positions_of_a_maximum_come_back() {
    let mut build = Build::new();
    let x = build.input(f32s(&[1, 7, 6, 3]));
    let y = build.node(pool(PoolKind::Max, Act::None), &[x], DType::F32);
    let mut graph = build.done(&[y]);
    let shape = graph.ty(y).shape.clone();
    let positions = graph.add_value("positions", TensorType::new(DType::I64, shape));
    graph.nodes[0].outputs.push(positions);
    graph.outputs.push(positions);
    comes_back(&graph);
}

#[test]
fn codes_are_moved_by_onnx_and_computed_in_the_own_domain() {
    let quant = QuantParams::per_tensor(0.25, 3);
    let codes = |shape: &[usize]| TensorType::new(DType::I8, shape).with_quant(quant.clone());
    let mut build = Build::new();
    let x = build.input(f32s(&[1, 5, 5, 2]));
    let mut step = |op: Op, inputs: &[ValueId], dtype: DType, quantised: bool| {
        let y = build.node(op, inputs, dtype);
        build.0.values[y.0].ty.quant = quantised.then(|| quant.clone());
        y
    };
    let q = step(Op::Quantize, &[x], DType::I8, true);
    let add = step(Op::Binary { kind: BinaryKind::Add, act: Act::Relu }, &[q, q], DType::I8, true);
    let flat = step(Op::Reshape { shape: vec![1, 50] }, &[add], DType::I8, true);
    let y = step(Op::Dequantize, &[flat], DType::F32, false);
    let mut weights = codes(&[3, 1, 1, 2]);
    weights.quant = Some(QuantParams { scale: vec![0.5, 0.25, 0.125], zero_point: vec![0; 3], axis: Some(0) });
    let w = build.constant(weights);
    let one = Op::Conv(Conv {
        stride: vec![2, 2],
        dilation: vec![1; 2],
        pad: vec![(0, 1), (1, 2)],
        groups: 1,
        act: Act::Relu,
    });
    let c = build.node(one, &[q, w], DType::I8);
    build.0.values[c.0].ty.quant = Some(quant.clone());
    let graph = build.done(&[y, c]);
    let notes = Notes {
        model: vec![("devices".into(), "fsim,cpu".into())],
        nodes: vec![vec![("device".into(), "cpu".into()), ("reason".into(), "it reads floats".into())]],
    };
    let model = ModelProto::decode(&write(&graph, &notes).unwrap()[..]).unwrap();
    assert!(model.metadata_props.contains(&entry("devices", "fsim,cpu")));
    let domains: Vec<(&str, i64)> = model.opset_import.iter().map(|o| (o.domain.as_str(), o.version)).collect();
    assert_eq!(domains, [("", 21), ("tandem", 1)]);
    let file = model.graph.unwrap();
    assert_eq!(file.node[0].metadata_props, [entry("device", "cpu"), entry("reason", "it reads floats")]);
    let own: Vec<&str> = file.node.iter().filter(|n| n.domain == "tandem").map(|n| n.op_type.as_str()).collect();
    assert_eq!(own, ["Add", "Conv"]);
    let conv = file.node.iter().find(|n| n.op_type == "Conv").unwrap();
    let attribute = |name: &str| conv.attribute.iter().find(|a| a.name == name).unwrap();
    assert_eq!((&attribute("stride").ints, &attribute("pad").ints), (&vec![2, 2], &vec![0, 1, 1, 2]));
    assert_eq!((attribute("groups").i, attribute("act").s.as_deref()), (Some(1), Some(&b"Relu"[..])));
    // Every quantised value is annotated, and says its scale in words.
    let quantised: Vec<&str> = graph.values.iter().filter(|v| v.ty.quant.is_some()).map(|v| v.name.as_str()).collect();
    let mut annotated: Vec<&[u8]> = file.quantization_annotation.iter().map(|a| &a.tensor_name[..]).collect();
    annotated.sort_unstable();
    let mut expected: Vec<&[u8]> = quantised.iter().map(|name| name.as_bytes()).collect();
    expected.sort_unstable();
    assert_eq!(annotated, expected);
    let told = file.value_info.iter().chain(&file.output);
    for info in told.filter(|info| quantised.contains(&info.name.as_str())) {
        assert_eq!(info.metadata_props[0].key, b"scale", "{}", info.name);
    }
    let scales = file.value_info.iter().find(|info| info.name == graph.value(w).name).unwrap();
    assert_eq!(scales.metadata_props[0], entry("scale", "0.5, 0.25, 0.125"));
    // The other family rounds differently from ONNX, so that its quantisation is no operator of ONNX.
    let other = Graph { arith: Arith::TfliteRef, ..graph };
    assert_eq!(nodes(&other)[0], "tandem:Quantize");
}

#[test]
fn notes_stand_once_and_names_are_never_taken_twice() {
    let mut build = Build::new();
    let x = build.input(f32s(&[4]));
    let y = build.node(Op::Unary(UnaryKind::Swish { alpha: 1.0 }), &[x], DType::F32);
    let z = build.constant(f32s(&[2]));
    let mut graph = build.done(&[y]);
    graph.values[y.0].name = "n0/Sigmoid".into();
    graph.nodes[0].name.clear();
    graph.outputs = vec![y, y, x, z];
    let notes = Notes { nodes: vec![vec![("device".into(), "cpu".into())]], ..Notes::default() };
    let file = ModelProto::decode(&write(&graph, &notes).unwrap()[..]).unwrap().graph.unwrap();
    let noted: Vec<(&str, bool)> =
        file.node.iter().map(|n| (n.op_type.as_str(), n.metadata_props.contains(&entry("device", "cpu")))).collect();
    assert_eq!(noted[..2], [("Sigmoid", false), ("Mul", true)]);
    assert_eq!(file.node[0].metadata_props, [entry("part_of", &file.node[1].name)]);
    let mut made: Vec<&String> =
        file.node.iter().flat_map(|n| &n.output).chain(file.initializer.iter().map(|t| &t.name)).collect();
    made.sort();
    let all = made.len();
    made.dedup();
    assert_eq!(made.len(), all);
    comes_back(&graph);
}

#[test]
fn a_graph_that_is_not_valid_is_refused() {
    let mut graph = alone(Op::Unary(UnaryKind::Relu), &[f32s(&[4])], DType::F32);
    graph.nodes[0].inputs[0] = ValueId(99);
    assert!(write(&graph, &Notes::default()).unwrap_err().to_string().contains("not valid"));
}
