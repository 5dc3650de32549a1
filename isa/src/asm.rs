//! Assembly text: the `.vta` form of a program, printed and parsed over the instruction table.
//!
//! ```text
//! .preset vta                                   ; or .config { batch = 1, block_in = 16, ... }
//! .section kernels uop 0x0 8                    ; name, role, offset, size
//! .uop 0,0,0 1,0,0                              ; dst,src,wgt; other data: .hex 00ff.. and .zero COUNT
//! load.inp sram=0 dram=0x100 size=1x16 stride=16 pad=1,1,0,0 pop_next push_next
//! gemm uop=1..2 loop=1x16 dst=0,1 src=0,1 wgt=0,0 push_next
//! nop.store pop_prev
//! finish
//! ```
//!
//! The first word is the mnemonic, with the value of a coded field (memory type, ALU opcode, mode) after a dot. Operands and
//! flags follow in any order; pairs and lists left out are zero. `;` and `#` start a comment. `parse(&to_text(p))` gives `p`
//! back for every program whose instructions encode and whose sections are complete.

mod lex;
mod parse;
mod print;

use thiserror::Error;

pub use parse::parse;
pub use print::to_text;

/// Assembly text that does not parse.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{line}:{column}: {message}")]
pub struct AsmError {
    /// One-based line.
    pub line: usize,
    /// One-based column, in characters.
    pub column: usize,
    /// What is wrong and what to write instead, in one sentence.
    pub message: String,
}

/// How a group of fields is written as one operand `key=a,b`.
struct Operand {
    key: &'static str,
    /// Field names, in the order written.
    fields: &'static [&'static str],
    separator: &'static str,
    hex: bool,
    presence: Presence,
}

/// Whether an operand may be left out.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Presence {
    /// Always written, and an error where missing.
    Required,
    /// Always written, zero where missing.
    Default,
    /// Written where not zero, zero where missing.
    NonZero,
    /// The immediate: written under this key where `use_imm` is set.
    Immediate,
}

/// The field that says whether an immediate is used; it has no word of its own in the text.
const USE_IMM: &str = "use_imm";
/// The key of an immediate that the instruction carries without using it.
const UNUSED_IMM: &str = "imm_unused";
/// The longest run of zeros that one `.zero` may stand for: a small file cannot ask for much memory.
const MAX_ZERO_RUN: usize = 4096;

const fn operand(
    key: &'static str,
    fields: &'static [&'static str],
    separator: &'static str,
    hex: bool,
    presence: Presence,
) -> Operand {
    Operand { key, fields, separator, hex, presence }
}

const OPERANDS: &[Operand] = &[
    operand("sram", &["sram_base"], "", false, Presence::Required),
    operand("dram", &["dram_base"], "", true, Presence::Required),
    operand("size", &["y_size", "x_size"], "x", false, Presence::Required),
    operand("stride", &["x_stride"], "", false, Presence::Required),
    operand("pad", &["y_pad_0", "y_pad_1", "x_pad_0", "x_pad_1"], ",", false, Presence::NonZero),
    operand("pad_value", &["pad_value"], "", false, Presence::Default),
    operand("uop", &["uop_begin", "uop_end"], "..", false, Presence::Required),
    operand("loop", &["iter_out", "iter_in"], "x", false, Presence::Required),
    operand("dst", &["dst_factor_out", "dst_factor_in"], ",", false, Presence::Default),
    operand("src", &["src_factor_out", "src_factor_in"], ",", false, Presence::Default),
    operand("wgt", &["wgt_factor_out", "wgt_factor_in"], ",", false, Presence::Default),
    operand("imm", &["imm"], "", false, Presence::Immediate),
    operand("param", &["param"], "", false, Presence::NonZero),
    operand("more_taps", &["more_taps"], "", false, Presence::NonZero),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{HwConfig, forms};

    #[test]
    fn every_field_of_the_table_has_exactly_one_place_in_the_text() {
        for form in forms(&HwConfig::preset("vta").unwrap()) {
            for field in &form.fields {
                let operands = OPERANDS.iter().filter(|o| o.fields.contains(&field.name)).count();
                let places = operands + usize::from(field.flag) + usize::from(!field.names.is_empty());
                assert_eq!(places, 1, "{}.{}", form.name, field.name);
            }
            for operand in OPERANDS {
                let present = operand.fields.iter().filter(|name| form.field(name).is_some()).count();
                assert!(present == 0 || present == operand.fields.len(), "{} {}", form.name, operand.key);
            }
            assert!(form.fields.iter().filter(|field| !field.names.is_empty()).count() <= 1, "{}", form.name);
        }
    }
}
