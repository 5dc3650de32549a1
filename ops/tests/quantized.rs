//! Laws of the 8-bit kernels: they are exact integer sums followed by the published requantiser, and no input makes them panic.

use proptest::prelude::*;
use tandem_ops::arith::{activation_range, weight_requants};
use tandem_ops::{
    Act, Arith, BinaryKind, Conv, ConvTranspose, Op, Operand, Pool, PoolKind, ReduceKind, UnaryKind, infer, reference,
};
use tandem_tensor::{DType, QuantParams, Tensor, TensorType};

const FAMILIES: [Arith; 2] = [Arith::TfliteRef, Arith::Xnnpack];

/// Deterministic codes that fill the range of an 8-bit type.
fn codes(dtype: DType, shape: &[usize], seed: u64) -> Tensor {
    let n: usize = shape.iter().product();
    let mut state = seed.wrapping_mul(2) | 1;
    let bytes: Vec<u8> = (0..n)
        .map(|_| {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (state >> 56) as u8
        })
        .collect();
    Tensor::from_le_bytes(dtype, shape.to_vec(), &bytes).unwrap()
}

fn centred(tensor: &Tensor, quant: &QuantParams) -> Tensor {
    let codes = tensor.to_i64().unwrap();
    let each = codes.len() / quant.zero_point.len().max(1);
    let values: Vec<i32> = codes.iter().enumerate().map(|(i, &q)| q as i32 - quant.at(i / each.max(1)).1).collect();
    Tensor::from_vec(tensor.shape().clone(), values).unwrap()
}

fn ty(tensor: &Tensor, quant: &QuantParams) -> TensorType {
    TensorType::new(tensor.dtype(), tensor.shape().clone()).with_quant(quant.clone())
}

/// The operator on centred `i32` operands, which the floating-point side of the crate computes, through the requantisers.
fn by_exact_sums(
    op: &Op,
    plain: &Op,
    act: Act,
    arith: Arith,
    operands: &[(&Tensor, &QuantParams)],
    bias: Option<&Tensor>,
    out: &TensorType,
) -> Vec<i64> {
    let mut wide: Vec<Tensor> = operands.iter().map(|(t, q)| centred(t, q)).collect();
    wide.extend(bias.cloned());
    let types: Vec<TensorType> = wide.iter().map(|t| TensorType::new(DType::I32, t.shape().clone())).collect();
    let list: Vec<Operand<'_>> = wide.iter().zip(&types).map(|(tensor, ty)| Operand { tensor, ty }).collect();
    let sums = reference(plain, arith, &list, &[&TensorType::new(DType::I32, out.shape.clone())]).unwrap();
    let [(x, xq), (w, wq)] = operands else { panic!("two operands") };
    let requants = weight_requants(op, arith, &ty(x, xq), &ty(w, wq), out).unwrap();
    let quant = out.quant.as_ref().unwrap();
    let (lo, hi) = activation_range(act, out.dtype, quant);
    let sums = sums[0].to_i64().unwrap();
    let channels = requants.len();
    sums.iter()
        .enumerate()
        .map(|(i, &sum)| i64::from(requants[i % channels].code(sum as i32, quant.zero_point(), lo, hi)))
        .collect()
}

fn kernel(
    op: &Op,
    arith: Arith,
    operands: &[(&Tensor, &QuantParams)],
    bias: Option<&Tensor>,
    out: &TensorType,
) -> Vec<i64> {
    let types: Vec<TensorType> = operands.iter().map(|(t, q)| ty(t, q)).collect();
    let mut list: Vec<Operand<'_>> =
        operands.iter().zip(&types).map(|((tensor, _), ty)| Operand { tensor, ty }).collect();
    let bias_type = bias.map(|b| TensorType::new(DType::I32, b.shape().clone()));
    if let (Some(tensor), Some(ty)) = (bias, &bias_type) {
        list.push(Operand { tensor, ty });
    }
    reference(op, arith, &list, &[out]).unwrap()[0].to_i64().unwrap()
}

fn eight_bits() -> impl Strategy<Value = DType> {
    prop_oneof![Just(DType::I8), Just(DType::U8)]
}

fn zero(dtype: DType, at: u8) -> i32 {
    if dtype == DType::U8 { i32::from(at) } else { i32::from(at) - 128 }
}

fn weights_quant(dtype: DType, outputs: usize, per_channel: bool, at: u8) -> QuantParams {
    if per_channel {
        QuantParams {
            scale: (0..outputs).map(|o| 0.001 * (1.0 + o as f32 * 0.37)).collect(),
            zero_point: (0..outputs).map(|o| zero(dtype, at.wrapping_add((o as u8).wrapping_mul(31)))).collect(),
            axis: Some(0),
        }
    } else {
        QuantParams::per_tensor(0.0017, zero(dtype, at))
    }
}

#[derive(Clone, Debug)]
struct Sliding {
    types: [DType; 3],
    zeros: [u8; 3],
    extent: Vec<usize>,
    kernel: Vec<usize>,
    stride: Vec<usize>,
    dilation: Vec<usize>,
    pad: Vec<(usize, usize)>,
    batch: usize,
    groups: usize,
    inner: usize,
    each: usize,
    per_channel: bool,
    relu: bool,
    seed: u64,
}

fn sliding() -> impl Strategy<Value = Sliding> {
    let axes = (1usize..=3).prop_flat_map(|n| {
        (
            prop::collection::vec(1usize..8, n),
            prop::collection::vec(1usize..4, n),
            prop::collection::vec(1usize..3, n),
            prop::collection::vec(1usize..3, n),
            prop::collection::vec((0usize..3, 0usize..3), n),
        )
    });
    let channels = prop_oneof![
        (Just(1usize), 1usize..20, 1usize..40),
        (2usize..40, Just(1usize), 1usize..3),
        (2usize..4, 2usize..5, 1usize..5)
    ];
    (
        (eight_bits(), eight_bits(), eight_bits()),
        any::<[u8; 3]>(),
        axes,
        channels,
        1usize..3,
        any::<(bool, bool, u64)>(),
    )
        .prop_map(
            |(
                types,
                zeros,
                (extent, kernel, stride, dilation, pad),
                (groups, inner, each),
                batch,
                (per_channel, relu, seed),
            )| Sliding {
                types: [types.0, types.1, types.2],
                zeros,
                extent,
                kernel,
                stride,
                dilation,
                pad,
                batch,
                groups,
                inner,
                each,
                per_channel,
                relu,
                seed,
            },
        )
}

impl Sliding {
    fn check(&self, make: impl Fn(Act) -> Op) -> Result<(), TestCaseError> {
        let outputs = self.groups * self.each;
        let x_shape = [vec![self.batch], self.extent.clone(), vec![self.groups * self.inner]].concat();
        let w_shape = [vec![outputs], self.kernel.clone(), vec![self.inner]].concat();
        let [tx, tw, ty_] = self.types;
        let (x, w) = (codes(tx, &x_shape, self.seed), codes(tw, &w_shape, self.seed ^ 77));
        let xq = QuantParams::per_tensor(0.02, zero(tx, self.zeros[0]));
        let wq = weights_quant(tw, outputs, self.per_channel, self.zeros[1]);
        let bias = Tensor::from_vec([outputs], (0..outputs).map(|o| (o as i32 - 3) * 700).collect()).unwrap();
        let act = if self.relu { Act::Relu } else { Act::None };
        let (op, plain) = (make(act), make(Act::None));
        let Ok(shapes) = infer(&op, &[&ty(&x, &xq), &ty(&w, &wq)]) else { return Ok(()) };
        let out =
            TensorType::new(ty_, shapes[0].clone()).with_quant(QuantParams::per_tensor(0.03, zero(ty_, self.zeros[2])));
        let operands = [(&x, &xq), (&w, &wq)];
        for arith in FAMILIES {
            let found = kernel(&op, arith, &operands, Some(&bias), &out);
            prop_assert_eq!(found, by_exact_sums(&op, &plain, act, arith, &operands, Some(&bias), &out));
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn a_convolution_is_exact_sums_and_the_requantiser(c in sliding()) {
        c.check(|act| Op::Conv(Conv {
            stride: c.stride.clone(), dilation: c.dilation.clone(), pad: c.pad.clone(), groups: c.groups, act,
        }))?;
    }

    #[test]
    fn a_transposed_convolution_is_exact_sums_and_the_requantiser(c in sliding()) {
        c.check(|act| Op::ConvTranspose(ConvTranspose {
            stride: c.stride.clone(), dilation: c.dilation.clone(), pad: c.pad.clone(),
            output_pad: vec![0; c.pad.len()], groups: c.groups, act,
        }))?;
    }

    #[test]
    fn a_dense_layer_is_exact_sums_and_the_requantiser(
        rows in 1usize..12, k in 1usize..80, outputs in 1usize..40, dtype in eight_bits(), zeros in any::<[u8; 3]>(), per_channel: bool, seed: u64,
    ) {
        let (x, w) = (codes(dtype, &[rows, k], seed), codes(dtype, &[outputs, k], seed ^ 5));
        let xq = QuantParams::per_tensor(0.02, zero(dtype, zeros[0]));
        let wq = weights_quant(dtype, outputs, per_channel, zeros[1]);
        let out = TensorType::new(dtype, [rows, outputs]).with_quant(QuantParams::per_tensor(0.03, zero(dtype, zeros[2])));
        let op = Op::Dense { act: Act::None };
        for arith in FAMILIES {
            let operands = [(&x, &xq), (&w, &wq)];
            prop_assert_eq!(kernel(&op, arith, &operands, None, &out), by_exact_sums(&op, &op, Act::None, arith, &operands, None, &out));
        }
    }

    #[test]
    fn a_matrix_product_is_exact_sums_and_the_requantiser(
        (m, k, n) in (1usize..9, 1usize..20, 1usize..20), batch in 1usize..3, swap in any::<[bool; 2]>(), dtype in eight_bits(), zeros in any::<[u8; 3]>(), seed: u64,
    ) {
        let a = codes(dtype, &if swap[0] { [batch, k, m] } else { [batch, m, k] }, seed);
        let b = codes(dtype, &if swap[1] { [n, k] } else { [k, n] }, seed ^ 5);
        let aq = QuantParams::per_tensor(0.02, zero(dtype, zeros[0]));
        let bq = QuantParams::per_tensor(0.002, zero(dtype, zeros[1]));
        let out = TensorType::new(dtype, [batch, m, n]).with_quant(QuantParams::per_tensor(0.03, zero(dtype, zeros[2])));
        let op = Op::MatMul { transpose_a: swap[0], transpose_b: swap[1] };
        for arith in FAMILIES {
            let operands = [(&a, &aq), (&b, &bq)];
            prop_assert_eq!(kernel(&op, arith, &operands, None, &out), by_exact_sums(&op, &op, Act::None, arith, &operands, None, &out));
        }
    }

    /// Whatever the quantisation parameters, an operator computes or refuses.
    #[test]
    fn absurd_parameters_are_refused_or_computed(
        which in 0usize..14,
        scales in prop::collection::vec(prop_oneof![
            Just(0.0f32), Just(-1.0), Just(f32::NAN), Just(f32::INFINITY), Just(f32::MIN_POSITIVE), Just(1e-40), Just(f32::MAX), 1e-6f32..1e3,
        ], 3),
        zeros in prop::collection::vec(prop_oneof![Just(i32::MIN), Just(i32::MAX), Just(-129), Just(256), -128i32..128], 3),
        axis in prop::option::of(0usize..6),
        dtypes in (eight_bits(), eight_bits()),
        shape in prop::collection::vec(0usize..4, 3..5),
        lengths in prop::collection::vec(0usize..4, 2),
        seed: u64,
    ) {
        let quant = |i: usize| QuantParams {
            scale: vec![scales[i]; if axis.is_some() { lengths[0] } else { 1 }],
            zero_point: vec![zeros[i]; if axis.is_some() { lengths[1] } else { 1 }],
            axis,
        };
        let spatial = shape.len() - 2;
        let ones = vec![1; spatial];
        let unary = [UnaryKind::Tanh, UnaryKind::HardSwish, UnaryKind::LeakyRelu { alpha: f32::NAN }, UnaryKind::Relu6];
        let binary = [BinaryKind::Add, BinaryKind::Mul, BinaryKind::PRelu, BinaryKind::Div];
        let op = match which {
            0..4 => Op::Unary(unary[which]),
            4..8 => Op::Binary { kind: binary[which - 4], act: Act::Relu6 },
            8 => Op::Requantize,
            9 => Op::Softmax { axis: 1, beta: f32::INFINITY, log: false },
            10 => Op::Reduce { kind: ReduceKind::Mean, axes: vec![1], keep_dims: false },
            11 => Op::Concat { axis: 1, act: Act::None },
            12 => Op::Pool(Pool {
                kind: PoolKind::Average, kernel: vec![2; spatial], stride: ones.clone(), dilation: ones.clone(),
                pad: vec![(1, 1); spatial], ceil: false, count_include_pad: true, act: Act::Relu,
            }),
            _ => Op::Conv(Conv {
                stride: ones.clone(), dilation: ones, pad: vec![(1, 1); spatial], groups: 1, act: Act::Relu6,
            }),
        };
        let mut w_shape = shape.clone();
        if which == 13 {
            w_shape[0] = 2;
        }
        let (a, b) = (codes(dtypes.0, &shape, seed), codes(dtypes.1, &w_shape, !seed));
        let (ta, tb) = (ty(&a, &quant(0)), ty(&b, &quant(1)));
        let operands = [Operand { tensor: &a, ty: &ta }, Operand { tensor: &b, ty: &tb }];
        let count = if matches!(which, 4..8 | 11 | 13) { 2 } else { 1 };
        let types: Vec<&TensorType> = operands[..count].iter().map(|o| o.ty).collect();
        if let Ok(shapes) = infer(&op, &types) {
            let out = TensorType::new(dtypes.1, shapes[0].clone()).with_quant(quant(2));
            for arith in FAMILIES {
                if let Ok(results) = reference(&op, arith, &operands[..count], &[&out]) {
                    prop_assert_eq!(results[0].shape(), &out.shape);
                }
            }
        }
    }
}
