//! Products of floating-point matrices.

use super::Core;
use super::operand::Operand;
use super::sums::multiply;
use tandem_ops::def::{Dims, Tensors};
use tandem_ops::{OpError, activate};
use tandem_tensor::{DType, Tensor};

pub(super) fn compute(core: &Core, dims: &Dims, inputs: &Tensors) -> Result<Tensors, OpError> {
    let [m, n, k, act] = ["m", "n", "k", "act"].map(|axis| dims[axis]);
    let dtype = inputs.get("a")?.dtype();
    let operand = |port, rows| {
        let reals = inputs.get(port)?.to_f64();
        Ok::<_, OpError>(match dtype {
            DType::BF16 => Operand::exact(rows, k, reals),
            _ => Operand::rounded(rows, k, reals, 3),
        })
    };
    let products = multiply(core, &[(operand("a", m)?, operand("b", n)?)])?;
    let bias = inputs.get("bias")?.to_f64();
    let out = products[0].iter().enumerate().map(|(at, product)| activate(act, product + bias[at % n]));
    Ok(Tensors::new().with("out", Tensor::from_f64(dtype, [m, n], &out.collect::<Vec<f64>>())?))
}
