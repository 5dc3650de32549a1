//! How sums of products become codes: a choice of rounding, and a factor for each column.
//!
//! The factors are lists, of which those that the rounding does not read are empty: binary32 scales where it is `float`, and
//! integer multipliers with right shifts where it is `double` or `half_away`.

use crate::OpError;
use crate::arith::{Requant, quantize_multiplier};
use crate::def::{Axis, AxisKind, Dim, Dims, Port, Random, Tensors};
use tandem_tensor::{DType, Tensor};

const FLOAT: usize = 0;
const DOUBLE: usize = 1;

pub(super) const ROUNDING: Axis = Axis {
    name: "rounding",
    kind: AxisKind::Choice(&["float", "double", "half_away"]),
    default: FLOAT,
    doc: "of sums: f32(sum) scale half to even; sum multiplier / 2^31 half up, then / 2^shift half away; all at once half away",
};

/// The extent of the list that is read where the rounding is `float`.
pub(super) fn scales(dims: &Dims, columns: usize) -> usize {
    if dims["rounding"] == FLOAT { columns } else { 0 }
}

/// The extent of the lists that are read where it is not.
pub(super) fn multipliers(dims: &Dims, columns: usize) -> usize {
    if dims["rounding"] == FLOAT { 0 } else { columns }
}

/// The ports of the three lists, for these axes of the first and of the other two.
pub(super) const fn ports(scales: &'static [Dim], multipliers: &'static [Dim]) -> [Port; 3] {
    [
        Port {
            name: "scale",
            dtype: DType::F32,
            dims: scales,
            doc: "real value of an accumulator's unit, in output codes",
        },
        Port { name: "multiplier", dtype: DType::I32, dims: multipliers, doc: "the same as an integer, 0 or more" },
        Port {
            name: "shift",
            dtype: DType::I32,
            dims: multipliers,
            doc: "bits to the right: -31 to 31 behind those 31 of double, where negative ones go left first; 0 to 62 of half_away",
        },
    ]
}

/// Refuses multipliers and shifts that the rounding does not have.
///
/// # Errors
/// Invalid, naming the list and the column.
pub(super) fn check(dims: &Dims, inputs: &Tensors) -> Result<(), OpError> {
    let allowed = if dims["rounding"] == DOUBLE { -31..=31 } else { 0..=62 };
    let (multipliers, shifts) = (inputs.slice::<i32>("multiplier")?, inputs.slice::<i32>("shift")?);
    if let Some((column, multiplier)) = multipliers.iter().enumerate().find(|(_, multiplier)| **multiplier < 0) {
        return Err(OpError::invalid(format!("multiplier is {multiplier} in column {column}, which is below 0")));
    }
    match shifts.iter().enumerate().find(|(_, shift)| !allowed.contains(*shift)) {
        Some((column, shift)) => Err(OpError::invalid(format!(
            "shift is {shift} in column {column}, not {} to {}",
            allowed.start(),
            allowed.end()
        ))),
        None => Ok(()),
    }
}

/// The requantiser of every column.
///
/// # Errors
/// Invalid, where a list is missing.
pub(crate) fn requants(dims: &Dims, inputs: &Tensors) -> Result<Vec<Requant>, OpError> {
    if dims["rounding"] == FLOAT {
        return Ok(inputs.slice::<f32>("scale")?.iter().map(|&scale| Requant::Float { scale }).collect());
    }
    let requant = |(&multiplier, &shift): (&i32, &i32)| match dims["rounding"] {
        DOUBLE => Requant::DoubleRounding { multiplier, shift: -shift },
        _ => Requant::HalfAway { multiplier, shift: shift as u32 },
    };
    Ok(inputs.slice::<i32>("multiplier")?.iter().zip(inputs.slice("shift")?).map(requant).collect())
}

/// The choice and the lists of these requantisers; `None` where they are of several kinds, or beyond what the definitions take.
pub(super) fn lists(requants: &[Requant]) -> Option<(usize, Tensors)> {
    let rounding = match requants.first() {
        None | Some(Requant::Float { .. }) => FLOAT,
        Some(Requant::DoubleRounding { .. }) => DOUBLE,
        Some(Requant::HalfAway { .. }) => 2,
        Some(Requant::SingleRounding { .. }) => return None,
    };
    let (mut scales, mut multipliers, mut shifts) = (Vec::new(), Vec::new(), Vec::new());
    for requant in requants {
        let (multiplier, shift) = match (*requant, rounding) {
            (Requant::Float { scale }, FLOAT) => {
                scales.push(scale);
                continue;
            }
            (Requant::DoubleRounding { multiplier, shift: shift @ -31..=31 }, DOUBLE) => (multiplier, -shift),
            (Requant::HalfAway { multiplier, shift: shift @ 0..=62 }, 2) => (multiplier, shift as i32),
            _ => return None,
        };
        if multiplier < 0 {
            return None;
        }
        multipliers.push(multiplier);
        shifts.push(shift);
    }
    let list = |values: Vec<i32>| Tensor::from_vec([values.len()], values).ok();
    let scales = Tensor::from_vec([scales.len()], scales).ok()?;
    let lists = [("scale", scales), ("multiplier", list(multipliers)?), ("shift", list(shifts)?)];
    Some((rounding, lists.into_iter().collect()))
}

/// The lists of a sample with scales of about `unit`; of one whose name begins with `shifts`, with multipliers and shifts of all sizes.
pub(super) fn sample(name: &str, dims: &Dims, columns: usize, unit: f64, random: &mut Random) -> Tensors {
    let mut scales = Vec::with_capacity(columns);
    scales.extend((0..columns).map(|_| (unit * (0.5 + random.unit())) as f32));
    let requants: Vec<Requant> = match dims["rounding"] {
        FLOAT => scales.into_iter().map(|scale| Requant::Float { scale }).collect(),
        rounding => scales
            .into_iter()
            .map(|scale| {
                let (mut multiplier, mut shift) = quantize_multiplier(f64::from(scale));
                if name.starts_with("shifts") {
                    multiplier = [0, 1, i32::MAX, multiplier][random.within(0, 4)];
                    shift = random.within(0, 63) as i32 - 31;
                }
                match rounding {
                    DOUBLE => Requant::DoubleRounding { multiplier, shift },
                    _ => Requant::HalfAway { multiplier, shift: (31 - shift) as u32 },
                }
            })
            .collect(),
    };
    lists(&requants).map(|(_, lists)| lists).unwrap_or_default()
}
