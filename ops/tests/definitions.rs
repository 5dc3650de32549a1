//! The definitions of kernels compute what the operators of graphs compute, to the last bit where they are of codes.

use tandem_ops::arith::{Requant, activation_range, add_params};
use tandem_ops::def::{Dims, Operation, Random, Tensors, accept};
use tandem_ops::{
    ACTIVATIONS, Act, Arith, BinaryKind, Conv, Op, Operand, Pool, PoolKind, Prepared, UnaryKind, definition, infer,
    operation, reference,
};
use tandem_tensor::{DType, QuantParams, Shape, Tensor, TensorType};

const ACTS: [Act; 4] = [Act::None, Act::Relu, Act::Relu6, Act::ReluN1To1];

fn ty(dtype: DType, shape: &Shape, quant: Option<&QuantParams>) -> TensorType {
    TensorType { dtype, shape: shape.clone(), quant: quant.cloned() }
}

/// The result of the graph's operator, and its type.
fn graph(op: &Op, operands: &[(&Tensor, Option<&QuantParams>)], quant: Option<&QuantParams>) -> Tensor {
    let types: Vec<TensorType> = operands.iter().map(|(t, q)| ty(t.dtype(), t.shape(), *q)).collect();
    let shapes = infer(op, &types.iter().collect::<Vec<_>>()).unwrap();
    let result = ty(types[0].dtype, &shapes[0], quant);
    let list: Vec<Operand<'_>> = operands.iter().zip(&types).map(|(&(tensor, _), ty)| Operand { tensor, ty }).collect();
    let found = reference(op, Arith::Xnnpack, &list, &[&result]).unwrap().remove(0);
    let all = types.iter().collect::<Vec<_>>();
    let prepared = Prepared::new(op, Arith::Xnnpack, &types[0], &list[1..], &result)
        .or_else(|| Prepared::without_weights(op, Arith::Xnnpack, &all, &result));
    if let Some(prepared) = prepared {
        let inputs: Vec<&Tensor> = operands.iter().take(prepared.inputs()).map(|operand| operand.0).collect();
        assert_eq!(prepared.run(&inputs).unwrap(), found);
    }
    found
}

fn by_definition(operation: &dyn Operation, dims: &Dims, inputs: &Tensors) -> Tensor {
    let dims = accept(operation, dims, inputs).unwrap();
    operation.reference(&dims, inputs).unwrap().get("out").unwrap().clone()
}

fn with_range(inputs: Tensors, act: Act, output: &QuantParams) -> Tensors {
    let (lo, hi) = activation_range(act, DType::I8, output);
    inputs.with("lo", Tensor::scalar(lo)).with("hi", Tensor::scalar(hi))
}

fn pads(dims: &Dims) -> Vec<(usize, usize)> {
    vec![(dims["pad_top"], dims["pad_bottom"]), (dims["pad_left"], dims["pad_right"])]
}

#[test]
fn convolutions_are_those_of_the_graph() {
    for name in ["conv2d.i8", "depthwise.i8"] {
        let operation = operation(name).unwrap();
        for (at, sample) in operation.samples().into_iter().enumerate() {
            let (dims, act) = (&sample.dims, ACTS[at % 4]);
            let mut random = Random::new(at as u64);
            let inputs = operation.sample(sample.name, dims, 5).unwrap();
            let (x, weight) = (inputs.get("x").unwrap(), inputs.get("weight").unwrap());
            let outputs = weight.shape()[0];
            let mut scale = |middle: f64| (middle * (0.5 + random.unit())) as f32;
            let xq = QuantParams::per_tensor(scale(0.04), inputs.scalar("input_zero_point").unwrap());
            let taps = (weight.len() / outputs.max(1)).max(1) as f64;
            let yq = QuantParams::per_tensor(scale(0.02 * taps.sqrt()), inputs.scalar("zero_point").unwrap());
            let wq = QuantParams {
                scale: (0..outputs).map(|_| scale(0.006)).collect(),
                zero_point: vec![0; outputs],
                axis: Some(0),
            };
            let factors: Vec<f32> = wq.scale.iter().map(|w| xq.scale() * w / yq.scale()).collect();
            let channels = if name == "conv2d.i8" { dims["c"] } else { 1 };
            if dims["c"] == 0 && name == "depthwise.i8" {
                continue; // A graph's convolution has at least one group.
            }
            let weight = weight.clone().reshaped([outputs, dims["kh"], dims["kw"], channels]).unwrap();
            let op = Op::Conv(Conv {
                stride: vec![dims["stride_h"], dims["stride_w"]],
                dilation: vec![dims["dilation_h"], dims["dilation_w"]],
                pad: pads(dims),
                groups: if name == "conv2d.i8" { 1 } else { dims["c"] },
                act,
            });
            let bias = inputs.get("bias").unwrap();
            let expected = graph(&op, &[(x, Some(&xq)), (&weight, Some(&wq)), (bias, None)], Some(&yq));
            let inputs =
                with_range(inputs.clone(), act, &yq).with("scale", Tensor::from_vec([outputs], factors).unwrap());
            assert_eq!(by_definition(operation, dims, &inputs), expected, "{name} {}", sample.name);
            // With one channel both are the same convolution.
            let types = [ty(DType::I8, x.shape(), Some(&xq)), ty(DType::I8, weight.shape(), Some(&wq))];
            assert_eq!(definition(&op, &[&types[0], &types[1]]).unwrap().name, name);
        }
    }
}

#[test]
fn pools_are_those_of_the_graph() {
    for (name, kind) in [("max_pool.i8", PoolKind::Max), ("average_pool.i8", PoolKind::Average)] {
        let operation = operation(name).unwrap();
        for (at, sample) in operation.samples().into_iter().enumerate() {
            let (dims, act) = (&sample.dims, ACTS[at % 4]);
            let inputs = operation.sample(sample.name, dims, 5).unwrap();
            let zero_point = inputs.find("zero_point").map_or(3, |t| t.as_slice::<i32>().unwrap()[0]);
            let q = QuantParams::per_tensor(0.11, zero_point);
            let op = Op::Pool(Pool {
                kind,
                kernel: vec![dims["kh"], dims["kw"]],
                stride: vec![dims["stride_h"], dims["stride_w"]],
                dilation: vec![dims["dilation_h"], dims["dilation_w"]],
                pad: pads(dims),
                ceil: dims["extent"] == 1,
                count_include_pad: dims.find("padding") == Some(1),
                act,
            });
            let x = inputs.get("x").unwrap();
            let expected = graph(&op, &[(x, Some(&q))], Some(&q));
            let inputs = with_range(inputs.clone(), act, &q);
            assert_eq!(by_definition(operation, dims, &inputs), expected, "{name} {}", sample.name);
            assert_eq!(definition(&op, &[&ty(DType::I8, x.shape(), Some(&q))]).unwrap().name, name);
        }
    }
}

#[test]
fn sums_are_those_of_the_graph() {
    let operation = operation("add.i8").unwrap();
    let mut random = Random::new(8);
    for at in 0..40 {
        let act = ACTS[at % 4];
        let mut quant = |middle: f64| {
            let scale = middle * 4f64.powf(4.0 * random.unit() - 2.0);
            QuantParams::per_tensor(scale as f32, random.within(0, 256) as i32 - 128)
        };
        let (aq, bq, yq) = (quant(0.05), quant(0.03), quant(0.06));
        let op = Op::Binary { kind: BinaryKind::Add, act };
        let dims = operation.samples()[2].dims.clone();
        let inputs = operation.sample("usual", &dims, at as u64).unwrap();
        let (a, b) = (inputs.get("a").unwrap(), inputs.get("b").unwrap());
        let expected = graph(&op, &[(a, Some(&aq)), (b, Some(&bq))], Some(&yq));
        let params = add_params(Arith::Xnnpack, &aq, &bq, &yq, DType::I8, act, false);
        let single = |requant| match requant {
            Requant::SingleRounding { multiplier, shift } => (multiplier, shift as i32),
            other => panic!("{other:?}"),
        };
        let inputs = with_range(inputs.clone(), act, &yq)
            .with("a_zero_point", Tensor::scalar(aq.zero_point()))
            .with("b_zero_point", Tensor::scalar(bq.zero_point()))
            .with("a_multiplier", Tensor::scalar(single(params.a.requant).0))
            .with("b_multiplier", Tensor::scalar(single(params.b.requant).0))
            .with("shift", Tensor::scalar(single(params.output).1))
            .with("zero_point", Tensor::scalar(yq.zero_point()));
        assert_eq!(by_definition(operation, &dims, &inputs), expected, "{aq:?} {bq:?} {yq:?}");
        let types = [ty(DType::I8, a.shape(), Some(&aq)), ty(DType::I8, b.shape(), Some(&bq))];
        assert_eq!(definition(&op, &[&types[0], &types[1]]).unwrap().name, "add.i8");
    }
}

#[test]
fn softmax_and_activations_are_those_of_the_graph() {
    for name in ["softmax.f32", "softmax.bf16"] {
        let operation = operation(name).unwrap();
        for sample in operation.samples() {
            let inputs = operation.sample(sample.name, &sample.dims, 5).unwrap();
            let (x, beta) = (inputs.get("x").unwrap(), inputs.scalar("beta").unwrap());
            let op = Op::Softmax { axis: 1, beta, log: sample.dims["log"] == 1 };
            let (found, expected) = (by_definition(operation, &sample.dims, &inputs), graph(&op, &[(x, None)], None));
            same(&found, &expected, sample.name);
            assert_eq!(definition(&op, &[&ty(x.dtype(), x.shape(), None)]).unwrap().name, name);
        }
    }
    let operation = operation("activation.bf16").unwrap();
    let kinds = [
        UnaryKind::Relu,
        UnaryKind::Relu6,
        UnaryKind::Swish { alpha: 1.0 },
        UnaryKind::Gelu { tanh: false },
        UnaryKind::Gelu { tanh: true },
        UnaryKind::Sigmoid,
        UnaryKind::Tanh,
        UnaryKind::HardSwish,
    ];
    assert_eq!(kinds.len(), ACTIVATIONS.len());
    for sample in operation.samples() {
        let inputs = operation.sample(sample.name, &sample.dims, 5).unwrap();
        let (x, op) = (inputs.get("x").unwrap(), Op::Unary(kinds[sample.dims["kind"]]));
        same(&by_definition(operation, &sample.dims, &inputs), &graph(&op, &[(x, None)], None), sample.name);
        assert_eq!(definition(&op, &[&ty(x.dtype(), x.shape(), None)]).unwrap().name, "activation.bf16");
    }
}

/// Equal elements, or a NaN on both sides.
fn same(found: &Tensor, expected: &Tensor, context: &str) {
    assert_eq!(found.shape(), expected.shape());
    for (at, (a, b)) in found.to_f64().iter().zip(expected.to_f64()).enumerate() {
        assert!(*a == b || a.is_nan() && b.is_nan(), "{context}: {a} for {b} at {at}");
    }
}

#[test]
fn an_operator_without_a_definition_has_none() {
    let q = QuantParams::per_tensor(0.1, 3);
    let codes = |shape: &[usize]| TensorType::new(DType::I8, shape).with_quant(q.clone());
    let centred = |shape: &[usize]| TensorType::new(DType::I8, shape).with_quant(QuantParams::per_tensor(0.1, 0));
    let plain = |dtype, shape: &[usize]| TensorType::new(dtype, shape);
    let name = |op: &Op, operands: &[&TensorType]| definition(op, operands).map(|def| def.name);
    let conv = |groups| {
        Op::Conv(Conv { stride: vec![1; 2], dilation: vec![1; 2], pad: vec![(0, 0); 2], groups, act: Act::None })
    };
    let x = codes(&[1, 4, 4, 8]);
    assert_eq!(name(&conv(1), &[&x, &centred(&[8, 1, 1, 8])]), Some("conv2d.i8"));
    assert_eq!(name(&conv(8), &[&x, &centred(&[8, 1, 1, 1])]), Some("depthwise.i8"));
    assert_eq!(name(&conv(2), &[&x, &centred(&[8, 1, 1, 4])]), None, "groups");
    assert_eq!(name(&conv(1), &[&x, &codes(&[8, 1, 1, 8])]), None, "weights that are not centred");
    let f32s = plain(DType::F32, &[1, 4, 4, 8]);
    assert_eq!(name(&conv(1), &[&f32s, &plain(DType::F32, &[8, 1, 1, 8])]), None, "floats");
    let dense = Op::Dense { act: Act::Relu };
    assert_eq!(name(&dense, &[&codes(&[5, 8]), &centred(&[3, 8])]), Some("gemm.i8"));
    assert_eq!(name(&dense, &[&plain(DType::BF16, &[5, 8]), &plain(DType::BF16, &[3, 8])]), Some("gemm.bf16"));
    assert_eq!(name(&Op::Dense { act: Act::Relu6 }, &[&codes(&[5, 8]), &centred(&[3, 8])]), None);
    let product = Op::MatMul { transpose_a: false, transpose_b: true };
    assert_eq!(name(&product, &[&plain(DType::F32, &[5, 8]), &plain(DType::F32, &[3, 8])]), Some("gemm.f32"));
    let add = Op::Binary { kind: BinaryKind::Add, act: Act::None };
    assert_eq!(name(&add, &[&x, &codes(&[8])]), None, "broadcast");
    assert_eq!(name(&Op::Softmax { axis: 1, beta: 1.0, log: false }, &[&f32s]), None, "not the last axis");
    assert_eq!(name(&Op::Unary(UnaryKind::Exp), &[&plain(DType::BF16, &[4])]), None);
    assert_eq!(name(&conv(1), &[]), None);
}

#[test]
fn scalars_that_are_no_codes_are_refused() {
    for (name, port, bad) in [
        ("conv2d.i8", "input_zero_point", 128),
        ("depthwise.i8", "zero_point", -129),
        ("max_pool.i8", "lo", 200),
        ("average_pool.i8", "zero_point", 1000),
        ("add.i8", "shift", 32),
        ("add.i8", "hi", -128),
    ] {
        let operation = operation(name).unwrap();
        let dims = operation.samples()[2].dims.clone();
        let mut inputs = operation.sample("usual", &dims, 1).unwrap();
        if port == "hi" {
            inputs = inputs.with("lo", Tensor::scalar(-127));
        }
        assert!(accept(operation, &dims, &inputs).is_ok(), "{name} {port}");
        assert!(accept(operation, &dims, &inputs.with(port, Tensor::scalar(bad))).is_err(), "{name} {port}");
    }
    let rope = operation("rope.bf16").unwrap();
    let dims = rope.samples()[5].dims.clone();
    let inputs = rope.sample("usual", &dims, 1).unwrap();
    for theta in [0.0f32, -1.0, f32::NAN, f32::INFINITY] {
        assert!(accept(rope, &dims, &inputs.clone().with("theta", Tensor::scalar(theta))).is_err());
    }
    assert!(rope.sample("usual", &dims.clone().with("rotary", 63), 1).is_err());
}

#[test]
fn windows_that_do_not_fit_are_refused_without_a_panic() {
    for name in ["conv2d.i8", "depthwise.i8", "max_pool.i8", "average_pool.i8"] {
        let operation = operation(name).unwrap();
        let dims = operation.samples()[2].dims.clone();
        let extremes = [("stride_h", 0), ("dilation_w", 0), ("pad_top", usize::MAX), ("pad_right", 1 << 40), ("kh", 0)];
        for (axis, extent) in extremes.into_iter().chain([("kw", usize::MAX), ("n", usize::MAX), ("c", 1 << 62)]) {
            let refused = operation.sample("usual", &dims.clone().with(axis, extent), 1);
            assert!(refused.is_err(), "{name} {axis}={extent}");
        }
    }
}
