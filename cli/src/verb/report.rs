//! `tandem report`: what a model does on its devices, as one page to look at and to show.

mod accuracy;
mod head;
mod latency;
mod memory;
mod page;
mod prediction;
mod roofline;
mod split;
mod timeline;

use super::run::at_least_one;
use crate::bottleneck::Account;
use crate::labels::{Label, Labelled};
use crate::limits::Limits;
use crate::machine::{Accelerator, CycleSource};
use crate::measuring::{self, Cycles, Runs};
use crate::options::{DeviceKind, DeviceOptions, InputOptions, ModelOptions};
use crate::placing::{Costs, Placed, beside, shown};
use crate::request::PlaceOptions;
use crate::session::Session;
use crate::solo::Solo;
use crate::{Outcome, file, input, labels, model, power, stdout};
use anyhow::{Result, bail};
use clap::Args;
use std::collections::HashMap;
use std::path::PathBuf;
use tandem_graph::{Graph, NodeId};
use tandem_ops::cpu::Level;
use tandem_plan::{Device, alone, extract};
use tandem_tensor::Tensor;

/// Samples where none are given: of the host, and of simulated hardware, which is slow.
const SAMPLES: usize = 40;
const COUNTED: usize = 4;
/// The seed of the inputs of nodes that simulated hardware runs alone, whose cycles do not depend on them.
const SEED: u64 = 1;

/// Options of `tandem report`.
#[derive(Args)]
pub struct Options {
    #[command(flatten)]
    model: ModelOptions,
    /// Labelled samples: a raw file, .npy, .npz, or a directory with the files that the labels name.
    #[arg(long, value_name = "F|DIR")]
    inputs: Option<String>,
    /// One line a sample: file,classes,label, without a header.
    #[arg(long, value_name = "CSV")]
    labels: Option<PathBuf>,
    /// Samples without labels: one file for each input, separated by commas [default: zeros].
    #[arg(long, value_name = "F[,F2]")]
    input: Option<String>,
    #[command(flatten)]
    reading: InputOptions,
    #[command(flatten)]
    device: DeviceOptions,
    /// Only the first samples.
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    limit: Option<usize>,
    /// Run the samples once more with so many requests under way at once; with 1 they run one after the other only.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = at_least_one)]
    in_flight: usize,
    #[command(flatten)]
    place: PlaceOptions,
    /// The page.
    #[arg(long, short, value_name = "OUT.html", default_value = "report.html")]
    output: PathBuf,
}

/// Everything that the page tells of.
struct Facts<'a> {
    options: &'a Options,
    /// The file, which tells more than the name that its exporter gave the graph.
    title: String,
    graph: Graph,
    costs: Costs,
    placed: Placed,
    /// Where the cycles of the longest nodes on simulated hardware went.
    accounts: HashMap<usize, Account>,
    runs: Runs,
    /// Where simulated hardware ran, whose cycles `runs` has and whose time it has not.
    hardware: Option<Session>,
    outputs: Vec<Vec<Tensor>>,
    /// Labels with the number of classes.
    truth: Option<(Vec<Label>, usize)>,
    limits: Result<Limits, String>,
}

/// Runs the verb.
pub fn run(options: &Options) -> Result<Outcome> {
    if options.output.as_os_str() == "-" {
        bail!("--output -: standard output has one sentence on the page; give a file");
    }
    file::probe(&options.output)?;
    let facts = gather(options)?;
    let html = page::html(&facts);
    file::replace(&options.output, html.as_bytes())?;
    stdout::emit(&format!("{}\n", sentence(&facts)))?;
    Ok(Outcome::Good)
}

/// Measures and runs.
fn gather(options: &Options) -> Result<Facts<'_>> {
    let device = &options.device;
    options.place.check(device.device.is_planned())?;
    let graph = model::ready(&options.model)?;
    let (samples, truth) = samples(options, &graph)?;
    let costs = Costs::of(&graph, device, &options.place)?;
    // Before simulators take the caches.
    let limits = Limits::of_processor(Level::best(), rayon::current_num_threads()).map_err(|e| e.to_string());
    let placed = match device.device.is_planned() {
        true => costs.place(&graph, &options.place.request())?,
        false => costs.as_planned(&graph, &Session::open(graph.clone(), device, &options.place)?.plan)?,
    };
    let accounts = accounts(&graph, &costs, &placed, device)?;
    let open = |device: &DeviceOptions| Session::planned(placed.plan.clone(), graph.clone(), device);
    let (mut hardware, mut cycles, mut outputs) = (None, Cycles::new(), None);
    let host = beside(device);
    if host.is_some() {
        let mut session = open(device)?;
        outputs = Some(match &samples {
            Some(samples) => session.run(samples, None, 1)?,
            None => session.run(&vec![graph.zero_inputs(); COUNTED], None, 1)?,
        });
        cycles = measuring::cycles(&session);
        hardware = Some(session);
    }
    let samples = samples.unwrap_or_else(|| vec![graph.zero_inputs(); SAMPLES]);
    let session = open(host.as_ref().unwrap_or(device))?.slower(costs.cpu_times);
    let mut runs = Runs::of(session, &samples, options.in_flight, &cycles)?;
    let outputs = outputs.unwrap_or_else(|| std::mem::take(&mut runs.outputs));
    let title = options.model.model.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    Ok(Facts { options, title, graph, costs, placed, accounts, runs, hardware, outputs, truth, limits })
}

/// Where the cycles of those nodes went that take the most time on simulated hardware, each alone there.
fn accounts(graph: &Graph, costs: &Costs, placed: &Placed, device: &DeviceOptions) -> Result<HashMap<usize, Account>> {
    let mut accounts = HashMap::new();
    let Some(index) = costs.devices.iter().position(|measured| measured.name == DeviceKind::Tsim.name()) else {
        return Ok(accounts);
    };
    let Some(config) = &costs.devices[index].config else { return Ok(accounts) };
    let seconds = |n: usize| placed.problem.cost(n, index).map_or(0.0, |cost| cost.seconds);
    let mut nodes: Vec<usize> = (0..graph.nodes.len()).filter(|&n| placed.placement.assignment[n] == index).collect();
    nodes.sort_by(|&a, &b| seconds(b).total_cmp(&seconds(a)));
    if nodes.is_empty() {
        return Ok(accounts);
    }
    let solo = Solo::open(config, &device.simulation)?;
    for n in nodes.into_iter().take(roofline::LISTED) {
        let node = extract(graph, &alone(graph, NodeId(n)));
        // What the compiler refuses only when it sees it has no account.
        if let Ok(prepared) = solo.prepare(&node, &tandem_jit::Options::default(), SEED)? {
            let ran = solo.run(&prepared)?;
            accounts.insert(n, ran.account(&ran.roofs(&prepared, &solo), &solo));
        }
    }
    Ok(accounts)
}

type Samples = (Option<Vec<Vec<Tensor>>>, Option<(Vec<Label>, usize)>);

/// The samples of the command line with their labels; `None` where there are none.
fn samples(options: &Options, graph: &Graph) -> Result<Samples> {
    let limit = options.limit;
    match (&options.inputs, &options.labels, &options.input) {
        (Some(inputs), Some(csv), None) => {
            let Labelled { samples, truth, classes } = labels::load(graph, inputs, csv, &options.reading, limit)?;
            Ok((Some(samples), Some((truth, classes))))
        }
        (None, None, Some(list)) => Ok((Some(input::samples(graph, list, &options.reading, limit)?), None)),
        (None, None, None) => Ok((limit.map(|count| vec![graph.zero_inputs(); count]), None)),
        (_, _, Some(_)) => bail!("--input is for samples without labels; leave --inputs and --labels out, or --input"),
        (Some(_), None, None) => bail!("--inputs: give --labels with it, or --input for samples without labels"),
        (None, Some(_), None) => bail!("--labels: give --inputs with it"),
    }
}

/// What there is to say on a terminal.
fn sentence(facts: &Facts<'_>) -> String {
    let mut text = format!(
        "{}: {} on {}, {} an input",
        facts.options.output.display(),
        facts.title,
        facts.options.device.device.name(),
        shown(facts.runs.latency(), "s")
    );
    if let Some(timeline) = &facts.runs.together {
        text += &format!(", {:.1} inputs a second with {} under way", timeline.throughput(), facts.runs.in_flight);
    }
    if let Some((right, count)) = facts.accuracy() {
        text += &format!(", accuracy {:.1} % ({right} of {count})", 100.0 * right as f64 / count as f64);
    }
    text + &format!(" ({})", facts.kind())
}

impl Facts<'_> {
    /// The session with the devices that were asked for.
    fn session(&self) -> &Session {
        self.hardware.as_ref().unwrap_or(&self.runs.session)
    }

    /// Names of devices, the host first.
    fn names(&self) -> Vec<String> {
        self.costs.names()
    }

    /// Devices by their index in the costs, where the plan uses them.
    fn used(&self) -> Vec<usize> {
        let used = |&index: &usize| {
            self.placed.plan.segments.iter().any(|segment| segment.device == self.costs.devices[index].device)
        };
        (0..self.costs.devices.len()).filter(used).collect()
    }

    /// What the plan's accelerators are, where they are any.
    fn accelerator(&self, index: usize) -> Option<&Accelerator> {
        self.session().machine.accelerator(self.costs.devices[index].device)
    }

    /// How the times of the whole came about, in a few words.
    fn kind(&self) -> String {
        let sources: Vec<CycleSource> =
            self.used().into_iter().filter_map(|index| Some(self.accelerator(index)?.cycles)).collect();
        let has = |source| sources.contains(&source);
        let mut words: Vec<&str> = Vec::new();
        if has(CycleSource::Estimated) {
            words.push("estimated cycles");
        }
        if has(CycleSource::Simulated) {
            words.push("simulated cycles");
        }
        if self.used().into_iter().any(|index| self.costs.devices[index].projected) {
            words.push("a projected GPU");
        }
        // The host copies for every accelerator.
        words.push(match self.options.place.cpu_times != 1.0 {
            true => "a projected host",
            false if words.is_empty() => "measured",
            false => "a measured host",
        });
        words.join(" and ")
    }

    /// Right answers and samples, where there are labels.
    fn accuracy(&self) -> Option<(usize, usize)> {
        let (truth, _) = self.truth.as_ref()?;
        let right =
            self.outputs.iter().zip(truth).filter(|(output, label)| labels::answer(output) == Some(label.class));
        Some((right.count(), truth.len()))
    }

    /// Joules of an input by the powers of the command line, one request after the other and under way together.
    fn joules(&self) -> [Option<f64>; 2] {
        let of = |timeline| power::joules(timeline, &self.costs.watts, &self.runs.session.machine);
        [of(&self.runs.alone), self.runs.together.as_ref().and_then(of)]
    }

    /// The part of the multiply-accumulates that a device has, 0..=1.
    fn share(&self, index: usize) -> Option<f64> {
        let device: Device = self.costs.devices[index].device;
        self.placed.plan.share(|other| other == device)
    }
}
