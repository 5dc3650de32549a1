//! Running sums.

use super::number::{Numbers, from_ints, from_reals};
use super::position::around;
use super::{Operand, no_kernel};
use crate::OpError;
use tandem_tensor::{DType, Tensor, TensorType};

pub(super) fn cumsum(
    axis: usize,
    exclusive: bool,
    reverse: bool,
    operands: &[Operand<'_>],
    result: &TensorType,
) -> Result<Tensor, OpError> {
    let x = operands[0].tensor;
    if x.dtype() != result.dtype || x.dtype() == DType::Bool {
        return Err(no_kernel("cumsum", operands, result));
    }
    let run = Run { shape: x.shape(), axis, exclusive, reverse };
    Ok(match Numbers::of(x) {
        Numbers::Real(mut v) => {
            run.sum(&mut v, 0.0, |a, b| a + b);
            from_reals(result.dtype, &result.shape, &v)?
        }
        Numbers::Int(mut v) => {
            run.sum(&mut v, 0, i128::wrapping_add);
            from_ints(result.dtype, &result.shape, &v)?
        }
    })
}

struct Run<'a> {
    shape: &'a [usize],
    axis: usize,
    exclusive: bool,
    reverse: bool,
}

impl Run<'_> {
    fn sum<T: Copy>(&self, x: &mut [T], zero: T, add: impl Fn(T, T) -> T) {
        if x.is_empty() {
            return;
        }
        let (outer, extent, inner) = around(self.shape, self.axis);
        for lane in (0..outer).flat_map(|o| (0..inner).map(move |i| o * extent * inner + i)) {
            let mut total = zero;
            for k in 0..extent {
                let k = if self.reverse { extent - 1 - k } else { k };
                let slot = &mut x[lane + k * inner];
                let next = add(total, *slot);
                *slot = if self.exclusive { total } else { next };
                total = next;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::Op;
    use crate::reference::tests::{floats, run, values};
    use tandem_tensor::{DType, Tensor};

    #[test]
    fn running_sums_in_all_directions() {
        let x = floats([2, 3], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
        let of = |axis, exclusive, reverse| values(&run(&Op::CumSum { axis, exclusive, reverse }, &[&x], DType::F32));
        assert_eq!(of(1, false, false), [1.0, 3.0, 6.0, 4.0, 9.0, 15.0]);
        assert_eq!(of(1, true, false), [0.0, 1.0, 3.0, 0.0, 4.0, 9.0]);
        assert_eq!(of(1, false, true), [6.0, 5.0, 3.0, 15.0, 11.0, 6.0]);
        assert_eq!(of(1, true, true), [5.0, 3.0, 0.0, 11.0, 6.0, 0.0]);
        assert_eq!(of(0, false, false), [1.0, 2.0, 3.0, 5.0, 7.0, 9.0]);
    }

    #[test]
    fn integers_wrap() {
        let x = Tensor::from_vec([2], vec![i32::MAX, 1]).unwrap();
        let y = run(&Op::CumSum { axis: 0, exclusive: false, reverse: false }, &[&x], DType::I32);
        assert_eq!(y.as_slice::<i32>().unwrap(), [i32::MAX, i32::MIN]);
    }
}
