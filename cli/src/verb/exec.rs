//! `tandem exec`: a program on a simulator or a board, whatever compiler it comes from.

use super::asm::read_program;
use crate::launch::Host;
use crate::link::LinkOptions;
use crate::options::{DeviceKind, Format, device};
use crate::simulation::SimulationOptions;
use crate::{Outcome, file, hardware, stdout};
use anyhow::{Result, anyhow, bail};
use clap::Args;
use serde_json::json;
use std::path::PathBuf;
use tandem_isa::{HwConfig, Insn, MemoryType, Program};
use tandem_sim::Options as SimOptions;

/// Highest address that a program may reach.
const DRAM_LIMIT: u64 = 1 << 30;
/// Alignment of the instruction words behind everything else.
const PAGE: u64 = 4096;

/// Options of `tandem exec`.
///
/// Addresses are bytes, decimal or 0x.., from the program's base, which is 0.
#[derive(Args)]
pub struct Options {
    /// Assembly text (.vta), or raw instruction words of 16 bytes (any other name).
    program: PathBuf,
    /// The machine: a preset, vta-0.0.2, or a TOML file [default: what the .vta file says; vta for raw words].
    #[arg(long, value_name = "PRESET|FILE")]
    hw: Option<String>,
    /// Bytes to put into memory before the run, may be repeated.
    #[arg(long, value_name = "ADDR_OR_SECTION=FILE")]
    mem: Vec<String>,
    /// Bytes to save after the run, may be repeated.
    #[arg(long, value_name = "ADDR:LEN_OR_SECTION=FILE")]
    dump: Vec<String>,
    /// Bytes to compare with after the run, may be repeated; exit code 1 where they differ.
    #[arg(long, value_name = "ADDR_OR_SECTION=FILE")]
    expect: Vec<String>,
    /// fsim: the functional simulator; tsim: the hardware, cycle by cycle; board:NAME: a board on a serial port; tcp:HOST:PORT:
    /// what `tandem board serve` exports there; remote:HOST:PORT: what `tandem serve-device` exports there;
    /// uio:DEVICE,BUFFER: a core beside this processor.
    #[arg(
        long,
        value_parser = device,
        default_value = "fsim",
        value_name = "fsim|tsim|board:NAME|tcp:HOST:PORT|remote:HOST:PORT|uio:DEVICE,BUFFER"
    )]
    device: DeviceKind,
    /// Chooses the order in which the three queues of the functional simulator take turns [default: 0].
    #[arg(long)]
    seed: Option<u64>,
    /// Save the events of the run, one a line.
    #[arg(long, value_name = "OUT.trace")]
    trace: Option<PathBuf>,
    /// Form of the result.
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
    #[command(flatten)]
    link: LinkOptions,
    #[command(flatten)]
    simulation: SimulationOptions,
}

/// A range of memory and the file that goes with it.
struct Range {
    addr: u64,
    /// `None`: as long as the file.
    len: Option<u64>,
    path: PathBuf,
}

/// Runs the verb.
pub fn run(options: &Options) -> Result<Outcome> {
    options.simulation.check(options.device == DeviceKind::Tsim)?;
    options.link.check(&Vec::from_iter(options.device.link()))?;
    if !options.device.is_vta() {
        bail!(
            "--device {}: the CPU and GPUs run models and no programs; use fsim, tsim or a board",
            options.device.name()
        );
    }
    if options.simulation.timeline.is_some() && options.device != DeviceKind::Tsim {
        bail!("--timeline is for the simulated hardware: give --device tsim with it, or leave it out");
    }
    if options.trace.is_some() && matches!(options.device, DeviceKind::Link(_)) {
        bail!("--trace needs a simulator, because a board records no events: leave it out");
    }
    if options.seed.is_some() && options.device != DeviceKind::Fsim {
        bail!("--seed is for the functional simulator, the hardware has an order of its own: leave it out");
    }
    let program = program(options)?;
    let name = options.program.display();
    let wrong = |e: String| anyhow!("{name}: {e}");
    let of = |list: &[String]| list.iter().map(|text| range(text, &program)).collect::<Result<Vec<_>>>();
    let (mem, dump, expect) = (of(&options.mem)?, of(&options.dump)?, of(&options.expect)?);
    let load = |ranges: &[Range]| ranges.iter().map(|r| file::read(&r.path)).collect::<Result<Vec<_>>>();
    let (mem_bytes, expect_bytes) = (load(&mem)?, load(&expect)?);

    let words = program.encode_insns().map_err(|e| wrong(e.to_string()))?;
    let mut end = program.dram_bytes();
    if end > DRAM_LIMIT {
        bail!("{name}: its sections end at address {end:#x}, beyond {DRAM_LIMIT:#x}");
    }
    for (index, insn) in program.insns.iter().enumerate() {
        let reach = reach(insn, &program.config);
        if reach > DRAM_LIMIT {
            bail!("{name}: instruction {index} ({insn}) reaches address {reach:#x}, beyond {DRAM_LIMIT:#x}");
        }
        end = end.max(reach);
    }
    let written = mem.iter().zip(&mem_bytes).chain(expect.iter().zip(&expect_bytes)).map(|(r, b)| (r, b.len() as u64));
    for (range, len) in written.chain(dump.iter().map(|r| (r, r.len.unwrap_or(0)))) {
        let last = range.addr.saturating_add(len);
        if last > DRAM_LIMIT {
            bail!("{}: its bytes end at address {last:#x}, beyond {DRAM_LIMIT:#x}", range.path.display());
        }
        end = end.max(last);
    }
    let insn_addr = end.next_multiple_of(PAGE);
    let total = insn_addr + words.len() as u64;

    let mut host = open(options, &program, total).map_err(|e| wrong(format!("{e:#}")))?;
    for section in program.sections.iter().filter(|s| !s.data.is_empty()) {
        host.put(u64::from(section.offset), &section.data)?;
    }
    for (range, bytes) in mem.iter().zip(&mem_bytes) {
        host.put(range.addr, bytes)?;
    }
    host.put(insn_addr, &words)?;
    let ran = host.run(u32::try_from(insn_addr)?, u32::try_from(program.insns.len())?);
    if let Some(path) = &options.trace {
        file::write(path, host.trace().to_string().as_bytes())?;
    }
    let cost = ran.map_err(|e| wrong(format!("{e:#}")))?;

    for range in &dump {
        let bytes = host.get(range.addr, range.len.unwrap_or(0))?;
        file::write(&range.path, &bytes)?;
    }
    let mut mismatches = 0;
    let mut complaints = Vec::new();
    for (range, expected) in expect.iter().zip(&expect_bytes) {
        let found = host.get(range.addr, expected.len() as u64)?;
        let differ = || expected.iter().zip(&found).enumerate().filter(|(_, (a, b))| a != b);
        if let Some((i, (want, have))) = differ().next() {
            let count = differ().count();
            mismatches += count;
            complaints.push(format!(
                "mismatch: {}: byte {i} (address {:#x}) is {have:#04x}, expected {want:#04x}; {count} of {} bytes differ",
                range.path.display(),
                range.addr + i as u64,
                expected.len()
            ));
        }
    }
    let text = match options.format {
        Format::Json => {
            let mut map = host.json(&cost, &program.config);
            map.insert("config_digest".to_owned(), json!(format!("{:#010x}", program.config.digest())));
            if !expect.is_empty() {
                map.insert("mismatches".to_owned(), json!(mismatches));
            }
            format!("{}\n", serde_json::Value::Object(map))
        }
        Format::Table => host.text(&cost, &program.config),
    };
    stdout::emit(&text)?;
    for complaint in &complaints {
        stdout::complain(complaint);
    }
    Ok(if mismatches > 0 { Outcome::Negative } else { Outcome::Good })
}

/// The device that was asked for, with memory for everything.
fn open(options: &Options, program: &Program, bytes: u64) -> Result<Host> {
    let (config, trace) = (&program.config, options.trace.is_some());
    match &options.device {
        DeviceKind::Tsim => Host::hardware(config, &options.simulation, trace, bytes, 2 * DRAM_LIMIT),
        DeviceKind::Link(link) => Host::board(link.open(&options.link)?, config, bytes),
        DeviceKind::Fsim | DeviceKind::Cuda(_) | DeviceKind::Ptx | DeviceKind::Cpu => {
            let sim = SimOptions { seed: options.seed.unwrap_or(0), trace, ..SimOptions::default() };
            Host::functional(config, sim, bytes, 2 * DRAM_LIMIT)
        }
    }
}

fn program(options: &Options) -> Result<Program> {
    let name = options.program.display();
    let config = options.hw.as_deref().map(hardware::resolve).transpose()?;
    if options.program.extension().is_some_and(|e| e.eq_ignore_ascii_case("vta")) {
        let program = read_program(&options.program)?;
        if let Some(config) = config
            && config.digest() != program.config.digest()
        {
            bail!(
                "{name}: it is for configuration {:#010x} but --hw is {:#010x}; leave --hw out or compile it again",
                program.config.digest(),
                config.digest()
            );
        }
        program.validate().map_err(|e| anyhow!("{name}: {e}"))?;
        return Ok(program);
    }
    let config = match config {
        Some(config) => config,
        None => hardware::resolve("vta")?,
    };
    let insns = tandem_isa::decode_all(&file::read(&options.program)?, &config).map_err(|e| anyhow!("{name}: {e}"))?;
    Ok(Program { config, sections: Vec::new(), insns })
}

fn range(text: &str, program: &Program) -> Result<Range> {
    let Some((place, path)) = text.split_once('=').filter(|(place, path)| !place.is_empty() && !path.is_empty()) else {
        bail!("'{text}': write ADDRESS=FILE or SECTION=FILE");
    };
    let path = PathBuf::from(path);
    if let Some(section) = program.section(place) {
        return Ok(Range { addr: section.offset.into(), len: Some(section.size.into()), path });
    }
    let (addr, len) = match place.split_once(':') {
        Some((addr, len)) => (number(addr), Some(number(len))),
        None => (number(place), None),
    };
    match (addr, len) {
        (Some(addr), None) => Ok(Range { addr, len: None, path }),
        (Some(addr), Some(Some(len))) => Ok(Range { addr, len: Some(len), path }),
        _ => {
            let names: Vec<&str> = program.sections.iter().map(|s| s.name.as_str()).collect();
            bail!(
                "'{place}' is neither an address (ADDR, or ADDR:LEN to dump) nor a section of the program ({})",
                if names.is_empty() { "it has none".to_owned() } else { names.join(", ") }
            )
        }
    }
}

fn number(text: &str) -> Option<u64> {
    let text = text.trim();
    match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(hex) => u64::from_str_radix(hex, 16).ok(),
        None => text.parse().ok(),
    }
}

/// The first address behind what an instruction reads or writes in DRAM.
fn reach(insn: &Insn, config: &HwConfig) -> u64 {
    if insn.is_nop() {
        return 0;
    }
    let end = |memory_type: MemoryType, base: u32, y: u32, x: u32, stride: u32| {
        let rows = u64::from(y).saturating_sub(1) * u64::from(stride) + u64::from(x);
        (u64::from(base) + rows) * config.elem_bytes(memory_type) as u64
    };
    match insn {
        Insn::Load(i) => end(i.memory_type, i.dram_base, i.y_size, i.x_size, i.x_stride),
        Insn::LoadPad(i) => end(i.memory_type, i.dram_base, i.y_size, i.x_size, i.x_stride),
        Insn::Store(i) => end(i.memory_type, i.dram_base, i.y_size, i.x_size, i.x_stride),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_decimal_or_hexadecimal_and_sections_go_by_name() {
        let program = Program { config: HwConfig::preset("vta").unwrap(), sections: vec![], insns: vec![] };
        let at = |text: &str| range(text, &program).map(|r| (r.addr, r.len, r.path.display().to_string()));
        assert_eq!(at("0x100=a.bin").unwrap(), (256, None, "a.bin".into()));
        assert_eq!(at("16:32=b=c").unwrap(), (16, Some(32), "b=c".into()));
        assert!(at("out=x").unwrap_err().to_string().contains("it has none"));
        assert!(at("=x").is_err() && at("16").is_err() && at("1:y=f").is_err());
    }
}
