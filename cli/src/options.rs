//! Options that several verbs share.

use crate::backend;
use crate::board;
use crate::link::{LinkKind, LinkOptions};
use crate::schedule::ScheduleKind;
use crate::simulation::SimulationOptions;
use anyhow::{Result, bail};
use clap::{Args, ValueEnum};
use std::path::PathBuf;
use tandem_graph::pass;
use tandem_ops::Arith;

/// The accelerator of a simulator that nothing is said about.
pub const HW: &str = "vta";
/// The devices, for the help.
const DEVICES: &str = "fsim|tsim|board:NAME|tcp:HOST:PORT|remote:HOST:PORT|uio:DEVICE,BUFFER|cuda:N|ptx|cpu|auto";
/// Clock that an accelerator is taken to have where nothing says otherwise, in megahertz.
const CLOCK_MHZ: f64 = 100.0;

/// A model and how to import it.
#[derive(Args, Clone, Debug)]
pub struct ModelOptions {
    /// A .tflite, .onnx or .graph file, or a llama2.c checkpoint.
    pub model: PathBuf,
    /// Rounding family of the integer kernels [default: tflref for TFLite, xnnpack for ONNX].
    #[arg(long, value_parser = arith, value_name = "tflref|xnnpack")]
    pub arith: Option<Arith>,
    /// Make this tensor the only output and leave out what it does not need.
    #[arg(long, value_name = "TENSOR")]
    pub cut_at: Option<String>,
    /// Extent of a symbolic dimension of an ONNX model, may be repeated [default: 1].
    #[arg(long, value_name = "NAME=EXTENT", value_parser = dim)]
    pub dim: Vec<(String, usize)>,
    /// Passes over the graph, separated by commas; `tandem graph passes` lists them. exact: those that keep every bit; all; none
    /// [default: exact where the model runs or is compiled, none where it is shown].
    #[arg(long, value_name = "NAMES|exact|all|none", value_parser = passes)]
    pub pass: Option<Passes>,
}

/// Passes by their names, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Passes(pub Vec<&'static str>);

impl Passes {
    /// Those that keep every bit.
    pub fn exact() -> Passes {
        Passes(pass::exact().collect())
    }
}

/// What runs the model.
#[derive(Args, Clone, Debug)]
pub struct DeviceOptions {
    /// One device, which gets all that it can run while the CPU does the rest, or several with commas between them, over which the
    /// model is split for the least latency, see `tandem partition`; the CPU takes part where the list has cpu. fsim: the functional
    /// simulator of the VTA; tsim: the VTA's hardware, cycle by cycle; board:NAME: a board on a serial port; tcp:HOST:PORT: what
    /// `tandem board serve` exports there; remote:HOST:PORT: what `tandem serve-device` exports there; uio:DEVICE,BUFFER: a core
    /// beside this processor; cuda:N: a GPU; ptx: a simulator that runs the GPU's kernels; cpu: the CPU; auto: the CPU with all GPUs
    /// that are found.
    #[arg(long, value_parser = devices, default_value = "fsim", value_name = DEVICES)]
    pub device: DeviceChoice,
    /// Clock of simulated accelerators, by which their cycles become seconds.
    #[arg(long, value_name = "MHZ", default_value_t = CLOCK_MHZ, value_parser = positive)]
    pub clock_mhz: f64,
    /// The accelerator: a preset (tiny, edge, vta, wide, batch) or a TOML file [default: vta for a simulator; a board needs the
    /// one that its bitstream was built for, and remote:HOST:PORT tells it].
    #[arg(long, value_name = "PRESET|FILE")]
    pub hw: Option<String>,
    /// Compile layers for accelerators with the best schedules of this log of `tandem tune`.
    #[arg(long, value_name = "LOG.jsonl")]
    pub tuned: Option<PathBuf>,
    /// How layers for accelerators that --tuned does not know are cut. quick: by a formula; search: as is predicted to be fastest, with
    /// the memory of --dram.
    #[arg(long, value_enum, default_value = "quick")]
    pub schedule: ScheduleKind,
    /// How a board is reached.
    #[command(flatten)]
    pub link: LinkOptions,
    /// How the hardware is simulated.
    #[command(flatten)]
    pub simulation: SimulationOptions,
}

/// How input files are read.
#[derive(Args, Clone, Debug, Default)]
pub struct InputOptions {
    /// What the numbers of raw files (and .npy arrays) are; by default they have the dtype of the model's input.
    #[arg(long, value_enum)]
    pub input_dtype: Option<InputDType>,
    /// How pixels become numbers for a float input: none 0..255, unit 0..1, signed -1..1, MEAN,STD (pixel / 255 - MEAN) / STD.
    #[arg(long, value_parser = normalize, allow_hyphen_values = true, value_name = "none|unit|signed|MEAN,STD")]
    pub normalize: Option<Normalize>,
    /// The numbers are integer codes of reals, for a float input: (code - ZERO) * SCALE.
    #[arg(long, value_parser = input_quant, allow_hyphen_values = true, value_name = "SCALE:ZERO")]
    pub input_quant: Option<(f64, f64)>,
}

/// What runs a model, and who splits it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceChoice {
    kinds: Vec<DeviceKind>,
    /// How the model is split.
    pub split: Split,
}

/// How a model is split between devices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Split {
    /// The one device has all that it can run, the CPU the rest.
    Greedy,
    /// For the least latency, over all devices and the CPU.
    WithCpu,
    /// For the least latency, over all devices; the CPU has what none of them runs.
    WithoutCpu,
}

/// Devices to choose from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeviceKind {
    /// The functional simulator of the VTA, and the CPU for the rest.
    Fsim,
    /// The VTA's hardware, cycle by cycle, and the CPU for the rest.
    Tsim,
    /// A board, and the CPU for the rest.
    Link(LinkKind),
    /// A GPU, and the CPU for the rest.
    Cuda(usize),
    /// The simulator of the GPU's kernels, and the CPU for the rest.
    Ptx,
    /// The CPU alone.
    Cpu,
}

/// Simulators to choose from, where programs run and not models.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum SimulatorKind {
    /// The functional simulator.
    Fsim,
    /// The hardware, cycle by cycle.
    Tsim,
}

/// Forms of output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    Table,
    /// For programs.
    Json,
}

/// What the numbers of an input file are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum InputDType {
    /// Pixels 0..255: minus 128 for an int8 input, normalised for a float input.
    U8,
    /// Codes of an int8 input.
    I8,
    /// Reals; quantised with the scale and zero point of a quantised input.
    F32,
}

/// How a pixel becomes a float.
#[derive(Clone, Debug, PartialEq)]
pub enum Normalize {
    /// 0..255
    None,
    /// 0..1
    Unit,
    /// -1..1
    Signed,
    /// (pixel / 255 - mean) / std, with one pair or one for each channel.
    MeanStd(Vec<f32>, Vec<f32>),
}

impl DeviceOptions {
    /// The word that names the configuration of an accelerator.
    ///
    /// # Errors
    /// A board without one.
    pub fn hw<'a>(&'a self, kind: &'a DeviceKind) -> Result<&'a str> {
        match (&self.hw, kind) {
            (Some(hw), _) => Ok(hw),
            // A board that is known has its own.
            (None, DeviceKind::Link(LinkKind::Board(name))) if board::resolve(name).is_ok() => Ok(name),
            (None, DeviceKind::Link(link)) => {
                bail!("--device {}: give --hw with the configuration that the bitstream was built for", link.name())
            }
            (None, _) => Ok(HW),
        }
    }

    /// Refuses a list of devices where nothing is split between them.
    ///
    /// # Errors
    /// One sentence.
    pub fn check_whole(&self) -> Result<()> {
        if self.device.is_planned() {
            bail!(
                "--device {}: nothing is split here; give one device alone, such as {}",
                self.device.name(),
                self.device.kind().name()
            );
        }
        Ok(())
    }

    /// Refuses options that are for another device.
    ///
    /// # Errors
    /// One sentence naming the first of them.
    pub fn check(&self) -> Result<()> {
        let kinds = &self.device.kinds;
        if self.tuned.is_some() && !kinds.iter().any(DeviceKind::is_vta) {
            bail!("--tuned is for accelerators: give --device with one, such as fsim or tsim, or leave it out");
        }
        if self.schedule != ScheduleKind::default() && !kinds.iter().any(DeviceKind::is_vta) {
            bail!("--schedule is for accelerators: give --device with one, such as fsim or tsim, or leave it out");
        }
        self.simulation.check(kinds.contains(&DeviceKind::Tsim))?;
        let links: Vec<&LinkKind> = kinds.iter().filter_map(DeviceKind::link).collect();
        self.link.check(&links)
    }

    /// The clock of simulated accelerators in hertz.
    pub fn clock_hz(&self) -> f64 {
        self.clock_mhz * 1e6
    }

    /// The same for another choice of devices.
    pub fn on(&self, device: impl Into<DeviceChoice>) -> DeviceOptions {
        DeviceOptions { device: device.into(), ..self.clone() }
    }
}

impl Default for DeviceOptions {
    fn default() -> DeviceOptions {
        DeviceOptions {
            device: DeviceKind::Fsim.into(),
            clock_mhz: CLOCK_MHZ,
            hw: None,
            tuned: None,
            schedule: ScheduleKind::default(),
            link: LinkOptions::default(),
            simulation: SimulationOptions::default(),
        }
    }
}

impl DeviceChoice {
    /// The devices, in order, without the CPU; or the CPU alone.
    pub fn kinds(&self) -> &[DeviceKind] {
        &self.kinds
    }

    /// The first device.
    pub fn kind(&self) -> &DeviceKind {
        self.kinds.first().unwrap_or(&DeviceKind::Cpu)
    }

    /// Whether the model is split over a list of devices.
    pub fn is_planned(&self) -> bool {
        self.split != Split::Greedy
    }

    /// The same with one device in the place of another.
    pub fn with(&self, old: &DeviceKind, new: &DeviceKind) -> DeviceChoice {
        let replaced = |kind: &DeviceKind| if kind == old { new.clone() } else { kind.clone() };
        DeviceChoice { kinds: self.kinds.iter().map(replaced).collect(), split: self.split }
    }

    /// The name on the command line.
    pub fn name(&self) -> String {
        let mut names: Vec<String> = self.kinds.iter().map(DeviceKind::name).collect();
        if self.split == Split::WithCpu && self.kind() != &DeviceKind::Cpu {
            names.push("cpu".to_owned());
        }
        names.join(",")
    }
}

impl DeviceKind {
    /// Whether it is a device of another machine, which tells its configuration itself.
    pub fn is_remote(&self) -> bool {
        matches!(self, DeviceKind::Link(LinkKind::Remote(_)))
    }

    /// The board, where it is one.
    pub fn link(&self) -> Option<&LinkKind> {
        match self {
            DeviceKind::Link(link) => Some(link),
            DeviceKind::Fsim | DeviceKind::Tsim | DeviceKind::Cuda(_) | DeviceKind::Ptx | DeviceKind::Cpu => None,
        }
    }

    /// The name on the command line.
    pub fn name(&self) -> String {
        match self {
            DeviceKind::Fsim => "fsim".to_owned(),
            DeviceKind::Tsim => "tsim".to_owned(),
            DeviceKind::Link(link) => link.name(),
            DeviceKind::Cuda(index) => format!("cuda:{index}"),
            DeviceKind::Ptx => "ptx".to_owned(),
            DeviceKind::Cpu => "cpu".to_owned(),
        }
    }

    /// Whether its cycles or times are those of a simulation.
    pub fn is_simulated(&self) -> bool {
        matches!(self, DeviceKind::Fsim | DeviceKind::Tsim | DeviceKind::Ptx)
    }

    /// Whether it is an accelerator.
    pub fn is_vta(&self) -> bool {
        matches!(self, DeviceKind::Fsim | DeviceKind::Tsim | DeviceKind::Link(_))
    }
}

impl Normalize {
    /// The number for a pixel of a channel.
    pub fn apply(&self, pixel: u8, channel: usize) -> f32 {
        let x = f32::from(pixel);
        match self {
            Normalize::None => x,
            Normalize::Unit => x / 255.0,
            Normalize::Signed => x / 127.5 - 1.0,
            Normalize::MeanStd(mean, std) => {
                let at = |v: &[f32], default: f32| v.get(channel % v.len().max(1)).copied().unwrap_or(default);
                (x / 255.0 - at(mean, 0.0)) / at(std, 1.0)
            }
        }
    }
}

/// The device has all that it can run.
impl From<DeviceKind> for DeviceChoice {
    fn from(kind: DeviceKind) -> DeviceChoice {
        DeviceChoice { kinds: vec![kind], split: Split::Greedy }
    }
}

/// Devices, for clap.
fn devices(text: &str) -> Result<DeviceChoice, String> {
    if text == "auto" {
        let kinds: Vec<DeviceKind> = (0..backend::gpus()).map(DeviceKind::Cuda).collect();
        let alone = kinds.is_empty();
        let split = if alone { Split::Greedy } else { Split::WithCpu };
        return Ok(DeviceChoice { kinds: if alone { vec![DeviceKind::Cpu] } else { kinds }, split });
    }
    let mut kinds = Vec::new();
    let mut rest = Some(text);
    while let Some(text) = rest {
        // A device beside this processor has a comma of its own.
        let from = if text.starts_with("uio:") { text.find(',').map_or(text.len(), |at| at + 1) } else { 0 };
        let end = text[from..].find(',').map_or(text.len(), |at| from + at);
        kinds.push(device(&text[..end])?);
        rest = text.get(end + 1..);
    }
    let count = kinds.len();
    kinds.retain(|kind| *kind != DeviceKind::Cpu);
    match (count, kinds.len()) {
        (1, 0) => Ok(DeviceKind::Cpu.into()),
        (1, _) => Ok(DeviceChoice { kinds, split: Split::Greedy }),
        (_, 0) => Err("name the CPU once, beside another device or alone".to_owned()),
        (all, others) if all - others > 1 => Err("name the CPU once, beside another device or alone".to_owned()),
        (all, others) => {
            let named_twice = |kind: &&DeviceKind| kinds.iter().filter(|other| other == kind).count() > 1;
            if let Some(twice) = kinds.iter().filter(|kind| !matches!(kind, DeviceKind::Fsim)).find(named_twice) {
                return Err(format!("{} is there once; name it once", twice.name()));
            }
            Ok(DeviceChoice { kinds, split: if all > others { Split::WithCpu } else { Split::WithoutCpu } })
        }
    }
}

/// A device, for clap.
pub fn device(text: &str) -> Result<DeviceKind, String> {
    match text {
        "fsim" => Ok(DeviceKind::Fsim),
        "tsim" => Ok(DeviceKind::Tsim),
        "ptx" => Ok(DeviceKind::Ptx),
        "cuda" => Ok(DeviceKind::Cuda(0)),
        "cpu" => Ok(DeviceKind::Cpu),
        other => match (other.strip_prefix("cuda:"), LinkKind::parse(other)) {
            (Some(index), _) => {
                index.parse().map(DeviceKind::Cuda).map_err(|_| "write cuda:N, such as cuda:0".to_owned())
            }
            (None, Some(link)) => link.map(DeviceKind::Link),
            (None, None) => Err(format!("use {}", DEVICES.replace('|', ", "))),
        },
    }
}

/// A number above zero, for clap.
pub fn positive(text: &str) -> Result<f64, String> {
    text.parse().ok().filter(|x: &f64| x.is_finite() && *x > 0.0).ok_or_else(|| "give a number above 0".to_owned())
}

fn arith(text: &str) -> Result<Arith, String> {
    Arith::parse(text).ok_or_else(|| "use tflref or xnnpack".to_owned())
}

fn passes(text: &str) -> Result<Passes, String> {
    match text {
        "none" => Ok(Passes(Vec::new())),
        "exact" => Ok(Passes::exact()),
        "all" => Ok(Passes(pass::PASSES.iter().map(|pass| pass.name).collect())),
        names => {
            let each = names.split(',').map(|name| pass::find(name.trim()).map(|pass| pass.name));
            each.collect::<Result<_, _>>().map(Passes).map_err(|e| e.to_string())
        }
    }
}

fn dim(text: &str) -> Result<(String, usize), String> {
    let parsed = text.split_once('=').and_then(|(name, extent)| Some((name.to_owned(), extent.parse().ok()?)));
    parsed
        .filter(|(name, extent)| !name.is_empty() && *extent > 0)
        .ok_or_else(|| "write NAME=EXTENT with an extent of at least 1, such as batch=1".to_owned())
}

fn input_quant(text: &str) -> Result<(f64, f64), String> {
    let parsed =
        text.split_once(':').and_then(|(s, z)| Some((s.parse::<f64>().ok()?, f64::from(z.parse::<i32>().ok()?))));
    parsed
        .filter(|(scale, _)| scale.is_finite() && *scale > 0.0)
        .ok_or_else(|| "write SCALE:ZERO with a scale above 0 and a whole number, such as 0.5847029:83".to_owned())
}

fn normalize(text: &str) -> Result<Normalize, String> {
    match text {
        "none" => return Ok(Normalize::None),
        "unit" => return Ok(Normalize::Unit),
        "signed" => return Ok(Normalize::Signed),
        _ => {}
    }
    const USAGE: &str = "use none, unit, signed, or MEAN,STD (for three channels M,M,M,S,S,S)";
    let numbers: Result<Vec<f32>, _> = text.split(',').map(|n| n.trim().parse::<f32>()).collect();
    let numbers = numbers.map_err(|_| USAGE.to_owned())?;
    if numbers.len() != 2 && numbers.len() != 6 {
        return Err(USAGE.to_owned());
    }
    let (mean, std) = numbers.split_at(numbers.len() / 2);
    if numbers.iter().any(|n| !n.is_finite()) || std.iter().any(|&s| s <= 0.0) {
        return Err("mean and deviation must be finite and the deviation above 0".to_owned());
    }
    Ok(Normalize::MeanStd(mean.to_vec(), std.to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_devices_say_who_takes_part() {
        let of = |text: &str| devices(text).unwrap();
        assert_eq!(of("fsim"), DeviceKind::Fsim.into());
        assert_eq!(of("cpu"), DeviceKind::Cpu.into());
        for (text, name) in [("fsim,cpu", "fsim,cpu"), ("cpu,fsim", "fsim,cpu"), ("cpu,ptx,tsim", "ptx,tsim,cpu")] {
            assert_eq!((of(text).split, of(text).name()), (Split::WithCpu, name.to_owned()));
        }
        let three = of("uio:/dev/uio0,udmabuf0,cuda:1,fsim");
        assert_eq!((three.split, three.kinds().len()), (Split::WithoutCpu, 3));
        assert_eq!(three.kinds()[1], DeviceKind::Cuda(1));
        assert_eq!(of("fsim,fsim,cpu").kinds().len(), 2);
        for wrong in ["", "fsim,", "cpu,cpu", "fsim,cpu,cpu", "tsim,tsim", "cuda:x", "gpu", "fsim,,cpu"] {
            assert!(devices(wrong).is_err(), "{wrong}");
        }
    }
}
