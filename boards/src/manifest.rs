//! From TOML to a board: layers that inherit, each read strictly, then merged and checked as a whole.
//!
//! A manifest may inherit bases (`inherits = "lfe5u-25f"`, or a list). What it says itself wins over its bases, and a base that
//! stands later in the list wins over an earlier one. `memory`, `host`, `oscillator`, `budget` and `hw` are inherited whole.

use std::collections::BTreeSet;

use serde::Deserialize;
use tandem_hw::shell::SdramClock;
use tandem_isa::{HwConfig, HwFacts};

use crate::BoardError;
use crate::board::{Board, Budget, Flow, Host, Memory, Options, Oscillator, Port};
use crate::constraints::pins;
use crate::pll::Pll;

/// Bases upon bases at most.
const DEEPEST: usize = 8;

/// A file of a board's folder, by name.
pub(crate) type Files<'a> = &'a dyn Fn(&str) -> Option<String>;

/// One file: every fact may be absent.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Layer {
    inherits: Option<Bases>,
    name: Option<String>,
    title: Option<String>,
    flow: Option<Flow>,
    part: Option<String>,
    device: Option<String>,
    package: Option<String>,
    speed: Option<String>,
    oscillator: Option<Oscillator>,
    clock_hz: Option<u64>,
    memory: Option<Memory>,
    sdram_clock: Option<SdramClock>,
    host: Option<Host>,
    leds: Option<u32>,
    leds_active_low: Option<bool>,
    absent_ports: Option<BTreeSet<String>>,
    hw: Option<Hw>,
    budget: Option<Budget>,
    derate: Option<f64>,
    constraints: Option<String>,
    loader: Option<String>,
    options: Option<Options>,
    irq: Option<u32>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
enum Bases {
    One(String),
    Many(Vec<String>),
}

/// A configuration: a preset's name, a file of the folder, or the facts themselves.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
enum Hw {
    Word(String),
    Facts(Box<HwFacts>),
}

/// Reads a board from the files of its folder; `place` names the folder in errors, `bases` finds what it inherits.
pub(crate) fn read(place: &str, files: Files, bases: Files) -> Result<Board, BoardError> {
    let at = format!("{place}/board.toml");
    let text = files("board.toml").ok_or_else(|| BoardError::manifest(place, "there is no board.toml in it"))?;
    let layer = inherit(parse(&at, &text)?, &at, bases, 0)?;
    build(layer, &at, files)
}

fn parse(place: &str, text: &str) -> Result<Layer, BoardError> {
    toml::from_str(text).map_err(|e| {
        // The message draws the line of the file; a sentence keeps line, column and reason.
        let message = e.to_string();
        let plain = message.lines().filter(|line| !line.contains('|')).map(str::trim).collect::<Vec<_>>();
        BoardError::manifest(place, plain.join(" ").trim())
    })
}

/// The layer over everything that it inherits.
fn inherit(layer: Layer, place: &str, bases: Files, depth: usize) -> Result<Layer, BoardError> {
    let names = match &layer.inherits {
        None => return Ok(layer),
        Some(Bases::One(name)) => vec![name.clone()],
        Some(Bases::Many(names)) => names.clone(),
    };
    if depth == DEEPEST {
        return Err(BoardError::manifest(place, "it inherits itself, or more than 8 bases deep"));
    }
    let mut below = Layer::default();
    for name in names {
        let text = bases(&format!("{name}.toml"))
            .ok_or_else(|| BoardError::manifest(place, format!("inherits: there is no base '{name}'")))?;
        let at = format!("base/{name}.toml");
        below = over(inherit(parse(&at, &text)?, &at, bases, depth + 1)?, below);
    }
    Ok(over(layer, below))
}

/// What `above` says, else what `below` says.
fn over(above: Layer, below: Layer) -> Layer {
    Layer {
        inherits: None,
        name: above.name.or(below.name),
        title: above.title.or(below.title),
        flow: above.flow.or(below.flow),
        part: above.part.or(below.part),
        device: above.device.or(below.device),
        package: above.package.or(below.package),
        speed: above.speed.or(below.speed),
        oscillator: above.oscillator.or(below.oscillator),
        clock_hz: above.clock_hz.or(below.clock_hz),
        memory: above.memory.or(below.memory),
        sdram_clock: above.sdram_clock.or(below.sdram_clock),
        host: above.host.or(below.host),
        leds: above.leds.or(below.leds),
        leds_active_low: above.leds_active_low.or(below.leds_active_low),
        absent_ports: above.absent_ports.or(below.absent_ports),
        hw: above.hw.or(below.hw),
        budget: above.budget.or(below.budget),
        derate: above.derate.or(below.derate),
        constraints: above.constraints.or(below.constraints),
        loader: above.loader.or(below.loader),
        options: above.options.or(below.options),
        irq: above.irq.or(below.irq),
    }
}

fn build(layer: Layer, place: &str, files: Files) -> Result<Board, BoardError> {
    let wrong = |what: String| BoardError::manifest(place, what);
    let missing = |key: &str| BoardError::manifest(place, format!("neither it nor what it inherits says `{key}`"));
    let name = layer.name.ok_or_else(|| missing("name"))?;
    if name.is_empty() || !name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-') {
        return Err(wrong(format!("name: '{name}' is not made of lower-case letters, digits and '-'")));
    }
    let flow = layer.flow.ok_or_else(|| missing("flow"))?;
    let memory = layer.memory.ok_or_else(|| missing("memory"))?;
    let host = layer.host.ok_or_else(|| missing("host"))?;
    let clock_hz = layer.clock_hz.ok_or_else(|| missing("clock_hz"))?;
    if !(1_000_000..=1_000_000_000).contains(&clock_hz) {
        return Err(wrong(format!("clock_hz: {clock_hz} is not between 1 MHz and 1 GHz")));
    }
    match (&memory, &layer.sdram_clock) {
        (Memory::Sdram(_), None) => return Err(missing("sdram_clock")),
        (Memory::Sdram(_), Some(late)) if !late.has_phase() => {
            let phase = late.phase_degrees;
            return Err(wrong(format!("sdram_clock.phase_degrees: {phase} is no multiple of 45 from 45 to 315")));
        }
        (Memory::Sdram(sdram), Some(_)) => {
            let hz = u32::try_from(clock_hz).map_err(|_| wrong(format!("clock_hz: {clock_hz} is too fast")))?;
            if let Some(problem) = sdram.chip(true).problem(hz) {
                return Err(wrong(format!("memory: {problem}")));
            }
        }
        _ => {}
    }
    let derate = layer.derate.unwrap_or(1.0);
    if !(derate > 0.0 && derate <= 1.0) {
        return Err(wrong(format!("derate: {derate} is not above 0 and at most 1")));
    }
    let config = match layer.hw.ok_or_else(|| missing("hw"))? {
        Hw::Facts(facts) => HwConfig::new(*facts).map_err(|e| wrong(format!("hw: {e}")))?,
        Hw::Word(word) => configuration(&word, files).map_err(|e| wrong(format!("hw: {e}")))?,
    };
    let file = layer.constraints.ok_or_else(|| missing("constraints"))?;
    let text = files(&file).ok_or_else(|| wrong(format!("constraints: there is no file {file} beside it")))?;
    let oscillator = layer.oscillator;
    if flow.is_open() && oscillator.is_none() {
        return Err(missing("oscillator"));
    }
    let pll = match &oscillator {
        Some(oscillator) if flow.is_open() => Some(Pll::solve(&name, flow, oscillator.hz, clock_hz)?),
        _ => None,
    };
    let clock_hz = pll.map_or(clock_hz, |pll| pll.output_hz());
    check_memory(&memory, flow).map_err(wrong)?;
    check_host(&host, flow, clock_hz).map_err(wrong)?;
    let device = match flow.is_open() {
        true => layer.device.ok_or_else(|| missing("device"))?,
        false => layer.device.unwrap_or_default(),
    };
    let board = Board {
        title: layer.title.unwrap_or_else(|| name.clone()),
        name,
        flow,
        part: layer.part.ok_or_else(|| missing("part"))?,
        device,
        package: layer.package.unwrap_or_default(),
        speed: layer.speed.unwrap_or_default(),
        oscillator,
        clock_hz,
        pll,
        memory,
        sdram_clock: layer.sdram_clock,
        host,
        leds: layer.leds.unwrap_or(0),
        leds_active_low: layer.leds_active_low.unwrap_or(false),
        absent_ports: layer.absent_ports.unwrap_or_default(),
        config,
        budget: layer.budget.ok_or_else(|| missing("budget"))?,
        derate,
        constraints: (file, text),
        loader: layer.loader,
        options: layer.options.unwrap_or_default(),
        irq: layer.irq,
        designs: files(crate::area::FILE),
    };
    check_pins(&board)?;
    Ok(board)
}

/// A preset, or a file of the folder.
fn configuration(word: &str, files: Files) -> Result<HwConfig, String> {
    if let Some(config) = HwConfig::preset(word) {
        return Ok(config);
    }
    let Some(text) = files(word) else {
        return Err(format!(
            "'{word}' is neither a preset ({}) nor a file beside the manifest",
            HwConfig::presets().join(", ")
        ));
    };
    HwConfig::from_toml(&text).map_err(|e| format!("{word}: {e}"))
}

fn check_memory(memory: &Memory, flow: Flow) -> Result<(), String> {
    let fits = match memory {
        Memory::Sdram(_) => flow.is_open(),
        Memory::BlockRam { .. } => true,
        Memory::Spram => flow == Flow::Ice40,
        Memory::ProcessorDdr { .. } => flow == Flow::Vivado,
    };
    if !fits {
        return Err(format!("memory: there is no {} in the flow {}", memory.describe(), flow.name()));
    }
    if let Memory::Sdram(s) = memory {
        for (name, time) in [("t_rcd_ps", s.t_rcd_ps), ("t_rp_ps", s.t_rp_ps), ("t_ras_ps", s.t_ras_ps)] {
            if !(1_000..=1_000_000).contains(&time) {
                return Err(format!("memory.{name}: {time} is not between 1 ns and 1 us; times are picoseconds"));
            }
        }
    }
    if memory.bytes() == 0 {
        return Err("memory: it has no bytes".to_owned());
    }
    Ok(())
}

fn check_host(host: &Host, flow: Flow, clock_hz: u64) -> Result<(), String> {
    match host {
        Host::Uart { baud, .. } => {
            // A bit takes a whole number of cycles; the receiver samples in its middle, so 2 % off is the most.
            let cycles = (clock_hz + u64::from(*baud) / 2) / u64::from(*baud).max(1);
            if *baud == 0 || cycles < 4 {
                return Err(format!("host.baud: {baud} leaves less than 4 cycles for a bit"));
            }
            let off = (clock_hz as f64 / cycles as f64 / f64::from(*baud) - 1.0).abs();
            if off > 0.02 {
                let real = clock_hz / cycles;
                return Err(format!("host.baud: {baud} is not a part of the clock; {real} is the nearest that is"));
            }
        }
        Host::Axi { base, bytes } => {
            if flow != Flow::Vivado {
                return Err(format!("host: there is no processor in the flow {}", flow.name()));
            }
            if *bytes < 4096 || !bytes.is_power_of_two() || base % bytes != 0 {
                return Err("host: bytes must be a power of two of at least 4096, and base a multiple of it".to_owned());
            }
        }
    }
    Ok(())
}

/// Every port has its pins in the constraints file, and the file names nothing else.
fn check_pins(board: &Board) -> Result<(), BoardError> {
    let place = format!("{} of {}", board.constraints.0, board.name);
    let found = pins(board.flow, &board.constraints.1).map_err(|what| BoardError::manifest(place.as_str(), what))?;
    let wanted: BTreeSet<String> = board.ports().iter().flat_map(Port::bits).collect();
    for name in &wanted {
        if !found.contains_key(name) {
            return Err(BoardError::manifest(place, format!("the port {name} has no pin")));
        }
    }
    let mut seen = BTreeSet::new();
    for (name, pin) in &found {
        if !wanted.contains(name) {
            return Err(BoardError::manifest(place, format!("{name} has a pin, but the board has no such port")));
        }
        if !seen.insert(pin) {
            return Err(BoardError::manifest(
                place,
                format!("the pin {pin} is given to two ports; one of them is {name}"),
            ));
        }
    }
    Ok(())
}

impl Port {
    /// The names of its wires as a constraints file writes them.
    pub fn bits(&self) -> Vec<String> {
        match self.bits {
            None => vec![self.name.clone()],
            Some(bits) => (0..bits).map(|bit| format!("{}[{bit}]", self.name)).collect(),
        }
    }
}
