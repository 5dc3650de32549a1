//! Kernels with their weights and constants prepared once, for many runs.

use super::{codes, conv, pool, product, softmax, sum};
use crate::arith::add_params;
use crate::cpu::int8::Codes;
use crate::reference::MAX_ELEMENTS;
use crate::{Arith, BinaryKind, Op, OpError, Operand, infer};
use tandem_tensor::{DType, Tensor, TensorError, TensorType};

/// An 8-bit operator whose weights lie in the order in which its loops read them, and whose other constants are known.
///
/// It computes what [`reference`](crate::reference()) computes; only the preparation is saved on every run.
pub struct Prepared {
    inputs: Vec<TensorType>,
    /// Elements of the inputs and of the result.
    sizes: Vec<usize>,
    kernel: Kernel,
}

enum Kernel {
    Conv(Box<conv::Kernel>),
    Dense(Box<product::Kernel>),
    Sum(Box<sum::Sum>),
    Pool(Box<pool::Kernel>),
    Softmax(Box<softmax::Kernel>),
}

impl Prepared {
    /// The kernel of `op` on an input of type `x` with these weights and bias; `None` when there is no such kernel, so that
    /// [`reference`](crate::reference()) computes the operator or says what is wrong.
    pub fn new(
        op: &Op,
        arith: Arith,
        x: &TensorType,
        weights: &[Operand<'_>],
        result: &TensorType,
    ) -> Option<Prepared> {
        let types: Vec<&TensorType> = std::iter::once(x).chain(weights.iter().map(|w| w.ty)).collect();
        let whole = weights.iter().all(|w| w.tensor.dtype() == w.ty.dtype && w.tensor.shape() == &w.ty.shape);
        let all_codes = types.iter().take(2).all(|t| codes::is_codes(t)) && codes::is_codes(result);
        if !whole
            || !all_codes
            || result.elements() > MAX_ELEMENTS
            || infer(op, &types).ok()?.first() != Some(&result.shape)
        {
            return None;
        }
        let kernel = match op {
            Op::Conv(c) => Kernel::Conv(Box::new(conv::Kernel::new(op, c, arith, x, weights, result).ok()?)),
            Op::Dense { act } => {
                Kernel::Dense(Box::new(product::Kernel::new(op, *act, arith, x, weights, result, false).ok()?))
            }
            _ => return None,
        };
        Some(Prepared::with(vec![x.clone()], result, kernel))
    }

    /// The kernel of an operator without weights on inputs of these types; `None` as for [`Prepared::new`].
    pub fn without_weights(op: &Op, arith: Arith, inputs: &[&TensorType], result: &TensorType) -> Option<Prepared> {
        let all_codes = inputs.iter().all(|t| codes::is_codes(t)) && codes::is_codes(result);
        if !all_codes || result.elements() > MAX_ELEMENTS || infer(op, inputs).ok()?.first() != Some(&result.shape) {
            return None;
        }
        let kernel = match (op, inputs) {
            (Op::Binary { kind: kind @ (BinaryKind::Add | BinaryKind::Sub), act }, &[a, b]) => {
                let of = |ty| codes::whole(op.name(), ty).ok();
                let (qa, qb, quant) = (of(a)?, of(b)?, of(result)?);
                let params = add_params(arith, qa, qb, quant, result.dtype, *act, *kind == BinaryKind::Sub);
                Kernel::Sum(Box::new(sum::Sum::new(&params, [a, b], result)?))
            }
            (Op::Pool(p), &[x]) => Kernel::Pool(Box::new(pool::Kernel::new(op, p, x, result).ok()?)),
            (Op::Softmax { axis, beta, log: false }, &[x]) => {
                Kernel::Softmax(Box::new(softmax::Kernel::new(op, (*axis, *beta), arith, x, result).ok()?))
            }
            _ => return None,
        };
        Some(Prepared::with(inputs.iter().map(|&t| t.clone()).collect(), result, kernel))
    }

    fn with(inputs: Vec<TensorType>, result: &TensorType, kernel: Kernel) -> Prepared {
        let sizes = inputs.iter().chain([result]).map(TensorType::elements).collect();
        Prepared { inputs, sizes, kernel }
    }

    /// How many inputs the kernel takes: those before the weights.
    pub fn inputs(&self) -> usize {
        self.inputs.len()
    }

    /// The result of the operator.
    ///
    /// # Errors
    /// When the inputs, which are those without the weights, are not of the types that were prepared for.
    pub fn run(&self, inputs: &[&Tensor]) -> Result<Tensor, OpError> {
        if inputs.len() != self.inputs.len() {
            let made = self.inputs.len();
            return Err(OpError::invalid(format!(
                "the kernel is made for {made} inputs but there are {}",
                inputs.len()
            )));
        }
        for (x, ty) in inputs.iter().zip(&self.inputs) {
            if x.dtype() != ty.dtype {
                return Err(TensorError::DType { expected: ty.dtype, found: x.dtype() }.into());
            }
            if x.shape() != &ty.shape {
                return Err(OpError::invalid(format!("the kernel is made for {ty} but an input is {}", x.shape())));
            }
        }
        match (&self.kernel, inputs) {
            (Kernel::Sum(k), &[a, b]) => k.run([a, b]),
            (Kernel::Conv(k), &[x, ..]) => k.run(x),
            (Kernel::Dense(k), &[x, ..]) => k.run(x),
            (Kernel::Pool(k), &[x, ..]) => k.run(x),
            (Kernel::Softmax(k), &[x, ..]) => k.run(x),
            _ => Err(OpError::invalid("the kernel is made for other inputs".to_owned())),
        }
    }

    /// Writes the codes of the result over others, for codes of the inputs: both as bytes, in the order of their elements.
    ///
    /// # Errors
    /// When the inputs or the result have other numbers of codes than were prepared for.
    pub fn write(&self, inputs: &[&[u8]], out: &mut [u8]) -> Result<(), OpError> {
        if !inputs.iter().map(|codes| codes.len()).chain([out.len()]).eq(self.sizes.iter().copied()) {
            return Err(OpError::invalid("the kernel is made for other numbers of codes".to_owned()));
        }
        let codes = |at: usize| Codes { bytes: inputs[at], signed: self.inputs[at].dtype == DType::I8 };
        match &self.kernel {
            Kernel::Sum(k) => k.write([codes(0), codes(1)], out),
            Kernel::Conv(k) => k.write(codes(0), out),
            Kernel::Dense(k) => k.write(codes(0), out),
            Kernel::Pool(k) => k.write(codes(0), out),
            Kernel::Softmax(k) => k.write(codes(0), out),
        }
        Ok(())
    }
}

/// The codes of an 8-bit tensor as bytes; none of any other tensor.
pub fn code_bytes(tensor: &Tensor) -> &[u8] {
    codes::bytes(tensor).bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Act, reference};
    use tandem_tensor::{DType, QuantParams};

    #[test]
    fn a_prepared_kernel_gives_what_the_reference_gives() {
        let q = QuantParams::per_tensor(0.1, 3);
        let ty = |shape: &[usize]| TensorType::new(DType::I8, shape).with_quant(q.clone());
        let (tx, tw, ty_) = (ty(&[5, 7]), ty(&[3, 7]), ty(&[5, 3]));
        let x = Tensor::from_vec([5, 7], (0..35).map(|i| (i * 7) as i8).collect::<Vec<i8>>()).unwrap();
        let w = Tensor::from_vec([3, 7], (0..21).map(|i| (i * 11) as i8).collect::<Vec<i8>>()).unwrap();
        let op = Op::Dense { act: Act::Relu };
        let weights = Operand { tensor: &w, ty: &tw };
        let prepared = Prepared::new(&op, Arith::Xnnpack, &tx, &[weights], &ty_).unwrap();
        let expected = reference(&op, Arith::Xnnpack, &[Operand { tensor: &x, ty: &tx }, weights], &[&ty_]).unwrap();
        assert_eq!(prepared.run(&[&x]).unwrap(), expected[0]);
        let mut codes = vec![1; 15];
        prepared.write(&[code_bytes(&x)], &mut codes).unwrap();
        assert_eq!(codes, code_bytes(&expected[0]));
        assert!(prepared.write(&[code_bytes(&w)], &mut codes).is_err() && prepared.write(&[], &mut codes).is_err());
        assert!(prepared.write(&[code_bytes(&x)], &mut codes[1..]).is_err());
        assert!(prepared.run(&[&w]).is_err() && prepared.run(&[]).is_err());
        assert!(Prepared::new(&op, Arith::Xnnpack, &tx, &[weights], &tx).is_none());
    }
}
