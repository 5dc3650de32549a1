//! What shapes cannot say of operands that hold positions. Every message names the port and the position.

use crate::OpError;
use crate::def::Tensors;

/// Refuses an operand, at a position.
pub(super) fn wrong(def: &str, port: &str, at: usize, text: impl std::fmt::Display) -> OpError {
    OpError::Invalid(format!("{def}: operand {port} at position {at} {text}"))
}

/// Offsets that begin at 0, do not descend, and end at `end`.
pub(super) fn offsets(def: &str, inputs: &Tensors, port: &str, end: usize) -> Result<(), OpError> {
    let offsets = inputs.slice::<i32>(port)?;
    for (at, &offset) in offsets.iter().enumerate() {
        let before = if at == 0 { 0 } else { offsets[at - 1] };
        if at == 0 && offset != 0 {
            return Err(wrong(def, port, at, format!("is {offset}, but offsets begin at 0")));
        }
        if offset < before {
            return Err(wrong(def, port, at, format!("is {offset}, less than {before} before it")));
        }
    }
    match offsets.last() {
        Some(&last) if last as usize == end => Ok(()),
        Some(&last) => Err(wrong(def, port, offsets.len() - 1, format!("is {last}, but there are {end}"))),
        None => Err(OpError::Invalid(format!("{def}: operand {port} is empty, where it needs the end at least"))),
    }
}

/// The ranges between offsets that were checked.
pub(super) fn ranges(offsets: &[i32]) -> impl Iterator<Item = std::ops::Range<usize>> {
    offsets.windows(2).map(|pair| pair[0] as usize..pair[1] as usize)
}

/// Numbers within `0..end`.
pub(super) fn within(def: &str, inputs: &Tensors, port: &str, end: usize) -> Result<(), OpError> {
    let found = inputs.slice::<i32>(port)?.iter().enumerate().find(|&(_, &x)| x < 0 || x as usize >= end);
    match found {
        Some((at, x)) => Err(wrong(def, port, at, format!("is {x}, which is none of 0..{end}"))),
        None => Ok(()),
    }
}
