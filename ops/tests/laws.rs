//! Laws that hold between operators, on random integer tensors.

use proptest::collection::vec;
use proptest::prelude::*;
use tandem_ops::*;
use tandem_tensor::{DType, Shape, Tensor, TensorType};

fn run(op: &Op, operands: &[&Tensor]) -> Tensor {
    let types: Vec<TensorType> = operands.iter().map(|t| TensorType::new(t.dtype(), t.shape().clone())).collect();
    let shapes = infer(op, &types.iter().collect::<Vec<_>>()).unwrap();
    let result = TensorType::new(operands[0].dtype(), shapes[0].clone());
    let list: Vec<Operand<'_>> = operands.iter().zip(&types).map(|(tensor, ty)| Operand { tensor, ty }).collect();
    reference(op, Arith::TfliteRef, &list, &[&result]).unwrap().remove(0)
}

fn tensor(shape: Vec<usize>) -> impl Strategy<Value = Tensor> {
    let n = Shape::from(shape.as_slice()).elements();
    vec(-50..50i32, n).prop_map(move |v| Tensor::from_vec(shape.clone(), v).unwrap())
}

fn any_tensor() -> impl Strategy<Value = Tensor> {
    vec(1..5usize, 1..5).prop_flat_map(tensor)
}

fn with_perm() -> impl Strategy<Value = (Tensor, Vec<usize>)> {
    any_tensor().prop_flat_map(|t| {
        let perm: Vec<usize> = (0..t.shape().rank()).collect();
        (Just(t), Just(perm).prop_shuffle())
    })
}

fn with_axis() -> impl Strategy<Value = (Tensor, usize)> {
    any_tensor().prop_flat_map(|t| {
        let rank = t.shape().rank();
        (Just(t), 0..rank)
    })
}

fn matrices() -> impl Strategy<Value = (Tensor, Tensor)> {
    (1..4usize, 1..5usize, 1..5usize, 1..5usize)
        .prop_flat_map(|(b, m, k, n)| (tensor(vec![b, m, k]), tensor(vec![b, n, k])))
}

fn along(t: &Tensor, axis: usize, begin: usize, size: usize, step: i64) -> Tensor {
    let rank = t.shape().rank();
    let mut op = (vec![0; rank], t.shape().0.clone(), vec![1; rank]);
    (op.0[axis], op.1[axis], op.2[axis]) = (begin, size, step);
    run(&Op::Slice { begin: op.0, size: op.1, step: op.2 }, &[t])
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn an_inverse_permutation_undoes_a_transposition((x, perm) in with_perm()) {
        let mut inverse = vec![0; perm.len()];
        for (i, &p) in perm.iter().enumerate() {
            inverse[p] = i;
        }
        let there = run(&Op::Transpose { perm }, &[&x]);
        prop_assert_eq!(run(&Op::Transpose { perm: inverse }, &[&there]), x);
    }

    #[test]
    fn concatenated_slices_are_the_whole((x, axis) in with_axis(), cut in 0..5usize) {
        let extent = x.shape()[axis];
        let cut = cut.min(extent);
        let (a, b) = (along(&x, axis, 0, cut, 1), along(&x, axis, cut.min(extent - 1), extent - cut, 1));
        let joined = run(&Op::Concat { axis, act: Act::None }, &[&a, &b]);
        prop_assert_eq!(joined, x);
    }

    #[test]
    fn a_reversed_slice_is_a_gather_from_the_back((x, axis) in with_axis()) {
        let extent = x.shape()[axis];
        let indices = Tensor::from_vec([extent], (1..=extent as i64).map(|i| -i).collect::<Vec<_>>()).unwrap();
        let gathered = run(&Op::Gather { axis }, &[&x, &indices]);
        prop_assert_eq!(gathered, along(&x, axis, extent - 1, extent, -1));
    }

    #[test]
    fn a_negative_pad_undoes_a_pad(
        (x, axis) in with_axis(),
        before in 0..4i64,
        after in 0..4i64,
        mode in prop_oneof![
            Just(PadMode::Constant), Just(PadMode::Edge), Just(PadMode::Reflect), Just(PadMode::Symmetric), Just(PadMode::Wrap)
        ],
    ) {
        let mut amount = vec![(0, 0); x.shape().rank()];
        amount[axis] = (before, after);
        let padded = run(&Op::Pad { amount: amount.clone(), mode }, &[&x]);
        amount[axis] = (-before, -after);
        prop_assert_eq!(run(&Op::Pad { amount, mode }, &[&padded]), x);
    }

    #[test]
    fn reducing_two_axes_is_reducing_one_after_the_other((x, axis) in with_axis()) {
        for kind in [ReduceKind::Sum, ReduceKind::Max, ReduceKind::Min, ReduceKind::Prod] {
            let reduce = |x: &Tensor, axes: Vec<usize>| run(&Op::Reduce { kind, axes, keep_dims: true }, &[x]);
            if axis == 0 {
                continue;
            }
            prop_assert_eq!(reduce(&x, vec![0, axis]), reduce(&reduce(&x, vec![axis]), vec![0]));
        }
    }

    #[test]
    fn the_last_running_sum_is_the_sum((x, axis) in with_axis()) {
        let sums = run(&Op::CumSum { axis, exclusive: false, reverse: false }, &[&x]);
        let total = run(&Op::Reduce { kind: ReduceKind::Sum, axes: vec![axis], keep_dims: true }, &[&x]);
        prop_assert_eq!(along(&sums, axis, x.shape()[axis] - 1, 1, 1), total);
    }

    #[test]
    fn a_broadcast_operand_is_an_expanded_one((x, axis) in with_axis()) {
        let thin = along(&x, axis, 0, 1, 1);
        let wide = run(&Op::Expand { shape: x.shape().0.clone() }, &[&thin]);
        for kind in [BinaryKind::Sub, BinaryKind::Mul, BinaryKind::Max] {
            let op = Op::Binary { kind, act: Act::None };
            prop_assert_eq!(run(&op, &[&x, &thin]), run(&op, &[&x, &wide]));
            prop_assert_eq!(run(&op, &[&thin, &x]), run(&op, &[&wide, &x]));
        }
    }

    #[test]
    fn a_dense_layer_a_product_and_a_convolution_of_one_tap_agree((x, w) in matrices()) {
        let first = |t: &Tensor| run(&Op::Reshape { shape: t.shape()[1..].to_vec() }, &[&along(t, 0, 0, 1, 1)]);
        let stacked = run(&Op::MatMul { transpose_a: false, transpose_b: true }, &[&x, &w]);
        let (x0, w0) = (first(&x), first(&w));
        let dense = run(&Op::Dense { act: Act::None }, &[&x0, &w0]);
        prop_assert_eq!(&first(&stacked), &dense);
        let turned = run(&Op::Transpose { perm: vec![1, 0] }, &[&w0]);
        prop_assert_eq!(&run(&Op::MatMul { transpose_a: false, transpose_b: false }, &[&x0, &turned]), &dense);
        let (m, k, n) = (x0.shape()[0], x0.shape()[1], w0.shape()[0]);
        let line = run(&Op::Reshape { shape: vec![1, m, k] }, &[&x0]);
        let taps = run(&Op::Reshape { shape: vec![n, 1, k] }, &[&w0]);
        let conv = Op::Conv(Conv { stride: vec![1], dilation: vec![1], pad: vec![(0, 0)], groups: 1, act: Act::None });
        let conv = run(&conv, &[&line, &taps]);
        prop_assert_eq!(conv.as_slice::<i32>().unwrap(), dense.as_slice::<i32>().unwrap());
    }

    #[test]
    fn an_average_pool_is_a_depthwise_convolution(x in tensor(vec![1, 5, 6, 2]), kernel in 1..4usize, stride in 1..4usize) {
        let x = Tensor::from_f64(DType::F64, x.shape().clone(), &x.to_f64()).unwrap();
        let pool = Op::Pool(Pool {
            kind: PoolKind::Average,
            kernel: vec![kernel; 2],
            stride: vec![stride; 2],
            dilation: vec![1; 2],
            pad: vec![(0, 0); 2],
            ceil: false,
            count_include_pad: false,
            act: Act::None,
        });
        let share = 1.0 / (kernel * kernel) as f64;
        let w = Tensor::from_f64(DType::F64, [2, kernel, kernel, 1], &vec![share; 2 * kernel * kernel]).unwrap();
        let conv = Op::Conv(Conv { stride: vec![stride; 2], dilation: vec![1; 2], pad: vec![(0, 0); 2], groups: 2, act: Act::None });
        let (a, b) = (run(&pool, &[&x]).to_f64(), run(&conv, &[&x, &w]).to_f64());
        prop_assert_eq!(a.len(), b.len());
        for (a, b) in a.iter().zip(b) {
            prop_assert!((a - b).abs() < 1e-12, "{} and {}", a, b);
        }
    }

    #[test]
    fn probabilities_sum_to_one((x, axis) in with_axis()) {
        let x = Tensor::from_f64(DType::F64, x.shape().clone(), &x.to_f64()).unwrap();
        let p = run(&Op::Softmax { axis, beta: 0.5, log: false }, &[&x]);
        let sums = run(&Op::Reduce { kind: ReduceKind::Sum, axes: vec![axis], keep_dims: false }, &[&p]);
        for s in sums.to_f64() {
            prop_assert!((s - 1.0).abs() < 1e-12);
        }
        let log = run(&Op::Softmax { axis, beta: 0.5, log: true }, &[&x]);
        for (l, p) in log.to_f64().iter().zip(p.to_f64()) {
            prop_assert!((l.exp() - p).abs() < 1e-12);
        }
    }
}
