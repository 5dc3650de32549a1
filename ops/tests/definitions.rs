//! The definitions of kernels compute what the operators of graphs compute, to the last bit where they are of codes.

use tandem_ops::def::{Dims, Random, accept};
use tandem_ops::{
    ACTIVATIONS, Act, Arith, BinaryKind, Conv, Op, Operand, Pool, PoolKind, Prepared, UnaryKind, defined, infer,
    operation, reference, unsigned,
};
use tandem_tensor::{DType, QuantParams, Shape, Tensor, TensorType};

const ACTS: [Act; 4] = [Act::None, Act::Relu, Act::Relu6, Act::ReluN1To1];

fn ty(dtype: DType, shape: &Shape, quant: Option<&QuantParams>) -> TensorType {
    TensorType { dtype, shape: shape.clone(), quant: quant.cloned() }
}

type Quantised<'a> = (&'a Tensor, Option<&'a QuantParams>);

/// The result of the graph's operator, and that of the definition, whose name is given too.
fn both(
    op: &Op,
    arith: Arith,
    operands: &[Quantised<'_>],
    quant: Option<&QuantParams>,
) -> (Tensor, Tensor, &'static str) {
    let types: Vec<TensorType> = operands.iter().map(|(t, q)| ty(t.dtype(), t.shape(), *q)).collect();
    let all = types.iter().collect::<Vec<_>>();
    let shapes = infer(op, &all).unwrap();
    let result = ty(types[0].dtype, &shapes[0], quant);
    let list: Vec<Operand<'_>> = operands.iter().zip(&types).map(|(&(tensor, _), ty)| Operand { tensor, ty }).collect();
    let expected = reference(op, arith, &list, &[&result]).unwrap().remove(0);
    let prepared = Prepared::new(op, arith, &types[0], &list[1..], &result)
        .or_else(|| Prepared::without_weights(op, arith, &all, &result));
    let tensors: Vec<&Tensor> = operands.iter().map(|operand| operand.0).collect();
    if let Some(prepared) = prepared {
        assert_eq!(prepared.run(&tensors[..prepared.inputs()]).unwrap(), expected);
    }
    let instance = defined(op, arith, &all, &result).unwrap_or_else(|why| panic!("{op:?}: {why}"));
    let inputs = instance.inputs(&tensors).unwrap();
    let dims = accept(instance.operation, &instance.dims, &inputs).unwrap();
    let found = instance.operation.reference(&dims, &inputs).unwrap();
    (unsigned(found.get("out").unwrap(), &result).unwrap(), expected, instance.operation.def().name)
}

const FAMILIES: [Arith; 2] = [Arith::TfliteRef, Arith::Xnnpack];

fn pads(dims: &Dims) -> Vec<(usize, usize)> {
    vec![(dims["pad_top"], dims["pad_bottom"]), (dims["pad_left"], dims["pad_right"])]
}

/// The same codes, of `u8` where that is asked for.
fn codes(tensor: &Tensor, u8s: bool) -> Tensor {
    let bytes = tensor.to_le_bytes();
    Tensor::from_le_bytes(if u8s { DType::U8 } else { DType::I8 }, tensor.shape().clone(), &bytes).unwrap()
}

/// Zero points of all sizes, of codes of either kind.
fn zero(random: &mut Random, u8s: bool) -> i32 {
    random.within(0, 256) as i32 - if u8s { 0 } else { 128 }
}

#[test]
fn convolutions_are_those_of_the_graph_in_both_families_and_of_both_kinds_of_codes() {
    for name in ["conv2d.i8", "depthwise.i8"] {
        let operation = operation(name).unwrap();
        for (at, sample) in operation.samples().into_iter().enumerate() {
            for (arith, u8s) in [(FAMILIES[0], false), (FAMILIES[1], false), (FAMILIES[at % 2], true)] {
                let (dims, act) = (&sample.dims, ACTS[at % 4]);
                let mut random = Random::new(at as u64);
                let inputs = operation.sample(sample.name, dims, 5).unwrap();
                let [x, weight, bias] = ["x", "weight", "bias"].map(|name| inputs.get(name).unwrap());
                let outputs = weight.shape()[0];
                if x.is_empty() || weight.is_empty() {
                    continue; // Nothing to compute, and a graph's convolution has at least one group.
                }
                let channels = if name == "conv2d.i8" { dims["c"] } else { 1 };
                let weight = weight.clone().reshaped([outputs, dims["kh"], dims["kw"], channels]).unwrap();
                let (x, weight) = (codes(x, u8s), codes(&weight, u8s));
                let mut scale = |middle: f64| (middle * (0.5 + random.unit())) as f32;
                let taps = (weight.len() / outputs.max(1)).max(1) as f64;
                let (xs, ys) = (scale(0.04), scale(0.02 * taps.sqrt()));
                // Weights have one scale and zero point as often as a scale for every output.
                let axis = (at % 2 == 0).then_some(0);
                let scales = (0..if axis.is_some() { outputs } else { 1 }).map(|_| scale(0.006)).collect::<Vec<_>>();
                let xq = QuantParams::per_tensor(xs, zero(&mut random, u8s));
                let yq = QuantParams::per_tensor(ys, zero(&mut random, u8s));
                let wzero = if u8s { zero(&mut random, u8s) } else { 0 };
                let wq = QuantParams { zero_point: vec![wzero; scales.len()], scale: scales, axis };
                let op = Op::Conv(Conv {
                    stride: vec![dims["stride_h"], dims["stride_w"]],
                    dilation: vec![dims["dilation_h"], dims["dilation_w"]],
                    pad: pads(dims),
                    groups: if name == "conv2d.i8" { 1 } else { dims["c"] },
                    act,
                });
                let (found, expected, of) =
                    both(&op, arith, &[(&x, Some(&xq)), (&weight, Some(&wq)), (bias, None)], Some(&yq));
                assert_eq!(found, expected, "{name} {} {arith:?} {u8s}", sample.name);
                // With one channel both are the same convolution.
                assert!(of == name || dims["c"] == 1);
            }
        }
    }
}

#[test]
fn dense_layers_are_convolutions_of_one_pixel() {
    let mut random = Random::new(3);
    for at in 0..24 {
        let (arith, u8s) = (FAMILIES[at % 2], at % 3 == 0);
        let (m, n, k) = (random.within(1, 5), random.within(1, 40), random.within(1, 300));
        let (x, w) = (codes(&random.codes([m, k]), u8s), codes(&random.codes([n, k]), u8s));
        let bias = Tensor::from_vec([n], (0..n).map(|_| random.within(0, 9000) as i32 - 4500).collect()).unwrap();
        let xq = QuantParams::per_tensor(0.05, zero(&mut random, u8s));
        let wq = QuantParams::per_tensor(0.007 * (0.5 + random.unit()) as f32, if u8s { 131 } else { 0 });
        let yq = QuantParams::per_tensor(0.02 * (k as f32).sqrt(), zero(&mut random, u8s));
        let op = Op::Dense { act: ACTS[at / 2 % 4] };
        let (found, expected, of) = both(&op, arith, &[(&x, Some(&xq)), (&w, Some(&wq)), (&bias, None)], Some(&yq));
        assert_eq!((found, of), (expected, "conv2d.i8"), "{arith:?} {u8s} {m} {n} {k}");
    }
}

#[test]
fn products_of_codes_around_0_are_those_of_the_graph() {
    let mut random = Random::new(4);
    let op = Op::MatMul { transpose_a: false, transpose_b: true };
    for arith in FAMILIES {
        let (a, b) = (random.codes([7, 50]), random.codes([9, 50]));
        let (aq, bq) = (QuantParams::per_tensor(0.05, 0), QuantParams::per_tensor(0.03, 0));
        let yq = QuantParams::per_tensor(0.7, -4);
        let (found, expected, of) = both(&op, arith, &[(&a, Some(&aq)), (&b, Some(&bq))], Some(&yq));
        assert_eq!((found, of), (expected, "gemm.i8"), "{arith:?}");
    }
}

#[test]
fn pools_are_those_of_the_graph() {
    for (name, kind) in [("max_pool.i8", PoolKind::Max), ("average_pool.i8", PoolKind::Average)] {
        let operation = operation(name).unwrap();
        for (at, sample) in operation.samples().into_iter().enumerate() {
            let (dims, act) = (&sample.dims, ACTS[at % 4]);
            let inputs = operation.sample(sample.name, dims, 5).unwrap();
            for u8s in [false, true] {
                let zero_point = inputs.find("zero_point").map_or(3, |t| t.as_slice::<i32>().unwrap()[0]);
                let q = QuantParams::per_tensor(0.11, zero_point + if u8s { 128 } else { 0 });
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
                let x = codes(inputs.get("x").unwrap(), u8s);
                if x.is_empty() {
                    continue; // Nothing to compute.
                }
                let (found, expected, of) = both(&op, Arith::Xnnpack, &[(&x, Some(&q))], Some(&q));
                assert_eq!((found, of), (expected, name), "{} {u8s}", sample.name);
            }
        }
    }
}

#[test]
fn sums_are_those_of_the_graph_in_both_families_and_of_both_kinds_of_codes() {
    let mut random = Random::new(8);
    for at in 0..80 {
        let (act, arith, u8s) = (ACTS[at % 4], FAMILIES[at / 4 % 2], at % 3 == 0);
        let mut quant = |middle: f64| {
            let scale = middle * 4f64.powf(4.0 * random.unit() - 2.0);
            QuantParams::per_tensor(scale as f32, zero(&mut random, u8s))
        };
        let (aq, bq, yq) = (quant(0.05), quant(0.03), quant(0.06));
        let op = Op::Binary { kind: BinaryKind::Add, act };
        let (a, b) = (codes(&random.codes([7, 143]), u8s), codes(&random.codes([7, 143]), u8s));
        let (found, expected, of) = both(&op, arith, &[(&a, Some(&aq)), (&b, Some(&bq))], Some(&yq));
        assert_eq!((found, of), (expected, "add.i8"), "{arith:?} {aq:?} {bq:?} {yq:?}");
    }
}

#[test]
fn softmax_and_activations_are_those_of_the_graph() {
    for name in ["softmax.f32", "softmax.bf16"] {
        let operation = operation(name).unwrap();
        for sample in operation.samples() {
            let inputs = operation.sample(sample.name, &sample.dims, 5).unwrap();
            let (x, beta) = (inputs.get("x").unwrap(), inputs.scalar("beta").unwrap());
            if x.is_empty() {
                continue; // Nothing to compute.
            }
            let op = Op::Softmax { axis: 1, beta, log: sample.dims["log"] == 1 };
            let (found, expected, of) = both(&op, Arith::Xnnpack, &[(x, None)], None);
            same(&found, &expected, sample.name);
            assert_eq!(of, name);
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
        if !x.is_empty() {
            let (found, expected, of) = both(&op, Arith::Xnnpack, &[(x, None)], None);
            same(&found, &expected, sample.name);
            assert_eq!(of, "activation.bf16");
        }
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
fn an_operator_without_a_definition_is_refused_with_the_reason() {
    let quant = |zero| QuantParams::per_tensor(0.1, zero);
    let codes = |shape: &[usize]| TensorType::new(DType::I8, shape).with_quant(quant(3));
    let plain = |dtype, shape: &[usize]| TensorType::new(dtype, shape);
    let why = |op: &Op, operands: &[&TensorType], result: &TensorType| {
        defined(op, Arith::TfliteRef, operands, result).map_or_else(|why| why, |instance| format!("{instance:?}"))
    };
    let conv = |kernel: usize, groups| {
        let pad = vec![(kernel / 2, kernel / 2); 2];
        Op::Conv(Conv { stride: vec![1; 2], dilation: vec![1; 2], pad, groups, act: Act::None })
    };
    let x = codes(&[1, 4, 4, 8]);
    assert!(why(&conv(1, 1), &[&x, &codes(&[8, 1, 1, 8])], &x).starts_with("conv2d.i8"));
    assert!(why(&conv(1, 8), &[&x, &codes(&[8, 1, 1, 1])], &x).starts_with("depthwise.i8"));
    assert!(why(&conv(1, 2), &[&x, &codes(&[8, 1, 1, 4])], &x).contains("in groups of several channels"));
    let wide = TensorType::new(DType::I8, [8, 1, 1, 8]).with_quant(quant(300));
    assert!(why(&conv(1, 1), &[&x, &wide], &x).contains("weight_zero_point is 300"));
    let (f32s, result) = (plain(DType::F32, &[1, 4, 4, 8]), plain(DType::F32, &[1, 4, 4, 6]));
    assert!(why(&conv(1, 1), &[&f32s, &plain(DType::F32, &[6, 1, 1, 8])], &result).starts_with("gemm.f32"));
    assert!(why(&conv(3, 1), &[&f32s, &plain(DType::F32, &[6, 3, 3, 8])], &result).contains("convolves floats"));
    let dense = Op::Dense { act: Act::Relu };
    let half = |shape: &[usize]| plain(DType::BF16, shape);
    assert!(why(&dense, &[&half(&[5, 8]), &half(&[3, 8])], &half(&[5, 3])).starts_with("gemm.bf16"));
    let cut = Op::Dense { act: Act::Relu6 };
    assert!(why(&cut, &[&half(&[5, 8]), &half(&[3, 8])], &half(&[5, 3])).contains("no activation Relu6"));
    let product = |transpose_b| Op::MatMul { transpose_a: false, transpose_b };
    let f32s = |shape: &[usize]| plain(DType::F32, shape);
    assert!(why(&product(true), &[&f32s(&[5, 8]), &f32s(&[3, 8])], &f32s(&[5, 3])).starts_with("gemm.f32"));
    assert!(why(&product(false), &[&f32s(&[5, 8]), &f32s(&[8, 3])], &f32s(&[5, 3])).contains("has to be transposed"));
    let add = Op::Binary { kind: BinaryKind::Add, act: Act::None };
    assert!(why(&add, &[&x, &codes(&[8])], &x).contains("of one shape"));
    let softmax = Op::Softmax { axis: 1, beta: 1.0, log: false };
    assert!(why(&softmax, &[&f32s(&[1, 4, 8])], &f32s(&[1, 4, 8])).contains("last axis"));
    assert!(why(&softmax, &[&codes(&[1, 4])], &codes(&[1, 4])).contains("softmax of i8"));
    assert!(why(&Op::Unary(UnaryKind::Exp), &[&half(&[4])], &half(&[4])).contains("of bf16"));
    assert!(why(&conv(1, 1), &[], &x).contains("no operand"));
    assert!(why(&add, &[&codes(&[0]), &codes(&[0])], &codes(&[0])).contains("empty"));
}

#[test]
fn scalars_that_are_no_codes_are_refused() {
    for (name, port, bad) in [
        ("conv2d.i8", "input_zero_point", 128),
        ("depthwise.i8", "zero_point", -129),
        ("max_pool.i8", "lo", 200),
        ("average_pool.i8", "zero_point", 1000),
        ("conv2d.i8", "weight_zero_point", 200),
        ("add.i8", "shift", 32),
        ("add.i8", "multiplier", 2),
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
