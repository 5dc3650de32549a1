//! What is placed, and on what: devices with their links, values, nodes with what each costs on each device.

use super::PlaceError;
use petgraph::algo::toposort;
use petgraph::graph::{DiGraph, NodeIndex};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// Most devices of a machine.
pub const MAX_DEVICES: usize = 16;
/// Most nodes, and most values, of a problem.
pub const MAX_NODES: usize = 20_000;
/// Largest size in bytes: sums of sizes stay exact in the arithmetic of the search.
const MAX_BYTES: u64 = 1 << 40;
/// Largest time in seconds, power in watts and energy in joules.
const MAX_NUMBER: f64 = 1e9;

/// Something that runs nodes, one after another.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Device {
    /// Name; unique within the machine.
    pub name: String,
    /// Memory for weights and activations.
    pub memory_bytes: u64,
    /// Power while it computes; not below [`Device::idle_watts`].
    #[serde(default)]
    pub busy_watts: f64,
    /// Power while it waits.
    #[serde(default)]
    pub idle_watts: f64,
    /// What it takes to begin there with values that come from elsewhere.
    #[serde(default)]
    pub launch_seconds: f64,
}

/// A way from one device to another, on which values follow each other.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Link {
    /// Index of the device that sends.
    pub from: usize,
    /// Index of the device that receives.
    pub to: usize,
    /// Time of a transfer of nothing.
    pub latency_seconds: f64,
    /// Rate beyond that.
    pub bytes_per_second: f64,
    /// Energy of a byte, on both sides together.
    #[serde(default)]
    pub joules_per_byte: f64,
}

/// Devices and the links between them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Machine {
    /// The devices.
    pub devices: Vec<Device>,
    /// At most one link for an ordered pair of devices; values cannot go where there is none.
    pub links: Vec<Link>,
    /// Index of the device where inputs arrive and where outputs must end.
    pub host: usize,
}

/// What flows between nodes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Value {
    /// Name, for messages.
    pub name: String,
    /// Size.
    pub bytes: u64,
    /// Index of the node that makes it; absent for an input, which is on the host from the beginning.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub maker: Option<usize>,
}

/// What a node takes on a device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cost {
    /// Time.
    pub seconds: f64,
    /// Memory that the node takes for as long as the plan lives, such as weights.
    #[serde(default)]
    pub held_bytes: u64,
    /// Memory that it takes while it runs, beside its operands and results.
    #[serde(default)]
    pub work_bytes: u64,
    /// Energy beyond the power of the device that computes.
    #[serde(default)]
    pub joules: f64,
}

/// A node on a device: what it takes there, or why it cannot run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Candidate {
    /// It runs.
    Runs(Cost),
    /// It does not, for this reason.
    Refuses(String),
}

/// Something that one device runs in one go.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Node {
    /// Name, for messages and pins.
    pub name: String,
    /// Indices of the values that it reads; more than once is once.
    pub reads: Vec<usize>,
    /// One entry for every device, in their order.
    pub candidates: Vec<Candidate>,
}

/// A problem as it is written down, not yet checked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spec {
    /// Devices and links.
    pub machine: Machine,
    /// Values.
    pub values: Vec<Value>,
    /// Nodes. Where each reads only inputs and what earlier nodes make, this is the order in which they are scheduled.
    pub nodes: Vec<Node>,
    /// Indices of the values that must end on the host.
    pub outputs: Vec<usize>,
}

/// A problem that keeps the rules, with an order of its nodes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Spec", into = "Spec")]
pub struct Problem {
    spec: Spec,
    order: Vec<usize>,
}

impl Problem {
    /// Checks a description and orders its nodes: as they stand where that is a topological order, else in one.
    ///
    /// # Errors
    /// [`PlaceError::Invalid`] for the first broken rule, [`PlaceError::TooMany`].
    pub fn new(spec: Spec) -> Result<Problem, PlaceError> {
        check_machine(&spec.machine)?;
        check_program(&spec)?;
        let order = order(&spec)?;
        Ok(Problem { spec, order })
    }

    /// A problem from JSON.
    ///
    /// # Errors
    /// [`PlaceError::Invalid`], with line and column where the text is not a description.
    pub fn from_json(text: &str) -> Result<Problem, PlaceError> {
        let spec: Spec =
            serde_json::from_str(text).map_err(|e| PlaceError::invalid("the description", e.to_string()))?;
        Problem::new(spec)
    }

    /// The description that it was made of, as JSON.
    pub fn to_json(&self) -> String {
        // Finite numbers, strings and lists only: there is nothing that JSON cannot hold.
        serde_json::to_string_pretty(self).unwrap_or_default()
    }

    /// The description that it was made of.
    pub fn spec(&self) -> &Spec {
        &self.spec
    }

    /// Devices and links.
    pub fn machine(&self) -> &Machine {
        &self.spec.machine
    }

    /// The devices.
    pub fn devices(&self) -> &[Device] {
        &self.spec.machine.devices
    }

    /// The nodes.
    pub fn nodes(&self) -> &[Node] {
        &self.spec.nodes
    }

    /// The values.
    pub fn values(&self) -> &[Value] {
        &self.spec.values
    }

    /// Indices of the nodes in the order in which they are scheduled.
    pub fn order(&self) -> &[usize] {
        &self.order
    }

    /// What a node takes on a device; `None` where it does not run.
    pub fn cost(&self, node: usize, device: usize) -> Option<&Cost> {
        match self.spec.nodes.get(node)?.candidates.get(device)? {
            Candidate::Runs(cost) => Some(cost),
            Candidate::Refuses(_) => None,
        }
    }

    /// Why a node does not run on a device; `None` where it does.
    pub fn refusal(&self, node: usize, device: usize) -> Option<&str> {
        match self.spec.nodes.get(node)?.candidates.get(device)? {
            Candidate::Runs(_) => None,
            Candidate::Refuses(reason) => Some(reason),
        }
    }
}

impl TryFrom<Spec> for Problem {
    type Error = PlaceError;

    fn try_from(spec: Spec) -> Result<Problem, PlaceError> {
        Problem::new(spec)
    }
}

impl From<Problem> for Spec {
    fn from(problem: Problem) -> Spec {
        problem.spec
    }
}

fn number(place: &str, field: &str, value: f64) -> Result<(), PlaceError> {
    if (0.0..=MAX_NUMBER).contains(&value) {
        return Ok(());
    }
    Err(PlaceError::invalid(place, format!("{field} is {value}; give a number of 0 to {MAX_NUMBER:e}")))
}

fn size(place: &str, field: &str, bytes: u64, limit: u64) -> Result<(), PlaceError> {
    if bytes <= limit {
        return Ok(());
    }
    Err(PlaceError::invalid(place, format!("{field} is {bytes}; give at most {limit}")))
}

fn check_machine(machine: &Machine) -> Result<(), PlaceError> {
    let devices = &machine.devices;
    if devices.is_empty() {
        return Err(PlaceError::invalid("the machine", "it has no devices; give at least one"));
    }
    if devices.len() > MAX_DEVICES {
        return Err(PlaceError::TooMany { what: "devices", count: devices.len(), limit: MAX_DEVICES });
    }
    if machine.host >= devices.len() {
        let problem = format!("its host is device {} of {}; count from 0", machine.host, devices.len());
        return Err(PlaceError::invalid("the machine", problem));
    }
    let mut names = BTreeSet::new();
    for device in devices {
        let place = format!("device '{}'", device.name);
        if device.name.is_empty() || !names.insert(&device.name) {
            return Err(PlaceError::invalid(place, "every device needs a name of its own"));
        }
        number(&place, "busy_watts", device.busy_watts)?;
        number(&place, "idle_watts", device.idle_watts)?;
        number(&place, "launch_seconds", device.launch_seconds)?;
        if device.busy_watts < device.idle_watts {
            return Err(PlaceError::invalid(place, "it takes more power when idle than when busy; exchange the two"));
        }
    }
    let mut pairs = BTreeSet::new();
    for link in &machine.links {
        let place = format!("link {} -> {}", link.from, link.to);
        if link.from >= devices.len() || link.to >= devices.len() || link.from == link.to {
            return Err(PlaceError::invalid(place, format!("a link joins two of the {} devices", devices.len())));
        }
        if !pairs.insert((link.from, link.to)) {
            return Err(PlaceError::invalid(place, "there are two of it; give one"));
        }
        number(&place, "latency_seconds", link.latency_seconds)?;
        number(&place, "joules_per_byte", link.joules_per_byte)?;
        // The negated form refuses NaN too.
        if !(link.bytes_per_second >= 1.0 && link.bytes_per_second.is_finite()) {
            let problem = format!("bytes_per_second is {}; give a number of at least 1", link.bytes_per_second);
            return Err(PlaceError::invalid(place, problem));
        }
    }
    Ok(())
}

fn check_program(spec: &Spec) -> Result<(), PlaceError> {
    let (nodes, values, devices) = (spec.nodes.len(), spec.values.len(), spec.machine.devices.len());
    if nodes == 0 {
        return Err(PlaceError::invalid("the graph", "it has no nodes; there is nothing to place"));
    }
    for (what, count) in [("nodes", nodes), ("values", values)] {
        if count > MAX_NODES {
            return Err(PlaceError::TooMany { what, count, limit: MAX_NODES });
        }
    }
    for value in &spec.values {
        let place = format!("value '{}'", value.name);
        size(&place, "bytes", value.bytes, MAX_BYTES)?;
        if let Some(maker) = value.maker.filter(|&m| m >= nodes) {
            return Err(PlaceError::invalid(place, format!("its maker is node {maker} of {nodes}; count from 0")));
        }
    }
    for node in &spec.nodes {
        let place = format!("node '{}'", node.name);
        if node.candidates.len() != devices {
            let problem = format!("it has {} candidates for {devices} devices; give one each", node.candidates.len());
            return Err(PlaceError::invalid(place, problem));
        }
        if let Some(read) = node.reads.iter().find(|&&r| r >= values) {
            return Err(PlaceError::invalid(place, format!("it reads value {read} of {values}; count from 0")));
        }
        for (candidate, device) in node.candidates.iter().zip(&spec.machine.devices) {
            let Candidate::Runs(cost) = candidate else { continue };
            let place = format!("{place} on '{}'", device.name);
            number(&place, "seconds", cost.seconds)?;
            number(&place, "joules", cost.joules)?;
            size(&place, "held_bytes", cost.held_bytes, MAX_BYTES)?;
            size(&place, "work_bytes", cost.work_bytes, MAX_BYTES)?;
        }
    }
    if let Some(output) = spec.outputs.iter().find(|&&o| o >= values) {
        return Err(PlaceError::invalid("the outputs", format!("value {output} of {values} is none; count from 0")));
    }
    Ok(())
}

fn order(spec: &Spec) -> Result<Vec<usize>, PlaceError> {
    let edges = || {
        let reads = spec.nodes.iter().enumerate().flat_map(|(n, node)| node.reads.iter().map(move |&r| (r, n)));
        reads.filter_map(|(r, n)| Some((spec.values[r].maker?, n)))
    };
    if edges().all(|(from, to)| from < to) {
        return Ok((0..spec.nodes.len()).collect());
    }
    let mut graph = DiGraph::<(), ()>::new();
    for _ in &spec.nodes {
        graph.add_node(());
    }
    for (from, to) in edges() {
        graph.add_edge(NodeIndex::new(from), NodeIndex::new(to), ());
    }
    let sorted = toposort(&graph, None).map_err(|cycle| {
        let place = format!("node '{}'", spec.nodes[cycle.node_id().index()].name);
        PlaceError::invalid(place, "it reads what is made of its own result; break the circle")
    })?;
    Ok(sorted.into_iter().map(|n| n.index()).collect())
}
