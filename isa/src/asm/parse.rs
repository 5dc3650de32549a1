//! Assembly text to programs, with the line and column of everything refused.

use std::str::FromStr;

use super::lex::{Problem, Word, clip, fail, not_a_number, number, number_u32, split, unquote};
use super::{AsmError, MAX_ZERO_RUN, OPERANDS, Operand, Presence, UNUSED_IMM, USE_IMM};
use crate::encode::{Field, Form};
use crate::{Dep, HwConfig, HwFacts, Insn, IsaError, Program, Queue, Role, Section, Uop, forms};

/// Reads a program from assembly text.
///
/// Every instruction is checked against the configuration; whether ranges lie inside the machine and the image is the
/// business of [`Program::validate`].
///
/// # Errors
/// The first line that is not understood, or that does not encode.
pub fn parse(text: &str) -> Result<Program, AsmError> {
    let mut parser = Parser::default();
    for (index, line) in text.lines().enumerate() {
        parser.line(line).map_err(|(column, message)| AsmError { line: index + 1, column, message })?;
    }
    let end = text.lines().count().max(1);
    parser.close_section().map_err(|(column, message)| AsmError { line: end, column, message })?;
    let machine = parser.machine.ok_or_else(|| AsmError { line: end, column: 1, message: NO_CONFIG.to_owned() })?;
    Ok(Program { config: machine.config, sections: parser.sections, insns: parser.insns })
}

impl FromStr for Program {
    type Err = AsmError;

    fn from_str(text: &str) -> Result<Program, AsmError> {
        parse(text)
    }
}

const NO_CONFIG: &str = "the configuration is missing: start with `.preset NAME` or `.config { ... }`";

struct Machine {
    config: HwConfig,
    forms: Vec<Form>,
}

#[derive(Default)]
struct Parser {
    machine: Option<Machine>,
    sections: Vec<Section>,
    /// Whether data lines may follow: the last directive was a `.section` or one of its data lines.
    section_open: bool,
    insns: Vec<Insn>,
}

impl Parser {
    fn line(&mut self, line: &str) -> Result<(), Problem> {
        let words = split(line)?;
        let Some((first, operands)) = words.split_first() else { return Ok(()) };
        match first.text {
            ".preset" => self.preset(*first, operands),
            ".config" => self.config(*first, operands),
            ".section" => self.section(*first, operands),
            ".hex" | ".zero" | ".uop" => self.data(*first, operands),
            directive if directive.starts_with('.') => fail(
                *first,
                format!("`{}` is no directive: use .preset, .config, .section, .hex, .zero or .uop", clip(directive)),
            ),
            _ => {
                self.close_section()?;
                let machine = self.machine.as_ref().ok_or((first.column, NO_CONFIG.to_owned()))?;
                self.insns.push(machine.insn(*first, operands)?);
                Ok(())
            }
        }
    }

    fn preset(&mut self, directive: Word<'_>, operands: &[Word<'_>]) -> Result<(), Problem> {
        let [name] = operands else { return fail(directive, "write `.preset NAME`".to_owned()) };
        let config = HwConfig::preset(name.text).ok_or_else(|| {
            let known = HwConfig::presets().join(", ");
            (name.column, format!("there is no preset `{}`: use one of {known}", clip(name.text)))
        })?;
        self.set_config(directive, config)
    }

    fn config(&mut self, directive: Word<'_>, operands: &[Word<'_>]) -> Result<(), Problem> {
        #[derive(serde::Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Line {
            config: HwFacts,
        }
        let Some(first) = operands.first() else {
            return fail(directive, "write `.config { batch = 1, ... }` on one line".to_owned());
        };
        let at = |message: String| (first.column, message);
        let line: Line = toml::from_str(&format!("config = {}", first.rest))
            .map_err(|e| at(format!("the configuration does not parse: {}", e.message().replace('\n', ", "))))?;
        let config = HwConfig::new(line.config).map_err(|e| at(e.to_string()))?;
        self.set_config(directive, config)
    }

    fn set_config(&mut self, directive: Word<'_>, config: HwConfig) -> Result<(), Problem> {
        if self.machine.is_some() {
            return fail(directive, "the configuration is given a second time; remove one".to_owned());
        }
        self.machine = Some(Machine { forms: forms(&config), config });
        Ok(())
    }

    fn section(&mut self, directive: Word<'_>, operands: &[Word<'_>]) -> Result<(), Problem> {
        self.close_section()?;
        let [name, role, offset, size] = operands else {
            return fail(directive, "write `.section NAME ROLE OFFSET SIZE`".to_owned());
        };
        let known = || Role::ALL.map(Role::name).join(", ");
        self.sections.push(Section {
            name: unquote(*name)?,
            role: Role::from_name(role.text)
                .ok_or_else(|| (role.column, format!("`{}` is no role: use one of {}", clip(role.text), known())))?,
            offset: number_u32(*offset)?,
            size: number_u32(*size)?,
            data: Vec::new(),
        });
        self.section_open = true;
        Ok(())
    }

    fn data(&mut self, directive: Word<'_>, operands: &[Word<'_>]) -> Result<(), Problem> {
        let section = self.sections.last_mut().filter(|_| self.section_open);
        let Some(section) = section else {
            return fail(directive, format!("`{}` must follow a `.section`", directive.text));
        };
        match directive.text {
            ".hex" => operands.iter().try_for_each(|word| push_hex(&mut section.data, *word))?,
            ".zero" => {
                let [count] = operands else { return fail(directive, "write `.zero COUNT`".to_owned()) };
                let bytes = number_u32(*count)? as usize;
                if bytes > MAX_ZERO_RUN {
                    return fail(*count, format!("one `.zero` stands for at most {MAX_ZERO_RUN} bytes; write several"));
                }
                section.data.resize(section.data.len() + bytes, 0);
            }
            _ => {
                let machine = self.machine.as_ref().ok_or((directive.column, NO_CONFIG.to_owned()))?;
                for word in operands {
                    let [dst, src, wgt] = list(*word, word.text, ",", ".uop")?.map(|value| u32::try_from(value).ok());
                    let (Some(dst), Some(src), Some(wgt)) = (dst, src, wgt) else {
                        return fail(
                            *word,
                            "a micro-op is `dst,src,wgt`, three numbers that are not negative".to_owned(),
                        );
                    };
                    let uop =
                        Uop { dst, src, wgt }.encode(&machine.config).map_err(|e| (word.column, e.to_string()))?;
                    section.data.extend_from_slice(&uop.to_le_bytes());
                }
            }
        }
        if section.data.len() as u64 > u64::from(section.size) {
            return fail(directive, format!("section {} has more data than its {} bytes", section.name, section.size));
        }
        Ok(())
    }

    /// A section has no data or all of it.
    fn close_section(&mut self) -> Result<(), Problem> {
        if let Some(section) = self.sections.last().filter(|_| self.section_open)
            && !section.data.is_empty()
            && section.data.len() as u64 != u64::from(section.size)
        {
            let (name, have, size) = (clip(&section.name), section.data.len(), section.size);
            return Err((
                1,
                format!("section {name} has {have} bytes of data for a size of {size}; add .zero or .hex"),
            ));
        }
        self.section_open = false;
        Ok(())
    }
}

impl Machine {
    fn insn(&self, mnemonic: Word<'_>, operands: &[Word<'_>]) -> Result<Insn, Problem> {
        let (base, code) = match mnemonic.text.split_once('.') {
            Some((base, code)) => (base, Some(code)),
            None => (mnemonic.text, None),
        };
        if base == "nop" {
            return nop(mnemonic, code, operands);
        }
        let Some(form) = self.forms.iter().find(|form| form.mnemonic == base) else {
            let known: Vec<&str> = self.forms.iter().map(|form| form.mnemonic).chain(["nop"]).collect();
            return fail(mnemonic, format!("`{}` is no instruction: use one of {}", clip(base), known.join(", ")));
        };
        let mut line = Line { form, raw: [0; 16], columns: [0; 16], dep: Dep::default(), dep_columns: [0; 4] };
        line.code(mnemonic, code)?;
        for word in operands {
            line.operand(*word)?;
        }
        line.finish(mnemonic, &self.config)
    }
}

fn nop(mnemonic: Word<'_>, queue: Option<&str>, flags: &[Word<'_>]) -> Result<Insn, Problem> {
    let Some(queue) = Queue::ALL.into_iter().find(|known| Some(known.name()) == queue) else {
        return fail(mnemonic, "write `nop.load`, `nop.compute` or `nop.store`".to_owned());
    };
    let mut dep = Dep::default();
    for word in flags {
        match dep_flag(&mut dep, word.text) {
            Some((flag, _)) if !*flag => *flag = true,
            Some(_) => return fail(*word, format!("`{}` is given twice", word.text)),
            None => {
                return fail(*word, format!("`{}` is no dependence flag, and a NOP has nothing else", clip(word.text)));
            }
        }
    }
    let insn = Insn::nop(queue, dep);
    insn.check_dep().map_err(|e| (mnemonic.column, e.to_string()))?;
    Ok(insn)
}

/// An instruction as far as its line has been read.
struct Line<'f> {
    form: &'f Form,
    /// Values by the position of the field in the form.
    raw: [i64; 16],
    /// Column of the word that gave the value; 0 where none did.
    columns: [usize; 16],
    dep: Dep,
    dep_columns: [usize; 4],
}

impl<'f> Line<'f> {
    fn field(&self, name: &str) -> Option<(usize, &'f Field)> {
        self.form.fields.iter().enumerate().find(|(_, field)| field.name == name)
    }

    fn set(&mut self, at: usize, value: i64, word: Word<'_>) -> Result<(), Problem> {
        let (Some(raw), Some(column)) = (self.raw.get_mut(at), self.columns.get_mut(at)) else {
            return fail(word, "the instruction has too many fields".to_owned());
        };
        if *column != 0 {
            return fail(word, format!("`{}` is given twice", clip(word.text)));
        }
        (*raw, *column) = (value, word.column);
        Ok(())
    }

    /// The coded field, from the part of the mnemonic after the dot.
    fn code(&mut self, mnemonic: Word<'_>, code: Option<&str>) -> Result<(), Problem> {
        let coded = self.form.fields.iter().enumerate().find(|(_, field)| !field.names.is_empty());
        match (coded, code) {
            (None, None) => Ok(()),
            (None, Some(code)) => fail(mnemonic, format!("`{}` takes no `.{}`", self.form.mnemonic, clip(code))),
            (Some((at, field)), code) => {
                let value = field.names.iter().position(|name| Some(*name) == code).ok_or_else(|| {
                    let known = field.names.join(", ");
                    (mnemonic.column, format!("write `{}.X` with X one of {known}", self.form.mnemonic))
                })?;
                self.set(at, value as i64, mnemonic)
            }
        }
    }

    fn operand(&mut self, word: Word<'_>) -> Result<(), Problem> {
        let Some((key, value)) = word.text.split_once('=') else { return self.flag(word) };
        let used = key != UNUSED_IMM;
        let key = if used { key } else { "imm" };
        let operand = OPERANDS.iter().find(|operand| {
            operand.key == key && operand.fields.first().is_some_and(|name| self.field(name).is_some())
        });
        let Some(operand) = operand else {
            return fail(word, format!("`{}` has no operand `{}`", self.form.mnemonic, clip(key)));
        };
        self.values(word, operand, value)?;
        if operand.presence == Presence::Immediate
            && used
            && let Some((at, _)) = self.field(USE_IMM)
        {
            self.set(at, 1, word)?;
        }
        Ok(())
    }

    fn values(&mut self, word: Word<'_>, operand: &Operand, text: &str) -> Result<(), Problem> {
        let mut parts = [text].to_vec();
        if !operand.separator.is_empty() {
            parts = text.splitn(operand.fields.len() + 1, operand.separator).collect();
        }
        if parts.len() != operand.fields.len() {
            let form = operand.fields.join(operand.separator);
            return fail(word, format!("write `{}={form}`", operand.key));
        }
        for (name, part) in operand.fields.iter().zip(parts) {
            let value = number(part).ok_or_else(|| (word.column, not_a_number(part)))?;
            if let Some((at, _)) = self.field(name) {
                self.set(at, value, word)?;
            }
        }
        Ok(())
    }

    fn flag(&mut self, word: Word<'_>) -> Result<(), Problem> {
        if let Some((flag, bit)) = dep_flag(&mut self.dep, word.text) {
            if *flag {
                return fail(word, format!("`{}` is given twice", word.text));
            }
            *flag = true;
            if let Some(column) = self.dep_columns.get_mut(bit) {
                *column = word.column;
            }
            return Ok(());
        }
        match self.field(word.text).filter(|(_, field)| field.flag && field.name != USE_IMM) {
            Some((at, _)) => self.set(at, 1, word),
            None => fail(word, format!("`{}` has no operand or flag `{}`", self.form.mnemonic, clip(word.text))),
        }
    }

    fn finish(self, mnemonic: Word<'_>, config: &HwConfig) -> Result<Insn, Problem> {
        for operand in OPERANDS.iter().filter(|operand| operand.presence == Presence::Required) {
            let place = operand.fields.first().and_then(|name| self.field(name));
            if let Some((at, _)) = place
                && self.columns.get(at) == Some(&0)
            {
                return fail(mnemonic, format!("`{}` needs the operand `{}=`", self.form.mnemonic, operand.key));
            }
        }
        let column_of = |name: &str| {
            let column = self.field(name).and_then(|(at, _)| self.columns.get(at)).copied().unwrap_or_default();
            if column == 0 { mnemonic.column } else { column }
        };
        let raw = self.raw.get(..self.form.fields.len()).unwrap_or_default();
        let insn = match Insn::from_raw(self.form.opcode, self.dep, raw) {
            Some(Ok(insn)) => insn,
            Some(Err(at)) => {
                let field = self.form.fields.get(at);
                let (name, bits, signed) =
                    field.map_or(("?", 0, false), |field| (field.name, field.width, field.signed));
                let value = raw.get(at).copied().unwrap_or_default();
                let error = IsaError::FieldOverflow { insn: self.form.name, field: name, value, bits, signed };
                return Err((column_of(name), error.to_string()));
            }
            None => return fail(mnemonic, "this opcode does not exist".to_owned()),
        };
        match insn.encode(config) {
            Ok(_) => Ok(insn),
            Err(error) => {
                let column = match &error {
                    IsaError::FieldOverflow { field, .. } => column_of(field),
                    IsaError::DepFlag { bit, .. } => {
                        let given = bit.checked_sub(3).and_then(|at| self.dep_columns.get(at as usize)).copied();
                        given.filter(|&column| column != 0).unwrap_or(mnemonic.column)
                    }
                    _ => mnemonic.column,
                };
                Err((column, error.to_string()))
            }
        }
    }
}

/// The flag of a word and its position among the four.
fn dep_flag<'d>(dep: &'d mut Dep, word: &str) -> Option<(&'d mut bool, usize)> {
    match word {
        "pop_prev" => Some((&mut dep.pop_prev, 0)),
        "pop_next" => Some((&mut dep.pop_next, 1)),
        "push_prev" => Some((&mut dep.push_prev, 2)),
        "push_next" => Some((&mut dep.push_next, 3)),
        _ => None,
    }
}

fn push_hex(data: &mut Vec<u8>, word: Word<'_>) -> Result<(), Problem> {
    let (pairs, rest) = word.text.as_bytes().as_chunks::<2>();
    if !rest.is_empty() {
        return fail(word, "a byte is two hexadecimal digits, and one digit is left over".to_owned());
    }
    let digit = |byte: u8| char::from(byte).to_digit(16);
    for (index, &[high, low]) in pairs.iter().enumerate() {
        match (digit(high), digit(low)) {
            (Some(high), Some(low)) => data.push((high << 4 | low) as u8),
            _ => return Err((word.column + 2 * index, "a byte is two hexadecimal digits".to_owned())),
        }
    }
    Ok(())
}

/// Exactly `N` numbers, separated.
fn list<const N: usize>(word: Word<'_>, text: &str, separator: &str, what: &str) -> Result<[i64; N], Problem> {
    let mut values = [0; N];
    let mut parts = text.splitn(N + 1, separator);
    for value in &mut values {
        let part = parts
            .next()
            .ok_or_else(|| (word.column, format!("{what} takes {N} numbers with `{separator}` between")))?;
        *value = number(part).ok_or_else(|| (word.column, not_a_number(part)))?;
    }
    match parts.next() {
        Some(_) => fail(word, format!("{what} takes {N} numbers with `{separator}` between")),
        None => Ok(values),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Alu, AluOpcode, Load, MemoryType};

    fn insn(text: &str) -> Result<Insn, AsmError> {
        parse(&format!(".preset vta\n{text}")).map(|program| program.insns[0])
    }

    fn problem(text: &str) -> String {
        parse(text).unwrap_err().to_string()
    }

    #[test]
    fn a_line_reads_as_documented() {
        let load =
            insn("load.inp sram=0 dram=0x100 size=1x16 stride=16 pad=1,1,0,0 pop_next push_next ; a comment").unwrap();
        let dep = Dep { pop_next: true, push_next: true, ..Dep::default() };
        assert_eq!(
            load,
            Insn::Load(Load {
                dep,
                memory_type: MemoryType::Inp,
                dram_base: 0x100,
                y_size: 1,
                x_size: 16,
                x_stride: 16,
                y_pad_0: 1,
                y_pad_1: 1,
                ..Load::default()
            })
        );
        assert_eq!(
            insn("nop.load push_next # x").unwrap(),
            Insn::nop(Queue::Load, Dep { push_next: true, ..Dep::default() })
        );
    }

    #[test]
    fn an_immediate_is_used_where_it_is_written() {
        let Insn::Alu(alu) = insn("alu.shr uop=0..1 loop=1x1 imm=-3").unwrap() else { panic!("not an ALU") };
        assert_eq!((alu.alu_opcode, alu.use_imm, alu.imm), (AluOpcode::Shr, true, -3));
        let kept = Insn::Alu(Alu { imm: 9, uop_end: 1, ..Alu::default() });
        assert!(kept.to_string().contains("imm_unused=9"), "{kept}");
        assert_eq!(insn(&kept.to_string()).unwrap(), kept);
    }

    #[test]
    fn refusals_name_line_column_field_value_and_bits() {
        let cases = [
            (
                ".preset vta\n  load.inp sram=70000 dram=0 size=1x1 stride=1",
                "2:12: Load.sram_base is 70000, which does not fit in 16 unsigned bits",
            ),
            (
                ".preset vta\nalu.add uop=0..1 loop=1x1 imm=40000",
                "2:27: Alu.imm is 40000, which does not fit in 16 signed bits",
            ),
            (
                ".preset vta\ngemm uop=0..1 loop=1x-1",
                "2:15: Gemm.iter_in is -1, which does not fit in 14 unsigned bits",
            ),
            (
                ".preset vta\nload.inp sram=0 dram=0 size=1x1 stride=1 push_prev",
                "2:42: Load runs in the load queue, which cannot push_prev (bit 5): it accepts pop_next and push_next",
            ),
            (
                ".preset vta\nload.out sram=0 dram=0 size=1x1 stride=1",
                "2:1: Load cannot use memory type out: use one of uop, wgt, inp, acc, acc8",
            ),
            (
                "gemm uop=0..1 loop=1x1",
                "1:1: the configuration is missing: start with `.preset NAME` or `.config { ... }`",
            ),
            (".preset huge", "1:9: there is no preset `huge`: use one of tiny, edge, vta, wide, batch"),
            (".preset vta\ngemm loop=1x1", "2:1: `gemm` needs the operand `uop=`"),
            (".preset vta\ngemm uop=0..1 uop=0..1 loop=1x1", "2:15: `uop=0..1` is given twice"),
            (".preset vta\nfinish pop_prev pop_prev", "2:17: `pop_prev` is given twice"),
            (
                ".preset vta\ndot uop=0..1",
                "2:1: `dot` is no instruction: use one of load, store, gemm, finish, alu, requant, lane, loadpad, nop",
            ),
            (".preset vta\nfinish sram=0", "2:8: `finish` has no operand `sram`"),
            (
                ".preset vta\nalu.sub uop=0..1 loop=1x1",
                "2:1: write `alu.X` with X one of min, max, add, shr, mul, rshr, clamp, mov",
            ),
            (".preset vta\n.section \"a b wgt 0 0", "2:10: this quote is not closed on its line"),
            (
                ".preset vta\n.section a wgt 0 2\n.hex 00f",
                "3:6: a byte is two hexadecimal digits, and one digit is left over",
            ),
            (
                ".preset vta\n.section a wgt 0 2\n.hex 00",
                "3:1: section a has 1 bytes of data for a size of 2; add .zero or .hex",
            ),
            (".preset vta\n.section a wgt 0 2\n.zero 3", "3:1: section a has more data than its 2 bytes"),
            (
                ".preset vta\n.section a wgt 0 4294967295\n.zero 4294967295",
                "3:7: one `.zero` stands for at most 4096 bytes; write several",
            ),
            (".preset vta\n.section a uop 0 4\n.uop 2048,0,0", "3:6: uop.dst is 2048, which does not fit in 11 bits"),
            (".preset vta\n.preset vta", "2:1: the configuration is given a second time; remove one"),
        ];
        for (text, expected) in cases {
            assert_eq!(problem(text), expected, "{text}");
        }
    }

    #[test]
    fn a_configuration_line_is_checked_like_a_file() {
        let text = ".config { batch = 1, block_in = 16, block_out = 16, uop_buffer_bytes = 32768, inp_buffer_bytes = 32768, \
                    wgt_buffer_bytes = 524288, acc_buffer_bytes = 131072, bus_bits = 64 }";
        assert!(problem(text).starts_with("1:9: a micro-op needs 33 bits and has 32: 1 too many"), "{}", problem(text));
        assert!(problem(".config { batch = 1").starts_with("1:9: the configuration does not parse"));
        assert!(problem(".config { batch = 1, colour = 2 }").contains("colour"));
    }

    #[test]
    fn the_extension_is_refused_under_the_upstream_profile() {
        let facts = HwFacts { profile: crate::Profile::Vta002, ..HwConfig::preset("vta").unwrap().facts().clone() };
        let config = HwConfig::new(facts).unwrap();
        let program = Program { config, sections: vec![], insns: vec![] };
        let text = format!("{program}lane uop=0..1 loop=1x1\n");
        assert!(
            problem(&text).starts_with("2:1: opcode 6 (Lane) belongs to the Tandem extension"),
            "{}",
            problem(&text)
        );
    }

    #[test]
    fn names_of_any_characters_survive() {
        for name in ["plain-1", "with space", "", "quote\"back\\slash", "; not # comments", "µ\n\u{1F600}\0", "\\u{41}"]
        {
            let section = Section { name: name.into(), role: Role::Const, offset: 4, size: 8, data: vec![] };
            let program = Program { config: HwConfig::preset("tiny").unwrap(), sections: vec![section], insns: vec![] };
            assert_eq!(parse(&program.to_string()).as_ref(), Ok(&program), "{program}");
        }
    }
}
