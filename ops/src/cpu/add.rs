//! Sums of codes: the kernel of `add.i8`.

use super::Level;
use super::rows::task;
use super::vectorised::{Vectorised, vectorised_at};
use crate::arith::AddParams;
use crate::def::{Dims, Kernel, Operation, Tensors};
use crate::operation::add_params_of;
use crate::{OpError, operation};
use rayon::prelude::*;
use tandem_tensor::Tensor;

pub(super) fn kernels(level: Level) -> Vec<Box<dyn Kernel>> {
    operation("add.i8").into_iter().map(|operation| Box::new(Add { operation, level }) as Box<dyn Kernel>).collect()
}

struct Add {
    operation: &'static dyn Operation,
    level: Level,
}

impl Kernel for Add {
    fn operation(&self) -> &'static dyn Operation {
        self.operation
    }

    fn run(&self, dims: &Dims, inputs: &Tensors) -> Result<Tensors, OpError> {
        let (a, b) = (inputs.slice::<i8>("a")?, inputs.slice::<i8>("b")?);
        let mut out = vec![0i8; dims["len"]];
        let task = task(1);
        let parts = out.par_chunks_mut(task).zip(a.par_chunks(task).zip(b.par_chunks(task)));
        if dims["rounding"] == 1 {
            let params = add_params_of(dims, inputs)?;
            parts.for_each(|(out, (a, b))| vectorised_at(self.level, Double { params, a, b, out }));
            return Ok(Tensors::new().with("out", Tensor::from_vec([dims["len"]], out)?));
        }
        let scalar = |name| inputs.scalar::<i32>(name);
        let zero_point = scalar("zero_point")?;
        let constants = Constants {
            zero_points: [scalar("a_zero_point")?, scalar("b_zero_point")?],
            multipliers: [scalar("a_multiplier")?, scalar("b_multiplier")?],
            shift: scalar("shift")? as u32,
            zero_point,
            range: [scalar("lo")? - zero_point, scalar("hi")? - zero_point],
        };
        parts.for_each(|(out, (a, b))| vectorised_at(self.level, Part { constants, a, b, out }));
        Ok(Tensors::new().with("out", Tensor::from_vec([dims["len"]], out)?))
    }
}

#[derive(Clone, Copy)]
struct Constants {
    zero_points: [i32; 2],
    multipliers: [i32; 2],
    shift: u32,
    zero_point: i32,
    /// The codes of the activation, less the zero point.
    range: [i32; 2],
}

/// Sums of which both sides and the sum are rounded, twice each.
struct Double<'a> {
    params: AddParams,
    a: &'a [i8],
    b: &'a [i8],
    out: &'a mut [i8],
}

impl Vectorised<()> for Double<'_> {
    #[inline(always)]
    fn run(self) {
        for (out, (&a, &b)) in self.out.iter_mut().zip(self.a.iter().zip(self.b)) {
            *out = self.params.apply(a.into(), b.into()) as i8;
        }
    }
}

struct Part<'a> {
    constants: Constants,
    a: &'a [i8],
    b: &'a [i8],
    out: &'a mut [i8],
}

impl Vectorised<()> for Part<'_> {
    #[inline(always)]
    fn run(self) {
        let Constants { zero_points, multipliers, shift, zero_point, range } = self.constants;
        // Half up in 32 bits: the bit below the last one that stays is the carry.
        let (below, carry) = if shift == 0 { (0, 0) } else { (shift - 1, 1) };
        for (out, (&a, &b)) in self.out.iter_mut().zip(self.a.iter().zip(self.b)) {
            let a = (i32::from(a) - zero_points[0]).wrapping_mul(multipliers[0]);
            let b = (i32::from(b) - zero_points[1]).wrapping_mul(multipliers[1]);
            let sum = a.wrapping_add(b);
            let rounded = (sum >> shift) + (sum >> below & carry);
            *out = (rounded.max(range[0]).min(range[1]) + zero_point) as i8;
        }
    }
}
