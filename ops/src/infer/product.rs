//! Shapes of matrix products.

use super::{invalid, window::check_bias};
use crate::OpError;
use tandem_tensor::{Shape, TensorType, broadcast};

pub(super) fn dense(x: &TensorType, w: &TensorType, bias: Option<&TensorType>) -> Result<Shape, OpError> {
    let (Some((&k, outer)), [o, inner]) = (x.shape.split_last(), w.shape.as_slice()) else {
        return invalid(format!("dense needs x [.., k] and weights [o, k] but they are {} and {}", x.shape, w.shape));
    };
    if k != *inner {
        return invalid(format!("dense needs weights over {k} inputs but they are {} (x is {})", w.shape, x.shape));
    }
    check_bias("dense", *o, bias)?;
    Ok(Shape(outer.iter().copied().chain([*o]).collect()))
}

pub(super) fn matmul(a: &TensorType, b: &TensorType, swap_a: bool, swap_b: bool) -> Result<Shape, OpError> {
    let (Some(left), Some(right)) = (Matrices::new(&a.shape, swap_a), Matrices::new(&b.shape, swap_b)) else {
        return invalid(format!("matmul needs operands with axes but they are {} and {}", a.shape, b.shape));
    };
    // A vector on the left is a row, on the right a column; the made-up axis does not show in the result.
    let (rows, inner) = match left.matrix {
        Matrix::Vector(k) => (None, k),
        Matrix::Full(m, k) => (Some(m), k),
    };
    let (depth, columns) = match right.matrix {
        Matrix::Vector(k) => (k, None),
        Matrix::Full(k, n) => (k, Some(n)),
    };
    if inner != depth {
        let mark = |swap: bool| if swap { " transposed" } else { "" };
        return invalid(format!(
            "matmul needs equal inner extents but {}{} and {}{} have {inner} and {depth}",
            a.shape,
            mark(swap_a),
            b.shape,
            mark(swap_b)
        ));
    }
    let mut shape = broadcast(&left.lead, &right.lead)?;
    shape.extend(rows);
    shape.extend(columns);
    Ok(shape)
}

struct Matrices {
    lead: Shape,
    matrix: Matrix,
}

enum Matrix {
    Vector(usize),
    Full(usize, usize),
}

impl Matrices {
    fn new(shape: &Shape, swap: bool) -> Option<Matrices> {
        let (lead, matrix) = match shape.as_slice() {
            [] => return None,
            [k] => (Shape::default(), Matrix::Vector(*k)),
            [lead @ .., a, b] => (Shape::from(lead), if swap { Matrix::Full(*b, *a) } else { Matrix::Full(*a, *b) }),
        };
        Some(Matrices { lead, matrix })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tandem_tensor::DType;

    fn product(a: &[usize], b: &[usize], swap_a: bool, swap_b: bool) -> Result<Shape, OpError> {
        let ty = |s: &[usize]| TensorType::new(DType::F32, s);
        matmul(&ty(a), &ty(b), swap_a, swap_b)
    }

    #[test]
    fn a_matrix_product_broadcasts_its_leading_axes() {
        assert_eq!(product(&[5, 1, 2, 3], &[4, 3, 7], false, false).unwrap(), Shape::from([5, 4, 2, 7]));
        assert_eq!(product(&[3, 2], &[7, 3], true, true).unwrap(), Shape::from([2, 7]));
    }

    #[test]
    fn vectors_lose_their_axis() {
        assert_eq!(product(&[3], &[3], false, false).unwrap(), Shape::default());
        assert_eq!(product(&[3], &[2, 3, 4], false, false).unwrap(), Shape::from([2, 4]));
        assert_eq!(product(&[2, 5, 3], &[3], false, false).unwrap(), Shape::from([2, 5]));
    }

    #[test]
    fn unequal_inner_extents_are_named() {
        let error = product(&[2, 3], &[4, 5], false, true).unwrap_err().to_string();
        assert_eq!(error, "matmul needs equal inner extents but [2,3] and [4,5] transposed have 3 and 5");
        assert!(product(&[], &[3], false, false).is_err());
    }
}
