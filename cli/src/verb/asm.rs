//! `tandem asm` and `tandem disasm`: assembly text to instruction words and back.

use crate::{Outcome, file, hardware, stdout};
use anyhow::{Result, anyhow};
use clap::Args;
use std::path::{Path, PathBuf};
use tandem_isa::Program;

/// Options of `tandem asm`.
#[derive(Args)]
pub struct AsmOptions {
    /// Assembly text.
    program: PathBuf,
    /// Where the instruction words go, 16 bytes each; addresses are relative to the program's base.
    #[arg(long, short, value_name = "OUT.bin")]
    output: PathBuf,
    /// Write the DRAM image of the sections too; bytes that nothing initialises are zero.
    #[arg(long, value_name = "OUT.img")]
    image: Option<PathBuf>,
}

/// Options of `tandem disasm`.
#[derive(Args)]
pub struct DisasmOptions {
    /// Instruction words, 16 bytes each.
    words: PathBuf,
    /// The machine that they are for: a preset, vta-0.0.2, or a TOML file.
    #[arg(long, value_name = "PRESET|FILE", default_value = "vta")]
    hw: String,
    /// Where the text goes [default: standard output].
    #[arg(long, short, value_name = "OUT.vta")]
    output: Option<PathBuf>,
}

/// Reads and checks a program.
///
/// # Errors
/// `file:line:column` and a sentence, or the instruction that is not legal.
pub fn read_program(path: &Path) -> Result<Program> {
    let text = file::read_text(path)?;
    tandem_isa::parse(&text).map_err(|e| anyhow!("{}:{e}", path.display()))
}

/// Runs `tandem asm`.
pub fn assemble(options: &AsmOptions) -> Result<Outcome> {
    let program = read_program(&options.program)?;
    let words = program.encode_insns().map_err(|e| anyhow!("{}: {e}", options.program.display()))?;
    file::write(&options.output, &words)?;
    if let Some(path) = &options.image {
        program.validate().map_err(|e| anyhow!("{}: {e}", options.program.display()))?;
        file::write(path, &image(&program)?)?;
    }
    Ok(Outcome::Good)
}

/// Runs `tandem disasm`.
pub fn disassemble(options: &DisasmOptions) -> Result<Outcome> {
    let config = hardware::resolve(&options.hw)?;
    let name = options.words.display();
    let insns = tandem_isa::decode_all(&file::read(&options.words)?, &config).map_err(|e| anyhow!("{name}: {e}"))?;
    let text = tandem_isa::to_text(&Program { config, sections: Vec::new(), insns });
    match &options.output {
        Some(path) => file::write(path, text.as_bytes())?,
        None => stdout::emit(&text)?,
    }
    Ok(Outcome::Good)
}

/// The DRAM image of a program.
fn image(program: &Program) -> Result<Vec<u8>> {
    let len = usize::try_from(program.dram_bytes())?;
    let mut image = vec![0; len];
    for section in program.sections.iter().filter(|s| !s.data.is_empty()) {
        let start = section.offset as usize;
        if let Some(range) = image.get_mut(start..start + section.data.len()) {
            range.copy_from_slice(&section.data);
        }
    }
    Ok(image)
}
