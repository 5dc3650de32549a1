//! The tensor ALU of the machine without queues: steps of a lane, which depend on the parameters and a little on the data.

use crate::{Alu, AluOpcode, Requant, RequantMode};

/// Steps of every operation: it rests, reads its left operand, and writes the result.
const ENDS: u64 = 3;
/// Steps of a product, a bit of the multiplier at a time.
const PRODUCT: u64 = 32;
/// Steps of a comparison with a bound that does not take the bound.
const COMPARISON: u64 = 2;
/// Of so many comparisons with the bounds of a clamp, one takes the bound, which is a step more: a guess, as it is the data
/// that decides.
const COMPARISONS_TO_ONE_TAKEN: u64 = 8;

/// Steps of `lanes` lanes of an ALU operation whose operand is `operand`.
pub(super) fn alu(insn: &Alu, operand: i64, lanes: u64) -> u64 {
    let shift = if operand < 0 { operand.unsigned_abs().min(32) + 2 } else { operand.unsigned_abs().min(31) + 2 };
    let steps = 1 + match insn.alu_opcode {
        AluOpcode::Add | AluOpcode::Mov => 1,
        AluOpcode::Min | AluOpcode::Max => COMPARISON,
        AluOpcode::Clamp => COMPARISON + 1 + COMPARISON,
        AluOpcode::Shr | AluOpcode::Rshr => shift,
        // The product is shifted by nothing, kept and rounded.
        AluOpcode::Mul => PRODUCT + 4,
    };
    let comparisons = match insn.alu_opcode {
        AluOpcode::Min | AluOpcode::Max => 1,
        AluOpcode::Clamp => 2,
        _ => 0,
    };
    lanes * (ENDS + steps) + lanes * comparisons / COMPARISONS_TO_ONE_TAKEN
}

/// Steps of a lane of REQUANT with these parameters.
pub(super) fn requant(insn: &Requant, shift: i32, post: u32) -> u64 {
    let before = u64::from(post >> 24 & 31);
    let magnitude = u64::from(shift.unsigned_abs());
    let double = insn.mode == RequantMode::DoubleRounding;
    let (up, down) = match (double, shift < 0) {
        (true, true) => (0, magnitude.min(31)),
        (true, false) => (magnitude.min(31), 0),
        (false, true) => (0, 0),
        (false, false) => (0, magnitude.min(62)),
    };
    // Post; shift up; bias; scale; product; two steps for a double rounding or for a wide quotient; shift down; round.
    let product = 1 + (before + 1) + 2 + (up + 1) + PRODUCT + 2 + (down + 1) + 1;
    let bounds = if insn.saturate { 2 + COMPARISON + 1 + COMPARISON } else { 0 };
    ENDS + product + bounds
}

/// Steps by which bounds that are taken lengthen REQUANT on so many lanes.
pub(super) fn taken(insn: &Requant, lanes: u64) -> u64 {
    if insn.saturate { 2 * lanes / COMPARISONS_TO_ONE_TAKEN } else { 0 }
}
