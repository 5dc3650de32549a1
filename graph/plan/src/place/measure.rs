//! What an assignment costs: the one meaning of latency, period, energy and memory.
//!
//! Nodes are taken in the problem's order. Each device runs its nodes, and each ordered pair of devices makes its transfers,
//! one after another in that order; all of them work at the same time. A value goes from the device that made it to each
//! device that needs it, once: when the first node that needs it there is taken, or, to the host, when an output is made. A
//! node begins when its device is free and all that it reads has arrived. It takes its device's launch time more when it reads
//! a value that another device made, or reads nothing: execution enters the device there.
//!
//! - The **latency** ends with the last node or transfer.
//! - The **period** is the time that the busiest device or link works for one input: what a pipeline of many inputs settles at.
//! - The **energy** is the power of every device, busy or idle, over the latency, with that of transfers and of nodes themselves.
//! - The **memory** of a device is what its nodes hold, what the caller gives and gets (on the host), and the most that values
//!   and work take at one node. A value is on its device from the node that makes it, or the first that needs a copy there, to
//!   its last reader anywhere, all in the order of nodes: one input is under way, and devices do not run ahead of the order.

use super::request::Task;
use super::state::{Code, Layout, Stuck, Witness};
use super::{Objective, PlaceError, Problem, Request};
use serde::{Deserialize, Serialize};

/// When a node runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// Index of its device.
    pub device: usize,
    /// When it begins.
    pub begin_seconds: f64,
    /// When it ends.
    pub end_seconds: f64,
    /// Whether execution enters the device here, which takes the device's launch time.
    pub launches: bool,
}

/// When a value moves.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Transfer {
    /// Index of the value.
    pub value: usize,
    /// Index of the device that made it.
    pub from: usize,
    /// Index of the device that gets it.
    pub to: usize,
    /// When it begins.
    pub begin_seconds: f64,
    /// When it ends.
    pub end_seconds: f64,
}

/// What a device does and needs.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Load {
    /// Time that it computes, launches included.
    pub busy_seconds: f64,
    /// Memory that is taken for the whole run.
    pub held_bytes: u64,
    /// The most memory that values and work take beside it.
    pub live_bytes: u64,
}

impl Load {
    /// Memory that the device must have.
    pub fn needed_bytes(&self) -> u64 {
        self.held_bytes + self.live_bytes
    }
}

/// What an assignment costs, with its timeline.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Measure {
    /// Time from inputs to outputs.
    pub latency_seconds: f64,
    /// Time between results of a pipeline.
    pub period_seconds: f64,
    /// Energy of one run.
    pub energy_joules: f64,
    /// One entry for each node.
    pub runs: Vec<Run>,
    /// Transfers in the order in which they are asked for.
    pub transfers: Vec<Transfer>,
    /// One entry for each device.
    pub loads: Vec<Load>,
}

impl Measure {
    /// The value of an objective.
    pub fn value(&self, objective: Objective) -> f64 {
        match objective {
            Objective::Latency => self.latency_seconds,
            Objective::Period => self.period_seconds,
            Objective::Energy => self.energy_joules,
        }
    }
}

/// Measures an assignment: the index of a device for each node. Bounds do not count here; see [`check`].
///
/// # Errors
/// [`PlaceError::Refused`], [`PlaceError::NoLink`], or [`PlaceError::Invalid`] for an assignment of another length.
pub fn measure(problem: &Problem, assignment: &[usize]) -> Result<Measure, PlaceError> {
    measure_with(&Layout::new(problem), assignment)
}

/// Whether an assignment keeps every constraint of a request.
///
/// # Errors
/// Those of [`measure`] and of names that are unknown; [`PlaceError::Refused`] for a pin or a forbidden device,
/// [`PlaceError::Memory`], [`PlaceError::TooSlow`].
pub fn check(problem: &Problem, request: &Request, assignment: &[usize]) -> Result<Measure, PlaceError> {
    let task = Task::new(problem, request)?;
    let measure = measure(problem, assignment)?;
    check_measure(&task, assignment, &measure)?;
    Ok(measure)
}

pub(super) fn measure_with(layout: &Layout, assignment: &[usize]) -> Result<Measure, PlaceError> {
    let problem = layout.problem;
    if assignment.len() != problem.nodes().len() {
        let problem = format!("it has {} devices for {} nodes", assignment.len(), problem.nodes().len());
        return Err(PlaceError::invalid("the assignment", problem));
    }
    let (mut state, mut codes): (Vec<f64>, Vec<Code>) = layout.begin();
    let mut timeline = Timeline { runs: vec![Run::default(); assignment.len()], transfers: Vec::new() };
    for &node in problem.order() {
        layout
            .step(node, assignment[node], &mut state, &mut codes, &mut timeline)
            .map_err(|stuck| explain_stuck(problem, node, assignment[node], stuck))?;
    }
    let load = |d| Load {
        busy_seconds: state[layout.busy(d)],
        held_bytes: state[layout.held(d)] as u64,
        live_bytes: state[layout.peak(d)] as u64,
    };
    Ok(Measure {
        latency_seconds: layout.objective(Objective::Latency, &state),
        period_seconds: layout.objective(Objective::Period, &state),
        energy_joules: layout.objective(Objective::Energy, &state),
        runs: timeline.runs,
        transfers: timeline.transfers,
        loads: (0..layout.devices).map(load).collect(),
    })
}

pub(super) fn check_measure(task: &Task, assignment: &[usize], measure: &Measure) -> Result<(), PlaceError> {
    let problem = task.problem;
    for (n, &d) in assignment.iter().enumerate() {
        if let Some(reason) = task.why_not(n, d) {
            let (node, device) = (problem.nodes()[n].name.clone(), problem.devices()[d].name.clone());
            return Err(PlaceError::Refused { node, device, reason });
        }
    }
    for (d, load) in measure.loads.iter().enumerate() {
        let (needed, limit) = (load.needed_bytes(), task.memory[d]);
        if needed > limit {
            return Err(PlaceError::Memory { device: problem.devices()[d].name.clone(), needed, limit });
        }
    }
    match task.latency {
        Some(bound) if measure.latency_seconds > bound => {
            Err(PlaceError::TooSlow { bound, which: "placement", seconds: measure.latency_seconds })
        }
        _ => Ok(()),
    }
}

fn explain_stuck(problem: &Problem, node: usize, device: usize, stuck: Stuck) -> PlaceError {
    let name = |d: usize| problem.devices().get(d).map_or_else(|| format!("number {d}"), |d| d.name.clone());
    match stuck {
        Stuck::Refused => PlaceError::Refused {
            node: problem.nodes()[node].name.clone(),
            device: name(device),
            reason: problem.refusal(node, device).unwrap_or("there is no such device").to_owned(),
        },
        Stuck::NoLink { value, from, to } => {
            PlaceError::NoLink { value: problem.values()[value].name.clone(), from: name(from), to: name(to) }
        }
    }
}

struct Timeline {
    runs: Vec<Run>,
    transfers: Vec<Transfer>,
}

impl Witness for Timeline {
    fn run(&mut self, node: usize, device: usize, begin_seconds: f64, end_seconds: f64, launches: bool) {
        self.runs[node] = Run { device, begin_seconds, end_seconds, launches };
    }

    fn transfer(&mut self, value: usize, from: usize, to: usize, begin_seconds: f64, end_seconds: f64) {
        self.transfers.push(Transfer { value, from, to, begin_seconds, end_seconds });
    }
}
