//! Reductions, and the position of the largest element.

use super::number::{Numbers, from_ints, from_reals};
use super::position::{around, strided};
use super::{Operand, no_kernel};
use crate::{Op, OpError, ReduceKind};
use tandem_tensor::{DType, Tensor, TensorType};

pub(super) fn reduce(
    kind: ReduceKind,
    axes: &[usize],
    operands: &[Operand<'_>],
    result: &TensorType,
) -> Result<Tensor, OpError> {
    let x = operands[0].tensor;
    let op = Op::Reduce { kind, axes: Vec::new(), keep_dims: false };
    let boolean = x.dtype() == DType::Bool && !matches!(kind, ReduceKind::Max | ReduceKind::Min);
    if x.dtype() != result.dtype || boolean {
        return Err(no_kernel(op.name(), operands, result));
    }
    let targets = targets(x.shape(), axes);
    let n = result.elements();
    let count = axes.iter().map(|&a| x.shape()[a]).fold(1usize, usize::saturating_mul);
    Ok(match Numbers::of(x) {
        Numbers::Real(v) => from_reals(result.dtype, &result.shape, &reals(kind, &v, &targets, n, count))?,
        Numbers::Int(v) => match kind {
            ReduceKind::L2 | ReduceKind::LogSumExp => {
                let v: Vec<f64> = v.iter().map(|&x| x as f64).collect();
                from_reals(result.dtype, &result.shape, &reals(kind, &v, &targets, n, count))?
            }
            _ => from_ints(result.dtype, &result.shape, &ints(kind, &v, &targets, n, count, result.dtype))?,
        },
    })
}

pub(super) fn arg_max(
    axis: usize,
    select_last: bool,
    min: bool,
    operands: &[Operand<'_>],
    result: &TensorType,
) -> Result<Tensor, OpError> {
    if !matches!(result.dtype, DType::I32 | DType::I64) {
        return Err(no_kernel(if min { "argmin" } else { "argmax" }, operands, result));
    }
    let x = operands[0].tensor;
    let places = match Numbers::of(x) {
        Numbers::Real(v) => lanes(x.shape(), axis, select_last, &v, |new, old| {
            // A NaN wins over numbers, and of several NaN the rule for equal elements holds.
            match (new.is_nan(), old.is_nan()) {
                (true, true) => return Order::Equal,
                (true, false) => return Order::Better,
                (false, true) => return Order::Worse,
                (false, false) => {}
            }
            order(new, old, min)
        }),
        Numbers::Int(v) => lanes(x.shape(), axis, select_last, &v, |new, old| order(new, old, min)),
    };
    Ok(from_ints(result.dtype, &result.shape, &places)?)
}

/// For every element of the operand, the element of the result that it goes to.
fn targets(x: &[usize], axes: &[usize]) -> Vec<usize> {
    let mut steps = vec![0isize; x.len()];
    let mut step = 1usize;
    for axis in (0..x.len()).rev() {
        if !axes.contains(&axis) {
            steps[axis] = step as isize;
            step = step.saturating_mul(x[axis]);
        }
    }
    strided(x, 0, &steps)
}

fn reals(kind: ReduceKind, x: &[f64], targets: &[usize], n: usize, count: usize) -> Vec<f64> {
    let fold = |start: f64, f: &dyn Fn(f64, f64) -> f64| {
        let mut out = vec![start; n];
        for (&v, &t) in x.iter().zip(targets) {
            out[t] = f(out[t], v);
        }
        out
    };
    let largest = |a: f64, v: f64| if v > a || v.is_nan() { v } else { a };
    match kind {
        ReduceKind::Sum => fold(0.0, &|a, v| a + v),
        ReduceKind::Mean => fold(0.0, &|a, v| a + v).into_iter().map(|s| s / count as f64).collect(),
        ReduceKind::Max => fold(f64::NEG_INFINITY, &|a, v| if a.is_nan() { a } else { largest(a, v) }),
        ReduceKind::Min => fold(f64::INFINITY, &|a, v| if v < a || v.is_nan() { v } else { a }),
        ReduceKind::Prod => fold(1.0, &|a, v| a * v),
        ReduceKind::SumSquare => fold(0.0, &|a, v| a + v * v),
        ReduceKind::L1 => fold(0.0, &|a, v| a + v.abs()),
        ReduceKind::L2 => fold(0.0, &|a, v| a + v * v).into_iter().map(f64::sqrt).collect(),
        ReduceKind::LogSumExp => {
            let top = fold(f64::NEG_INFINITY, &largest);
            // An infinite maximum would make the difference NaN; the sum of exponentials is then the maximum's own.
            let base: Vec<f64> = top.iter().map(|&t| if t.is_finite() { t } else { 0.0 }).collect();
            let mut sum = vec![0.0; n];
            for (&v, &t) in x.iter().zip(targets) {
                sum[t] += (v - base[t]).exp();
            }
            sum.iter().zip(base).map(|(s, b)| s.ln() + b).collect()
        }
    }
}

fn ints(kind: ReduceKind, x: &[i128], targets: &[usize], n: usize, count: usize, dtype: DType) -> Vec<i128> {
    let fold = |start: i128, f: &dyn Fn(i128, i128) -> i128| {
        let mut out = vec![start; n];
        for (&v, &t) in x.iter().zip(targets) {
            out[t] = f(out[t], v);
        }
        out
    };
    let (low, high) = dtype.integer_range().unwrap_or((0, 1));
    match kind {
        ReduceKind::Max => fold(low, &i128::max),
        ReduceKind::Min => fold(high, &i128::min),
        ReduceKind::Prod => fold(1, &i128::wrapping_mul),
        ReduceKind::SumSquare => fold(0, &|a, v| a.wrapping_add(v.wrapping_mul(v))),
        ReduceKind::L1 => fold(0, &|a, v| a.wrapping_add(v.abs())),
        ReduceKind::Mean => fold(0, &i128::wrapping_add).into_iter().map(|s| s / (count.max(1) as i128)).collect(),
        _ => fold(0, &i128::wrapping_add),
    }
}

#[derive(PartialEq)]
enum Order {
    Better,
    Equal,
    Worse,
}

fn order<T: PartialOrd>(new: T, old: T, min: bool) -> Order {
    if new == old {
        Order::Equal
    } else if (new > old) != min {
        Order::Better
    } else {
        Order::Worse
    }
}

fn lanes<T: Copy>(shape: &[usize], axis: usize, last: bool, x: &[T], rank: impl Fn(T, T) -> Order) -> Vec<i128> {
    let (outer, extent, inner) = around(shape, axis);
    if x.is_empty() {
        return Vec::new();
    }
    let mut places = Vec::with_capacity(outer * inner);
    for o in 0..outer {
        for i in 0..inner {
            let at = |k: usize| x[(o * extent + k) * inner + i];
            let mut best = 0;
            for k in 1..extent {
                let order = rank(at(k), at(best));
                if order == Order::Better || (last && order == Order::Equal) {
                    best = k;
                }
            }
            places.push(best as i128);
        }
    }
    places
}

#[cfg(test)]
mod tests {
    use crate::reference::tests::{floats, run, run_typed, values};
    use crate::{Op, ReduceKind};
    use tandem_tensor::{DType, Data, QuantParams, Tensor};

    fn op(kind: ReduceKind, axes: &[usize]) -> Op {
        Op::Reduce { kind, axes: axes.to_vec(), keep_dims: false }
    }

    #[test]
    fn every_reduction_by_hand() {
        let x = floats([2, 2], &[3.0, -4.0, 1.0, 2.0]);
        let of = |kind, axes: &[usize]| values(&run(&op(kind, axes), &[&x], DType::F32));
        assert_eq!(of(ReduceKind::Sum, &[1]), [-1.0, 3.0]);
        assert_eq!(of(ReduceKind::Mean, &[0]), [2.0, -1.0]);
        assert_eq!(of(ReduceKind::Max, &[1]), [3.0, 2.0]);
        assert_eq!(of(ReduceKind::Min, &[0, 1]), [-4.0]);
        assert_eq!(of(ReduceKind::Prod, &[0, 1]), [-24.0]);
        assert_eq!(of(ReduceKind::SumSquare, &[1]), [25.0, 5.0]);
        assert_eq!(of(ReduceKind::L1, &[1]), [7.0, 3.0]);
        assert_eq!(of(ReduceKind::L2, &[1]), [5.0, 5f32.sqrt()]);
        let lse = of(ReduceKind::LogSumExp, &[1]);
        assert!((lse[1] - (1f32.exp() + 2f32.exp()).ln()).abs() < 1e-6);
        assert_eq!(of(ReduceKind::Sum, &[]), [3.0, -4.0, 1.0, 2.0]);
    }

    #[test]
    fn empty_reductions_give_the_neutral_element() {
        let x = floats([2, 0], &[]);
        let of = |kind| values(&run(&op(kind, &[1]), &[&x], DType::F32));
        assert_eq!(of(ReduceKind::Sum), [0.0; 2]);
        assert_eq!(of(ReduceKind::Prod), [1.0; 2]);
        assert_eq!(of(ReduceKind::Max), [f32::NEG_INFINITY; 2]);
        assert_eq!(of(ReduceKind::Min), [f32::INFINITY; 2]);
        assert_eq!(of(ReduceKind::LogSumExp), [f32::NEG_INFINITY; 2]);
        assert!(of(ReduceKind::Mean).iter().all(|v| v.is_nan()));
    }

    #[test]
    fn infinities_survive_the_logarithm_of_sums() {
        let x = floats([2, 2], &[f32::NEG_INFINITY, f32::NEG_INFINITY, f32::INFINITY, 0.0]);
        let y = values(&run(&op(ReduceKind::LogSumExp, &[1]), &[&x], DType::F32));
        assert_eq!(y, [f32::NEG_INFINITY, f32::INFINITY]);
    }

    #[test]
    fn integers_wrap_and_booleans_only_compare() {
        let x = Tensor::from_vec([2], vec![100i8, 100]).unwrap();
        assert_eq!(run(&op(ReduceKind::Sum, &[0]), &[&x], DType::I8).as_slice::<i8>().unwrap(), [-56]);
        assert_eq!(run(&op(ReduceKind::Mean, &[0]), &[&x], DType::I8).as_slice::<i8>().unwrap(), [100]);
        let b = Tensor::new([2, 2], Data::Bool(vec![0, 1, 0, 0])).unwrap();
        assert_eq!(run(&op(ReduceKind::Max, &[1]), &[&b], DType::Bool).data(), &Data::Bool(vec![1, 0]));
        assert!(run_typed(&op(ReduceKind::Sum, &[1]), &[(&b, None)], DType::Bool, None).is_err());
    }

    #[test]
    fn nan_wins_a_maximum_whatever_follows() {
        let x = floats([3], &[1.0, f32::NAN, 2.0]);
        assert!(values(&run(&op(ReduceKind::Max, &[0]), &[&x], DType::F32))[0].is_nan());
        assert!(values(&run(&op(ReduceKind::Min, &[0]), &[&x], DType::F32))[0].is_nan());
    }

    #[test]
    fn the_largest_element_is_the_first_or_the_last_of_equals() {
        let x = floats([2, 3], &[1.0, 5.0, 5.0, 2.0, f32::NAN, 9.0]);
        let of = |axis, select_last, min| {
            let op = Op::ArgMax { axis, keep_dims: false, select_last, min, dtype: DType::I64 };
            run(&op, &[&x], DType::I64).as_slice::<i64>().unwrap().to_vec()
        };
        assert_eq!(of(1, false, false), [1, 1]);
        assert_eq!(of(1, true, false), [2, 1]);
        assert_eq!(of(1, false, true), [0, 1]);
        assert_eq!(of(0, false, false), [1, 1, 1]);
    }

    #[test]
    fn codes_order_as_their_reals_do() {
        let x = Tensor::from_vec([3], vec![-3i8, 7, 2]).unwrap();
        let q = QuantParams::per_tensor(0.1, 9);
        let op = Op::ArgMax { axis: 0, keep_dims: false, select_last: false, min: false, dtype: DType::I32 };
        assert_eq!(run_typed(&op, &[(&x, Some(&q))], DType::I32, None).unwrap().as_slice::<i32>().unwrap(), [1]);
    }
}
