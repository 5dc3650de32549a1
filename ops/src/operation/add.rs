//! Sums of 8-bit codes of three quantisations.

use super::window::{HI, LO, ZERO_POINT, check_codes};
use crate::OpError;
use crate::arith::{AddOperand, AddParams, Requant, add_params};
use crate::def::{
    Agree, Axis, AxisKind, Dim, Dims, Grade, OpDef, Operation, Port, Random, Sample, Size, Tensors, Work,
};
use crate::{Act, Arith};
use tandem_tensor::{DType, QuantParams, Tensor};

pub(super) const ALL: &[&dyn Operation] = &[&Add];

const LEN: Dim = Dim::Axis("len");

/// More bits of the operands of a sum that is rounded three times.
const PRE_SHIFT: u32 = 20;

const fn number(name: &'static str, doc: &'static str) -> Port {
    Port { name, dtype: DType::I32, dims: &[], doc }
}

static ADD: OpDef = OpDef {
    name: "add.i8",
    summary: "(a_multiplier (a - a_zero_point) + b_multiplier (b - b_zero_point)) / 2^shift, rounded, + zero_point, clamped",
    axes: &[
        Axis { name: "len", kind: AxisKind::Extent, default: 4096, doc: "elements" },
        Axis {
            name: "rounding",
            kind: AxisKind::Choice(&["single", "double"]),
            default: 0,
            doc: "single: of the sum, half up; double: both sides, with 20 more bits, and their sum, as double of gemm.i8",
        },
    ],
    inputs: &[
        Port { name: "a", dtype: DType::I8, dims: &[LEN], doc: "codes" },
        Port { name: "b", dtype: DType::I8, dims: &[LEN], doc: "codes" },
        number("a_zero_point", "the code of zero in a"),
        number("b_zero_point", "the code of zero in b"),
        number("a_multiplier", "a unit of a, as an integer; products and their sum wrap"),
        number("b_multiplier", "a unit of b"),
        number("a_shift", "right shift of a behind the multiplication: 0, or -31 to 31 of double"),
        number("b_shift", "right shift of b"),
        number("multiplier", "of the sum: 1, or that of double"),
        number("shift", "right shift of the sum: 0 to 31, where 0 rounds nothing, or -31 to 31 of double"),
        ZERO_POINT,
        LO,
        HI,
    ],
    outputs: &[Port { name: "out", dtype: DType::I8, dims: &[LEN], doc: "codes" }],
    holds: &[],
    agree: Agree::Exact,
    fpga: Grade::Native,
};

struct Add;

/// The scalars of these constants behind a, b, and the choice of the rounding; `None` where the definition has none such.
pub(super) fn scalars(params: &AddParams) -> Option<(usize, Tensors)> {
    let side = |side: &AddOperand| match (side.requant, side.pre_shift) {
        (Requant::SingleRounding { multiplier, shift: 0 }, 0) => Some((0, multiplier, 0)),
        (Requant::DoubleRounding { multiplier, shift: shift @ -31..=31 }, PRE_SHIFT) => Some((1, multiplier, -shift)),
        _ => None,
    };
    let sum = match params.output {
        Requant::SingleRounding { multiplier: 1, shift: shift @ 0..=31 } => (0, 1, shift as i32),
        Requant::DoubleRounding { multiplier, shift: shift @ -31..=31 } => (1, multiplier, -shift),
        _ => return None,
    };
    let (a, b) = (side(&params.a)?, side(&params.b)?);
    if params.subtract || a.0 != sum.0 || b.0 != sum.0 {
        return None;
    }
    let (zero_points, range) = ((params.a.zero_point, params.b.zero_point), (params.lo, params.hi));
    let numbers = [zero_points.0, zero_points.1, a.1, b.1, a.2, b.2, sum.1, sum.2, params.zero_point, range.0, range.1];
    let scalars = ADD.inputs[2..].iter().zip(numbers).map(|(port, number)| (port.name, Tensor::scalar(number)));
    Some((sum.0, scalars.collect()))
}

/// The constants of operands of the definition.
///
/// # Errors
/// Invalid, where a scalar is missing.
pub(crate) fn params(dims: &Dims, inputs: &Tensors) -> Result<AddParams, OpError> {
    let scalar = |name| inputs.scalar::<i32>(name);
    let double = dims["rounding"] == 1;
    let requant = |multiplier, shift| -> Result<Requant, OpError> {
        let (multiplier, shift) = (scalar(multiplier)?, scalar(shift)?);
        Ok(match double {
            true => Requant::DoubleRounding { multiplier, shift: -shift },
            false => Requant::SingleRounding { multiplier, shift: shift as u32 },
        })
    };
    let side = |zero_point, multiplier, shift| -> Result<AddOperand, OpError> {
        let pre_shift = if double { PRE_SHIFT } else { 0 };
        Ok(AddOperand { zero_point: scalar(zero_point)?, pre_shift, requant: requant(multiplier, shift)? })
    };
    Ok(AddParams {
        a: side("a_zero_point", "a_multiplier", "a_shift")?,
        b: side("b_zero_point", "b_multiplier", "b_shift")?,
        subtract: false,
        output: requant("multiplier", "shift")?,
        zero_point: scalar("zero_point")?,
        lo: scalar("lo")?,
        hi: scalar("hi")?,
    })
}

impl Operation for Add {
    fn def(&self) -> &'static OpDef {
        &ADD
    }

    fn samples(&self) -> Vec<Sample> {
        let all = [("empty", 0), ("one_element", 1), ("ragged", 1003), ("whole_vectors", 8192), ("equal_scales", 300)];
        let more = [("relu", 129), ("no_shift", 65), ("extreme_codes", 33)];
        let single = all.iter().chain(&more).map(|&(name, len)| Sample::new(&ADD, name, &[("len", len)]));
        let twice =
            [("two_roundings", 1003), ("relu_two_roundings", 129), ("shifts", 513), ("extreme_two_roundings", 33)];
        let double = twice.map(|(name, len)| Sample::new(&ADD, name, &[("len", len), ("rounding", 1)]));
        single.chain(double).collect()
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
        let act = if name.starts_with("relu") { Act::Relu6 } else { Act::None };
        let arith = if dims["rounding"] == 1 { Arith::TfliteRef } else { Arith::Xnnpack };
        let params = add_params(arith, &aq, &bq, &oq, DType::I8, act, false);
        let (_, mut scalars) =
            scalars(&params).ok_or_else(|| OpError::invalid("the sample's scales have no constants"))?;
        let mut set = |numbers: &[(&'static str, i32)]| {
            for &(name, number) in numbers {
                scalars = std::mem::take(&mut scalars).with(name, Tensor::scalar(number));
            }
        };
        match name {
            "no_shift" => set(&[("a_multiplier", 1), ("b_multiplier", -1), ("shift", 0)]),
            // The products wrap, and so does their sum.
            "extreme_codes" => {
                set(&[("a_multiplier", i32::MAX), ("b_multiplier", i32::MAX), ("shift", 31)]);
                set(&[("a_zero_point", 127), ("b_zero_point", 127)]);
            }
            "extreme_two_roundings" => {
                set(&[("a_multiplier", i32::MAX), ("b_multiplier", i32::MAX), ("multiplier", i32::MAX)]);
                set(&[("a_zero_point", 127), ("b_zero_point", 127), ("a_shift", -5), ("shift", 31)]);
            }
            // Of all sizes: a sum with few bits to the right has hardly a code that is not clamped.
            "shifts" => set(&[
                ("a_shift", random.within(0, 63) as i32 - 31),
                ("b_shift", random.within(0, 32) as i32),
                ("shift", random.within(15, 25) as i32),
            ]),
            _ => {}
        }
        if name.starts_with("extreme") {
            (a, b) = (Tensor::from_vec([len], vec![-128i8; len])?, Tensor::from_vec([len], vec![-128i8; len])?);
        }
        Ok(scalars
            .iter()
            .fold(Tensors::new().with("a", a).with("b", b), |all, (name, number)| all.with(name, number.clone())))
    }

    fn check(&self, dims: &Dims, inputs: &Tensors) -> Result<(), OpError> {
        let double = dims["rounding"] == 1;
        let limits: [(&str, std::ops::RangeInclusive<i32>); 6] = match double {
            true => [
                ("a_multiplier", 0..=i32::MAX),
                ("b_multiplier", 0..=i32::MAX),
                ("multiplier", 0..=i32::MAX),
                ("a_shift", -31..=31),
                ("b_shift", -31..=31),
                ("shift", -31..=31),
            ],
            false => [
                ("a_multiplier", i32::MIN..=i32::MAX),
                ("b_multiplier", i32::MIN..=i32::MAX),
                ("multiplier", 1..=1),
                ("a_shift", 0..=0),
                ("b_shift", 0..=0),
                ("shift", 0..=31),
            ],
        };
        for (name, limit) in limits {
            let value: i32 = inputs.scalar(name)?;
            if !limit.contains(&value) {
                return Err(OpError::invalid(format!("{name} is {value}, not {} to {}", limit.start(), limit.end())));
            }
        }
        check_codes(inputs, &["a_zero_point", "b_zero_point", "zero_point", "lo", "hi"])
    }

    fn reference(&self, dims: &Dims, inputs: &Tensors) -> Result<Tensors, OpError> {
        let params = params(dims, inputs)?;
        let pairs = inputs.slice::<i8>("a")?.iter().zip(inputs.slice::<i8>("b")?);
        let out: Vec<i8> = pairs.map(|(&a, &b)| params.apply(a.into(), b.into()) as i8).collect();
        Ok(Tensors::new().with("out", Tensor::from_vec([dims["len"]], out)?))
    }

    fn work(&self, dims: &Dims, _: &Tensors) -> Work {
        let len = dims["len"] as u64;
        Work { int_ops: 6 * len, dram_bytes: 3 * len, ..Work::default() }
    }
}
