//! Sums of 8-bit codes of three quantisations.

use super::window::{HI, LO, ZERO_POINT, check_codes};
use crate::OpError;
use crate::arith::{Requant, add_params};
use crate::def::{
    Agree, Axis, AxisKind, Dim, Dims, Grade, OpDef, Operation, Port, Random, Sample, Size, Tensors, Work,
};
use crate::{Act, Arith};
use tandem_tensor::{DType, QuantParams, Tensor};

pub(super) const ALL: &[&dyn Operation] = &[&Add];

const LEN: Dim = Dim::Axis("len");

const fn number(name: &'static str, doc: &'static str) -> Port {
    Port { name, dtype: DType::I32, dims: &[], doc }
}

static ADD: OpDef = OpDef {
    name: "add.i8",
    summary: "(a_multiplier (a - a_zero_point) + b_multiplier (b - b_zero_point)) / 2^shift, half up, + zero_point, clamped",
    axes: &[Axis { name: "len", kind: AxisKind::Extent, default: 4096, doc: "elements" }],
    inputs: &[
        Port { name: "a", dtype: DType::I8, dims: &[LEN], doc: "codes" },
        Port { name: "b", dtype: DType::I8, dims: &[LEN], doc: "codes" },
        number("a_zero_point", "the code of zero in a"),
        number("b_zero_point", "the code of zero in b"),
        number("a_multiplier", "a unit of a in 2^-shift units of the result; products and their sum wrap"),
        number("b_multiplier", "a unit of b in 2^-shift units of the result"),
        number("shift", "0 to 31; 0 rounds nothing"),
        ZERO_POINT,
        LO,
        HI,
    ],
    outputs: &[Port { name: "out", dtype: DType::I8, dims: &[LEN], doc: "codes" }],
    holds: &[],
    agree: Agree::Exact,
    vta: Grade::Native,
};

struct Add;

impl Operation for Add {
    fn def(&self) -> &'static OpDef {
        &ADD
    }

    fn samples(&self) -> Vec<Sample> {
        let all = [("empty", 0), ("one_element", 1), ("ragged", 1003), ("whole_vectors", 8192), ("equal_scales", 300)];
        let more = [("relu", 129), ("no_shift", 65), ("extreme_codes", 33)];
        all.iter().chain(&more).map(|&(name, len)| Sample::new(&ADD, name, &[("len", len)])).collect()
    }

    fn workloads(&self, size: Size) -> Vec<Sample> {
        let len = match size {
            Size::Simulator => 1 << 16,
            Size::Processor => 1 << 25,
            Size::Gpu => 1 << 27,
        };
        vec![Sample::new(&ADD, "residual", &[("len", len)])]
    }

    fn sample(&self, name: &str, dims: &Dims, seed: u64) -> Result<Tensors, OpError> {
        let len = dims["len"];
        let mut random = Random::new(seed);
        let (mut a, mut b) = (random.codes([len]), random.codes([len]));
        let mut quant = |scale: f64| {
            let scale = if name == "equal_scales" { 0.05 } else { scale * (0.5 + random.unit()) };
            QuantParams::per_tensor(scale as f32, random.within(0, 61) as i32 - 30)
        };
        let (aq, bq, oq) = (quant(0.05), quant(0.02), quant(0.06));
        let act = if name == "relu" { Act::Relu6 } else { Act::None };
        let params = add_params(Arith::Xnnpack, &aq, &bq, &oq, DType::I8, act, false);
        let multiplier =
            |requant| if let Requant::SingleRounding { multiplier, .. } = requant { multiplier } else { 0 };
        let mut numbers = [
            params.a.zero_point,
            params.b.zero_point,
            multiplier(params.a.requant),
            multiplier(params.b.requant),
            if let Requant::SingleRounding { shift, .. } = params.output { shift as i32 } else { 0 },
            params.zero_point,
            params.lo,
            params.hi,
        ];
        match name {
            "no_shift" => (numbers[2], numbers[3], numbers[4]) = (1, -1, 0),
            "extreme_codes" => {
                (a, b) = (Tensor::from_vec([len], vec![-128i8; len])?, Tensor::from_vec([len], vec![-128i8; len])?);
                // The products wrap, and so does their sum.
                numbers[..5].copy_from_slice(&[127, 127, i32::MAX, i32::MAX, 31]);
            }
            _ => {}
        }
        let scalars = ADD.inputs[2..].iter().zip(numbers).map(|(port, number)| (port.name, Tensor::scalar(number)));
        Ok([("a", a), ("b", b)].into_iter().chain(scalars).collect())
    }

    fn check(&self, _: &Dims, inputs: &Tensors) -> Result<(), OpError> {
        let shift: i32 = inputs.scalar("shift")?;
        if !(0..=31).contains(&shift) {
            return Err(OpError::invalid(format!("shift is {shift}, not 0 to 31")));
        }
        check_codes(inputs, &["a_zero_point", "b_zero_point", "zero_point", "lo", "hi"])
    }

    fn reference(&self, dims: &Dims, inputs: &Tensors) -> Result<Tensors, OpError> {
        let sides = [("a", "a_zero_point", "a_multiplier"), ("b", "b_zero_point", "b_multiplier")];
        let [a, b] = sides.map(|(name, zero_point, multiplier)| -> Result<Vec<i32>, OpError> {
            let (zero_point, multiplier): (i32, i32) = (inputs.scalar(zero_point)?, inputs.scalar(multiplier)?);
            let codes = inputs.slice::<i8>(name)?;
            Ok(codes.iter().map(|&code| (i32::from(code) - zero_point).wrapping_mul(multiplier)).collect())
        });
        let (shift, zero_point): (i32, i32) = (inputs.scalar("shift")?, inputs.scalar("zero_point")?);
        let (lo, hi): (i32, i32) = (inputs.scalar("lo")?, inputs.scalar("hi")?);
        let requant = Requant::SingleRounding { multiplier: 1, shift: shift as u32 };
        let pairs = a?.into_iter().zip(b?);
        let out: Vec<i8> = pairs.map(|(a, b)| requant.code(a.wrapping_add(b), zero_point, lo, hi) as i8).collect();
        Ok(Tensors::new().with("out", Tensor::from_vec([dims["len"]], out)?))
    }

    fn work(&self, dims: &Dims, _: &Tensors) -> Work {
        let len = dims["len"] as u64;
        Work { int_ops: 6 * len, dram_bytes: 3 * len, ..Work::default() }
    }
}
