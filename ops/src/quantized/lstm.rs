//! The LSTM on 8-bit codes with a 16-bit cell; one arithmetic in both families.

use super::codes;
use crate::arith::{CELL_EXPONENTS, GateScale, LstmParams};
use crate::{Lstm, Op, OpError, Operand};
use tandem_tensor::{DType, Tensor, TensorType};

/// The products that make a gate out of activations of one kind.
struct Products {
    /// `[u, k]`, without zero point.
    weights: Vec<i16>,
    scale: GateScale,
}

impl Products {
    fn new(name: &str, w: &Operand<'_>, activations: f32) -> Result<Products, OpError> {
        let quant = codes::whole(name, w.ty)?;
        if w.ty.dtype != DType::I8 || quant.zero_point() != 0 {
            return Err(OpError::unsupported(format!(
                "{name} needs i8 weights without zero point but they are {}",
                w.ty
            )));
        }
        Ok(Products { weights: codes::centred(w.tensor, 0), scale: GateScale::new(activations, quant.scale()) })
    }

    fn add(&self, unit: usize, activations: &[i16], bias: i32, gate: i32) -> i32 {
        let k = activations.len();
        let row = &self.weights[unit * k..(unit + 1) * k];
        let acc = row
            .iter()
            .zip(activations)
            .fold(bias, |acc, (&w, &a)| acc.wrapping_add(i32::from(w).wrapping_mul(i32::from(a))));
        self.scale.accumulate(gate, acc)
    }
}

/// Operands as [`Op::Lstm`] lists them.
pub(super) fn lstm(op: &Op, l: &Lstm, operands: &[Operand<'_>], result: &TensorType) -> Result<Vec<Tensor>, OpError> {
    let name = op.name();
    let [x, rest @ ..] = operands else { return Err(OpError::invalid("lstm without operands")) };
    let (input, output) = (codes::whole(name, x.ty)?, codes::whole(name, result)?);
    if x.ty.dtype != DType::I8 || result.dtype != DType::I8 {
        return Err(OpError::unsupported(format!("{name} works on i8 codes but is given {} -> {result}", x.ty)));
    }
    if !CELL_EXPONENTS.contains(&l.cell_exponent) {
        let (least, most) = (CELL_EXPONENTS.start(), CELL_EXPONENTS.end());
        let given = l.cell_exponent;
        return Err(OpError::unsupported(format!("{name} needs a cell scale of 2^{least} to 2^{most}, not 2^{given}")));
    }
    let &[batches, steps, units] = result.shape.as_slice() else {
        return Err(OpError::invalid(format!("{name} needs a result of three axes")));
    };
    let (mut of_input, mut of_hidden, mut biases) = (Vec::new(), Vec::new(), Vec::new());
    for gate in 0..4 {
        of_input.push(Products::new(name, &rest[gate], input.scale())?);
        of_hidden.push(Products::new(name, &rest[4 + gate], output.scale())?);
        biases.push(codes::bias(name, Some(&rest[8 + gate]), units)?);
    }
    let params = LstmParams::new(l.cell_exponent, l.cell_clip, output.scale(), output.zero_point());
    let zero = output.zero_point() as i16;
    let x_codes = codes::centred(x.tensor, input.zero_point());
    let features = x.ty.shape.last().copied().unwrap_or(0);
    let mut out = Vec::with_capacity(batches * steps * units);
    let mut next = vec![0i16; units];
    for sequence in 0..batches {
        let mut hidden = vec![0i16; units];
        let mut cell = vec![0i16; units];
        for step in 0..steps {
            let at = (sequence * steps + step) * features;
            let row = &x_codes[at..at + features];
            for unit in 0..units {
                let gate = |g: usize| {
                    let sum = of_input[g].add(unit, row, biases[g][unit], 0);
                    of_hidden[g].add(unit, &hidden, 0, sum) as i16
                };
                cell[unit] = params.cell(cell[unit], gate(0), gate(1), gate(2));
                let code = params.hidden(cell[unit], gate(3));
                next[unit] = i16::from(code) - zero;
                out.push(code as u8);
            }
            hidden.copy_from_slice(&next);
        }
    }
    Ok(vec![codes::tensor(result.dtype, &result.shape, out)?])
}
