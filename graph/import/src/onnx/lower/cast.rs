//! Conversions between element types.

use super::{Item, Lower, Results, one};
use crate::ImportError;
use crate::onnx::tensor::{Code, Elem};
use tandem_graph::ValueId;
use tandem_ops::{BinaryKind, Op};
use tandem_tensor::{DType, Tensor};

pub(super) fn lower<'m>(l: &mut Lower<'m>, n: &Item<'m>) -> Option<Results> {
    Some(match n.op() {
        "Cast" => cast(l, n),
        "CastLike" => cast_like(l, n),
        _ => return None,
    })
}

fn cast(l: &mut Lower<'_>, n: &Item<'_>) -> Results {
    let to = n.int("to", 0);
    let elem = i32::try_from(to).ok().and_then(Elem::of);
    let Some(elem) = elem else {
        return Err(n.unsupported(format!("element type {to} ({}) is not supported", Elem::name(to as i32))));
    };
    convert(l, n, elem)
}

fn cast_like(l: &mut Lower<'_>, n: &Item<'_>) -> Results {
    let like = n.input(1)?;
    let elem = l.elem(like);
    convert(l, n, elem)
}

fn convert(l: &mut Lower<'_>, n: &Item<'_>, elem: Elem) -> Results {
    let mut x = n.input(0)?;
    if l.elem(x) == elem {
        return one(x);
    }
    if let Elem::Coded(code) = l.elem(x) {
        x = decode(l, n, x, code)?;
    }
    match elem {
        Elem::Plain(dtype) => {
            let saturate = n.int("saturate", 1) != 0;
            one(l.emit(Op::Cast { to: dtype, saturate }, &[x], dtype)?)
        }
        Elem::Narrow { bits, signed } => {
            let y = narrow(l, x, bits, signed)?;
            one(y)
        }
        Elem::Coded(_) => Err(n.unsupported("floats of 8 bits and fewer can be read but not made")),
    }
}

/// Integers cut to their low bits, as a cast does it; they stay in bytes.
fn narrow(l: &mut Lower<'_>, x: ValueId, bits: u32, signed: bool) -> Result<ValueId, ImportError> {
    let span = f64::from(1u32 << bits);
    let wide = l.cast(x, DType::I64)?;
    // A remainder of the truncating division lies between -span and span; one more step makes it positive.
    let remainder = |l: &mut Lower<'_>, v: ValueId| -> Result<ValueId, ImportError> {
        let q = l.with_scalar(BinaryKind::Div, v, span)?;
        let m = l.with_scalar(BinaryKind::Mul, q, span)?;
        l.binary(BinaryKind::Sub, v, m)
    };
    let offset = if signed { span / 2.0 } else { 0.0 };
    let shifted = l.with_scalar(BinaryKind::Add, wide, offset)?;
    let once = remainder(l, shifted)?;
    let up = l.with_scalar(BinaryKind::Add, once, span)?;
    let positive = remainder(l, up)?;
    let value = l.with_scalar(BinaryKind::Sub, positive, offset)?;
    let elem = Elem::Narrow { bits, signed };
    let y = l.cast(value, elem.dtype())?;
    l.set_elem(y, elem);
    Ok(y)
}

/// The reals of codes, from a table.
pub(super) fn decode(l: &mut Lower<'_>, n: &Item<'_>, x: ValueId, code: Code) -> Result<ValueId, ImportError> {
    let values = code.values();
    let table = n.tensor(Tensor::from_vec([values.len()], values))?;
    let table = l.constant(table);
    let index = l.cast(x, DType::I64)?;
    l.emit(Op::Gather { axis: 0 }, &[table, index], DType::F32)
}
