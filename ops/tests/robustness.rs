//! Any operator on any operands is computed or refused; nothing panics, whatever the attributes.

use proptest::collection::vec;
use proptest::prelude::*;
use tandem_ops::*;
use tandem_tensor::{DType, QuantParams, Tensor, TensorType};

/// Beyond this many elements only the shape rule is tried.
const LIMIT: usize = 1 << 12;

fn extent() -> impl Strategy<Value = usize> {
    prop_oneof![60 => 0..6usize, 1 => Just(usize::MAX), 1 => Just(1 << 40), 1 => Just(isize::MAX as usize)]
}

fn signed() -> impl Strategy<Value = i64> {
    prop_oneof![40 => -5..6i64, 1 => Just(i64::MIN), 1 => Just(i64::MAX)]
}

fn scale() -> impl Strategy<Value = f64> {
    prop_oneof![40 => 0.1..4.0f64, 2 => Just(1e-300), 2 => Just(1e300), 1 => Just(f64::NAN), 1 => Just(0.0)]
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![Just(Act::None), Just(Act::Relu), Just(Act::Relu6), Just(Act::ReluN1To1)]
}

fn binary_kind() -> impl Strategy<Value = BinaryKind> {
    use BinaryKind::*;
    proptest::sample::select(vec![
        Add,
        Sub,
        Mul,
        Div,
        Pow,
        Min,
        Max,
        PRelu,
        SquaredDifference,
        And,
        Or,
        Xor,
        Equal,
        NotEqual,
        Less,
        LessEqual,
        Greater,
        GreaterEqual,
    ])
}

fn unary_kind() -> impl Strategy<Value = UnaryKind> {
    use UnaryKind::*;
    proptest::sample::select(vec![
        Identity,
        Relu,
        Relu6,
        ReluN1To1,
        LeakyRelu { alpha: 0.1 },
        HardSwish,
        HardSigmoid { alpha: 0.2, beta: f32::NAN },
        Sigmoid,
        Tanh,
        Exp,
        Log,
        Sqrt,
        Rsqrt,
        Reciprocal,
        Neg,
        Abs,
        Sign,
        Erf,
        Sin,
        Cos,
        Floor,
        Ceil,
        Round,
        Not,
        Elu { alpha: 1.0 },
        Softplus,
        Gelu { tanh: false },
        Gelu { tanh: true },
        Swish { alpha: 1.0 },
        Clip { min: Some(f64::NAN), max: Some(-1.0) },
        Clip { min: Some(-1e300), max: None },
    ])
}

fn reduce_kind() -> impl Strategy<Value = ReduceKind> {
    use ReduceKind::*;
    proptest::sample::select(vec![Sum, Mean, Max, Min, Prod, SumSquare, L1, L2, LogSumExp])
}

fn resize() -> impl Strategy<Value = Resize> {
    let mode = proptest::sample::select(vec![
        ResizeMode::Nearest(NearestMode::RoundPreferFloor),
        ResizeMode::Nearest(NearestMode::RoundPreferCeil),
        ResizeMode::Nearest(NearestMode::Floor),
        ResizeMode::Nearest(NearestMode::Ceil),
        ResizeMode::Linear,
        ResizeMode::Cubic { a: -0.75, exclude_outside: true },
        ResizeMode::Cubic { a: f32::NAN, exclude_outside: false },
    ]);
    let coordinate = proptest::sample::select(vec![
        CoordinateMode::HalfPixel,
        CoordinateMode::HalfPixelSymmetric,
        CoordinateMode::PytorchHalfPixel,
        CoordinateMode::AlignCorners,
        CoordinateMode::Asymmetric,
        CoordinateMode::TfCropAndResize,
    ]);
    let roi = proptest::option::of(vec((scale(), scale()), 0..4));
    (vec(extent(), 0..4), vec(scale(), 0..4), mode, coordinate, any::<bool>(), roi).prop_map(
        |(shape, scale, mode, coordinate, antialias, roi)| Resize {
            shape,
            scale,
            mode,
            coordinate,
            antialias,
            roi,
            extrapolation: f64::INFINITY,
        },
    )
}

fn op() -> impl Strategy<Value = Op> {
    let list = || vec(extent(), 0..4);
    let pads = || vec((extent(), extent()), 0..4);
    let conv = (list(), list(), pads(), extent(), act())
        .prop_map(|(stride, dilation, pad, groups, act)| Op::Conv(Conv { stride, dilation, pad, groups, act }));
    let transpose = (list(), list(), pads(), list(), extent(), act()).prop_map(
        |(stride, dilation, pad, output_pad, groups, act)| {
            Op::ConvTranspose(ConvTranspose { stride, dilation, pad, output_pad, groups, act })
        },
    );
    let pool = (list(), list(), list(), pads(), any::<[bool; 3]>(), act()).prop_map(
        |(kernel, stride, dilation, pad, [max, ceil, count_include_pad], act)| {
            let kind = if max { PoolKind::Max } else { PoolKind::Average };
            Op::Pool(Pool { kind, kernel, stride, dilation, pad, ceil, count_include_pad, act })
        },
    );
    let modes = proptest::sample::select(vec![
        PadMode::Constant,
        PadMode::Reflect,
        PadMode::Symmetric,
        PadMode::Edge,
        PadMode::Wrap,
    ]);
    let dtype = || proptest::sample::select(DType::ALL.to_vec());
    prop_oneof![
        conv,
        transpose,
        pool,
        act().prop_map(|act| Op::Dense { act }),
        any::<[bool; 2]>().prop_map(|[transpose_a, transpose_b]| Op::MatMul { transpose_a, transpose_b }),
        (binary_kind(), act()).prop_map(|(kind, act)| Op::Binary { kind, act }),
        unary_kind().prop_map(Op::Unary),
        (extent(), any::<bool>()).prop_map(|(axis, log)| Op::Softmax { axis, beta: 1.0, log }),
        (reduce_kind(), vec(extent(), 0..4), any::<bool>()).prop_map(|(kind, axes, keep_dims)| Op::Reduce {
            kind,
            axes,
            keep_dims
        }),
        (extent(), any::<[bool; 3]>(), dtype()).prop_map(|(axis, [keep_dims, select_last, min], dtype)| Op::ArgMax {
            axis,
            keep_dims,
            select_last,
            min,
            dtype
        }),
        (vec((signed(), signed()), 0..4), modes).prop_map(|(amount, mode)| Op::Pad { amount, mode }),
        (extent(), act()).prop_map(|(axis, act)| Op::Concat { axis, act }),
        (list(), list(), vec(signed(), 0..4)).prop_map(|(begin, size, step)| Op::Slice { begin, size, step }),
        list().prop_map(|shape| Op::Reshape { shape }),
        vec(0..4usize, 0..4).prop_map(|perm| Op::Transpose { perm }),
        resize().prop_map(Op::Resize),
        extent().prop_map(|axis| Op::Gather { axis }),
        list().prop_map(|shape| Op::Expand { shape }),
        Just(Op::Where),
        (dtype(), any::<bool>()).prop_map(|(to, saturate)| Op::Cast { to, saturate }),
        Just(Op::Quantize),
        Just(Op::Dequantize),
        Just(Op::Requantize),
        (extent(), any::<[bool; 2]>()).prop_map(|(axis, [exclusive, reverse])| Op::CumSum { axis, exclusive, reverse }),
        (signed(), any::<bool>()).prop_map(|(k, upper)| Op::Trilu { k, upper }),
    ]
}

fn quant() -> impl Strategy<Value = Option<QuantParams>> {
    let lists = (vec(0.01..2.0f32, 0..4), vec(-200..200i32, 0..4), proptest::option::of(0..4usize))
        .prop_map(|(scale, zero_point, axis)| QuantParams { scale, zero_point, axis });
    prop_oneof![4 => Just(None), 1 => Just(Some(QuantParams::per_tensor(0.5, 3))), 1 => lists.prop_map(Some)]
}

fn operand() -> impl Strategy<Value = TensorType> {
    let shape = prop_oneof![9 => vec(0..6usize, 0..6), 1 => vec(extent(), 0..6)];
    (proptest::sample::select(DType::ALL.to_vec()), shape, quant()).prop_map(|(dtype, shape, quant)| TensorType {
        dtype,
        shape: shape.into(),
        quant,
    })
}

/// Operands that often fit together: the later ones repeat the dtype and shape of the first.
fn operands() -> impl Strategy<Value = Vec<TensorType>> {
    (vec(operand(), 0..4), any::<[bool; 2]>()).prop_map(|(mut list, [same_dtype, same_shape])| {
        let Some(first) = list.first().cloned() else { return list };
        for other in &mut list {
            other.dtype = if same_dtype { first.dtype } else { other.dtype };
            other.shape = if same_shape { first.shape.clone() } else { other.shape.clone() };
        }
        list
    })
}

/// Makes attributes and operands agree in number and extent, as far as the extreme values in them allow, so that more
/// cases than the shape rule's refusals are seen.
fn fit(op: &mut Op, operands: &mut Vec<TensorType>) {
    let Some(first) = operands.first_mut() else { return };
    fn resize<T: Clone>(list: &mut Vec<T>, len: usize, filler: T) {
        list.resize(len, filler);
    }
    fn positive(list: &mut Vec<usize>, len: usize) {
        list.resize(len, 1);
        list.iter_mut().for_each(|n| *n = (*n).max(1));
    }
    let windowed = matches!(op, Op::Conv(_) | Op::ConvTranspose(_) | Op::Pool(_));
    if windowed {
        let rank = first.shape.rank().clamp(3, 5);
        resize(&mut first.shape.0, rank, 3);
    }
    let rank = first.shape.rank();
    let spatial = rank.saturating_sub(2);
    let channels = first.shape.last().copied().unwrap_or(1);
    let like = |dtype, shape: Vec<usize>| TensorType::new(dtype, shape);
    let weights = |groups: usize| {
        let mut shape = vec![2usize.saturating_mul(groups)];
        shape.extend((0..spatial).map(|i| 1 + (channels % 3 + i) % 3));
        shape.push(channels / groups.max(1));
        shape
    };
    let in_rank = |axis: &mut usize| {
        if *axis < 6 {
            *axis %= rank.max(1);
        }
    };
    match op {
        Op::Conv(c) => {
            positive(&mut c.stride, spatial);
            positive(&mut c.dilation, spatial);
            resize(&mut c.pad, spatial, (1, 1));
            c.groups = if c.groups % 2 == 0 { 1 } else { channels };
            let w = like(first.dtype, weights(c.groups));
            operands.truncate(1);
            operands.push(w);
        }
        Op::ConvTranspose(c) => {
            positive(&mut c.stride, spatial);
            positive(&mut c.dilation, spatial);
            resize(&mut c.pad, spatial, (0, 1));
            resize(&mut c.output_pad, spatial, 0);
            c.groups = if c.groups % 2 == 0 { 1 } else { channels };
            let w = like(first.dtype, weights(c.groups));
            let bias = like(first.dtype, vec![w.shape[0]]);
            operands.truncate(1);
            operands.extend([w, bias]);
        }
        Op::Pool(p) => {
            positive(&mut p.kernel, spatial);
            positive(&mut p.stride, spatial);
            positive(&mut p.dilation, spatial);
            resize(&mut p.pad, spatial, (2, 1));
            operands.truncate(1);
        }
        Op::Dense { .. } => {
            let w = like(first.dtype, vec![3, channels]);
            operands.truncate(1);
            operands.push(w);
        }
        Op::Resize(r) => {
            resize(&mut r.shape, rank, 3);
            resize(&mut r.scale, rank, 1.5);
            if let Some(roi) = &mut r.roi {
                resize(roi, rank, (0.0, 1.5));
            }
            operands.truncate(1);
        }
        Op::Pad { amount, .. } => {
            resize(amount, rank, (1, 2));
            operands.truncate(1);
        }
        Op::Slice { begin, size, step } => {
            resize(begin, rank, 0);
            resize(size, rank, 1);
            resize(step, rank, 1);
            for axis in 0..rank {
                let extent = first.shape[axis] as i128;
                // As many steps as stay inside, unless the size is smaller.
                let (b, s) = (begin[axis] as i128, i128::from(step[axis]));
                let inside = if s < 0 { (b / -s) + 1 } else { (extent - b + s - 1) / s.max(1) };
                if b < extent {
                    size[axis] = size[axis].min(inside.max(0) as usize);
                } else {
                    size[axis] = 0;
                }
            }
            operands.truncate(1);
        }
        Op::Transpose { perm } => {
            let turn = perm.len();
            *perm = (0..rank).map(|i| (i + turn) % rank).collect();
            operands.truncate(1);
        }
        Op::Reshape { shape } => {
            *shape = first.shape.iter().rev().copied().collect();
            operands.truncate(1);
        }
        Op::Expand { shape } => {
            resize(shape, 1, 2);
            shape.extend(first.shape.iter());
            operands.truncate(1);
        }
        Op::Reduce { axes, .. } => {
            axes.iter_mut().for_each(in_rank);
            axes.sort_unstable();
            axes.dedup();
            operands.truncate(1);
        }
        Op::Softmax { axis, .. } | Op::CumSum { axis, .. } | Op::ArgMax { axis, .. } => {
            in_rank(axis);
            operands.truncate(1);
        }
        Op::Gather { axis } => {
            in_rank(axis);
            operands.truncate(1);
            operands.push(like(DType::I32, vec![2]));
        }
        Op::Where => {
            let (c, x) = (like(DType::Bool, first.shape.0.clone()), first.clone());
            *operands = vec![c, x.clone(), x];
        }
        Op::MatMul { transpose_b, .. } => {
            let (mut x, y) = (first.clone(), first.clone());
            if *transpose_b && rank > 1 {
                x.shape[rank - 2] = 2;
            }
            *operands = vec![x, y];
        }
        Op::Concat { axis, .. } => in_rank(axis),
        Op::Binary { .. } => {
            operands.truncate(2);
            if operands.len() < 2 {
                operands.push(operands[0].clone());
            }
        }
        _ => operands.truncate(1),
    }
}

fn fill(ty: &TensorType, seed: usize) -> Tensor {
    let values: Vec<f64> = (0..ty.elements()).map(|i| ((i * 7 + seed) % 11) as f64 - 5.0).collect();
    Tensor::from_f64(ty.dtype, ty.shape.clone(), &values).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 20_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_operator_on_any_operands_is_computed_or_refused(
        mut op in op(),
        mut operands in operands(),
        dtype in proptest::sample::select(DType::ALL.to_vec()),
        fitting in proptest::bool::weighted(0.8),
        keep in any::<bool>(),
        quant in quant(),
        xnnpack in any::<bool>(),
    ) {
        if fitting {
            fit(&mut op, &mut operands);
        }
        let types: Vec<&TensorType> = operands.iter().collect();
        let _ = cost(&op, &types);
        let Ok(shapes) = infer(&op, &types) else { return Ok(()) };
        let small = |n: usize| n <= LIMIT;
        if !shapes.iter().all(|s| small(s.elements())) || !types.iter().all(|t| small(t.elements())) {
            return Ok(());
        }
        let tensors: Vec<Tensor> = operands.iter().enumerate().map(|(i, t)| fill(t, i)).collect();
        let list: Vec<Operand<'_>> = tensors.iter().zip(&operands).map(|(tensor, ty)| Operand { tensor, ty }).collect();
        let dtype = if keep { operands[0].dtype } else { dtype };
        let result = TensorType { dtype, shape: shapes[0].clone(), quant };
        let arith = if xnnpack { Arith::Xnnpack } else { Arith::TfliteRef };
        if let Ok(tensors) = reference(&op, arith, &list, &[&result]) {
            prop_assert_eq!(tensors.len(), 1);
            prop_assert_eq!(tensors[0].shape(), &result.shape);
            prop_assert_eq!(tensors[0].dtype(), result.dtype);
        }
    }
}
