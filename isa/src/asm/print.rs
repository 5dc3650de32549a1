//! Programs and instructions as text.

use std::fmt::{self, Write};

use super::{MAX_ZERO_RUN, OPERANDS, Operand, Presence, UNUSED_IMM, USE_IMM};
use crate::encode::Field;
use crate::{Dep, HwConfig, Insn, Program, Queue, Role, Section, Uop};

/// Bytes on a `.hex` line.
const HEX_BYTES: usize = 32;
/// Micro-ops on a `.uop` line.
const LINE_UOPS: usize = 8;

/// A program as assembly text that [`crate::parse`] reads back.
pub fn to_text(program: &Program) -> String {
    program.to_string()
}

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_config(f, &self.config)?;
        for section in &self.sections {
            write_section(f, section, &self.config)?;
        }
        for insn in &self.insns {
            writeln!(f, "{insn}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Insn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let dep = self.dep();
        if let Some(queue) = Queue::ALL.into_iter().find(|&queue| Insn::nop(queue, dep) == *self) {
            write!(f, "nop.{queue}")?;
            return write_dep(f, dep);
        }
        // Names and order of the fields do not depend on the configuration.
        self.with_fields(&HwConfig::SMALLEST, |fields, raw| {
            f.write_str(self.mnemonic())?;
            for (field, &value) in fields.iter().zip(raw) {
                if let Some(name) = usize::try_from(value).ok().and_then(|code| field.names.get(code)) {
                    write!(f, ".{name}")?;
                }
            }
            let value_of = |name: &str| value_of(fields, raw, name);
            for (field, &value) in fields.iter().zip(raw) {
                if field.flag && value != 0 && field.name != USE_IMM {
                    write!(f, " {}", field.name)?;
                }
                let operand = OPERANDS.iter().find(|operand| operand.fields.first() == Some(&field.name));
                if let Some(operand) = operand {
                    write_operand(f, operand, value_of)?;
                }
            }
            Ok(())
        })?;
        write_dep(f, dep)
    }
}

fn value_of(fields: &[Field], raw: &[i64], name: &str) -> i64 {
    fields.iter().position(|field| field.name == name).and_then(|at| raw.get(at)).copied().unwrap_or_default()
}

fn write_operand(f: &mut fmt::Formatter<'_>, operand: &Operand, value_of: impl Fn(&str) -> i64) -> fmt::Result {
    let zero = operand.fields.iter().all(|name| value_of(name) == 0);
    let key = match operand.presence {
        Presence::NonZero if zero => return Ok(()),
        Presence::Immediate if value_of(USE_IMM) == 0 && zero => return Ok(()),
        Presence::Immediate if value_of(USE_IMM) == 0 => UNUSED_IMM,
        _ => operand.key,
    };
    write!(f, " {key}=")?;
    for (position, name) in operand.fields.iter().enumerate() {
        if position > 0 {
            f.write_str(operand.separator)?;
        }
        let value = value_of(name);
        if operand.hex { write!(f, "{value:#x}")? } else { write!(f, "{value}")? }
    }
    Ok(())
}

fn write_dep(f: &mut fmt::Formatter<'_>, dep: Dep) -> fmt::Result {
    dep.flags().into_iter().filter(|(_, set)| *set).try_for_each(|(name, _)| write!(f, " {name}"))
}

fn write_config(f: &mut fmt::Formatter<'_>, config: &HwConfig) -> fmt::Result {
    match config.name().filter(|name| HwConfig::preset(name).as_ref() == Some(config)) {
        Some(name) => writeln!(f, ".preset {name}"),
        None => {
            let entries: Vec<String> = config.entries().iter().map(|(key, value)| format!("{key} = {value}")).collect();
            writeln!(f, ".config {{ {} }}", entries.join(", "))
        }
    }
}

fn write_section(f: &mut fmt::Formatter<'_>, section: &Section, config: &HwConfig) -> fmt::Result {
    f.write_str(".section ")?;
    write_name(f, &section.name)?;
    writeln!(f, " {} {:#x} {}", section.role.name(), section.offset, section.size)?;
    if section.role == Role::Uop
        && let Some(uops) = decode_uops(&section.data, config)
    {
        return write_uops(f, &uops);
    }
    write_bytes(f, &section.data)
}

/// Names of plain characters stand as they are, all others in quotes.
fn write_name(f: &mut fmt::Formatter<'_>, name: &str) -> fmt::Result {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '/' | ':');
    if !name.is_empty() && name.chars().all(plain) {
        return f.write_str(name);
    }
    f.write_char('"')?;
    for c in name.chars() {
        match c {
            '"' | '\\' => write!(f, "\\{c}")?,
            ' '..='~' => f.write_char(c)?,
            _ => write!(f, "\\u{{{:x}}}", u32::from(c))?,
        }
    }
    f.write_char('"')
}

fn decode_uops(data: &[u8], config: &HwConfig) -> Option<Vec<Uop>> {
    let (words, rest) = data.as_chunks::<4>();
    if !rest.is_empty() {
        return None;
    }
    words.iter().map(|word| Uop::decode(u32::from_le_bytes(*word), config).ok()).collect()
}

fn write_uops(f: &mut fmt::Formatter<'_>, uops: &[Uop]) -> fmt::Result {
    for line in uops.chunks(LINE_UOPS) {
        f.write_str(".uop")?;
        line.iter().try_for_each(|uop| write!(f, " {},{},{}", uop.dst, uop.src, uop.wgt))?;
        f.write_char('\n')?;
    }
    Ok(())
}

fn write_bytes(f: &mut fmt::Formatter<'_>, data: &[u8]) -> fmt::Result {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut zeros = 0;
    let mut line = String::with_capacity(HEX_BYTES * 2);
    for chunk in data.chunks(HEX_BYTES) {
        if chunk.iter().all(|&byte| byte == 0) && zeros + chunk.len() <= MAX_ZERO_RUN {
            zeros += chunk.len();
            continue;
        }
        write_zeros(f, &mut zeros)?;
        if chunk.iter().all(|&byte| byte == 0) {
            zeros = chunk.len();
            continue;
        }
        line.clear();
        for &byte in chunk {
            for digit in [byte >> 4, byte & 15] {
                line.push(char::from(DIGITS.get(usize::from(digit)).copied().unwrap_or(b'0')));
            }
        }
        writeln!(f, ".hex {line}")?;
    }
    write_zeros(f, &mut zeros)
}

fn write_zeros(f: &mut fmt::Formatter<'_>, zeros: &mut usize) -> fmt::Result {
    if *zeros > 0 {
        writeln!(f, ".zero {zeros}")?;
    }
    *zeros = 0;
    Ok(())
}
