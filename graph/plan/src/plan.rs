//! The plan and its views.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use tandem_graph::{NodeId, ValueId};

/// What runs a segment: a kind of device, and which one of that kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Device {
    /// An accelerator.
    Vta(usize),
    /// A GPU, or what simulates one.
    Gpu(usize),
    /// The CPU of another machine.
    FarCpu(usize),
    /// The host.
    Cpu,
}

impl Device {
    /// Whether it is an accelerator.
    pub fn is_vta(self) -> bool {
        matches!(self, Device::Vta(_))
    }

    /// The word in plans: `cpu`, `vta` and `gpu`, and `vta:1` for the second accelerator; `cpu:1` is the CPU of another machine, the first
    /// of them.
    pub fn word(self) -> String {
        match self {
            Device::Cpu => "cpu".to_owned(),
            Device::Vta(0) => "vta".to_owned(),
            Device::Gpu(0) => "gpu".to_owned(),
            Device::Vta(index) => format!("vta:{index}"),
            Device::Gpu(index) => format!("gpu:{index}"),
            Device::FarCpu(index) => format!("cpu:{}", index.saturating_add(1)),
        }
    }

    /// The device of that word.
    pub fn parse(word: &str) -> Option<Device> {
        let (kind, index) = match word.split_once(':') {
            Some((kind, index)) => (kind, index.parse().ok()?),
            None => (word, 0),
        };
        match kind {
            "cpu" if word == "cpu" => Some(Device::Cpu),
            "vta" => Some(Device::Vta(index)),
            "gpu" => Some(Device::Gpu(index)),
            "cpu" => index.checked_sub(1).map(Device::FarCpu),
            _ => None,
        }
    }
}

/// The name in tables and messages: its word in capitals.
impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.word().to_uppercase())
    }
}

impl Serialize for Device {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&self.word())
    }
}

impl<'de> Deserialize<'de> for Device {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let word = String::deserialize(from)?;
        let unknown = || serde::de::Error::custom(format!("'{word}' is no device: write cpu, vta, gpu, or vta:1"));
        Device::parse(&word).ok_or_else(unknown)
    }
}

/// Nodes that one device runs in one go.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Segment {
    /// Who runs it.
    pub device: Device,
    /// Its nodes, in topological order.
    #[serde(with = "nodes")]
    pub nodes: Vec<NodeId>,
    /// Values that it reads and does not make, constants left out.
    #[serde(with = "values")]
    pub inputs: Vec<ValueId>,
    /// Values that it makes for other segments or for the caller.
    #[serde(with = "values")]
    pub outputs: Vec<ValueId>,
    /// Multiply-accumulate operations of one sample.
    pub macs: u64,
    /// Why this device.
    pub reason: String,
}

/// Where one node went.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Assignment {
    /// Name of the node.
    pub node: String,
    /// Name of its operator.
    pub op: String,
    /// Who runs it.
    pub device: Device,
    /// Index into [`Plan::segments`].
    pub segment: usize,
    /// Multiply-accumulate operations of one sample.
    pub macs: u64,
    /// Why this device.
    pub reason: String,
}

/// Every node of a graph on a device, as segments in an order in which they can run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// Name of the graph.
    pub model: String,
    /// Segments; each reads only what the caller or an earlier one makes.
    pub segments: Vec<Segment>,
    /// One entry for every node of the graph, in the graph's order.
    pub assignments: Vec<Assignment>,
}

/// A segment as a row of a table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SegmentRow {
    /// Who runs it.
    pub device: Device,
    /// Number of nodes.
    pub nodes: usize,
    /// Operators with their counts, in order of first use: `9 conv, 3 add`.
    pub ops: String,
    /// Multiply-accumulate operations of one sample.
    pub macs: u64,
    /// Part of the graph's MACs, 0..=1; absent when the graph has none.
    pub share: Option<f64>,
    /// Why this device.
    pub reason: String,
}

impl Plan {
    /// Multiply-accumulate operations of one sample, all devices together.
    pub fn macs(&self) -> u64 {
        self.segments.iter().fold(0u64, |sum, s| sum.saturating_add(s.macs))
    }

    /// The part of the MACs that these devices run, 0..=1; `None` when the graph has none.
    pub fn share(&self, of: impl Fn(Device) -> bool) -> Option<f64> {
        let all = self.macs();
        let theirs = self.segments.iter().filter(|s| of(s.device)).fold(0u64, |sum, s| sum.saturating_add(s.macs));
        (all > 0).then(|| theirs as f64 / all as f64)
    }

    /// One row a segment.
    pub fn rows(&self) -> Vec<SegmentRow> {
        let all = self.macs();
        let row = |s: &Segment| SegmentRow {
            device: s.device,
            nodes: s.nodes.len(),
            ops: counted(s.nodes.iter().filter_map(|n| self.assignments.get(n.0)).map(|a| a.op.as_str())),
            macs: s.macs,
            share: (all > 0).then(|| s.macs as f64 / all as f64),
            reason: s.reason.clone(),
        };
        self.segments.iter().map(row).collect()
    }

    /// The plan as JSON.
    pub fn to_json(&self) -> String {
        // Numbers, strings and lists only: there is nothing that JSON cannot hold.
        serde_json::to_string_pretty(self).unwrap_or_default()
    }

    /// A plan from JSON. It is not compared with any graph.
    ///
    /// # Errors
    /// The parser's message with line and column.
    pub fn from_json(text: &str) -> Result<Plan, String> {
        serde_json::from_str(text).map_err(|e| e.to_string())
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "segment  device  MACs          share    operators; reason")?;
        for (i, row) in self.rows().iter().enumerate() {
            let share = row.share.map_or_else(|| "-".to_owned(), |s| format!("{:.2} %", s * 100.0));
            writeln!(f, "{i:<7}  {:<6}  {:<12}  {share:<7}  {}; {}", row.device, row.macs, row.ops, row.reason)?;
        }
        Ok(())
    }
}

/// Words with their counts, in order of first use.
pub(crate) fn counted<'a>(words: impl Iterator<Item = &'a str>) -> String {
    let mut counts: Vec<(&str, usize)> = Vec::new();
    for word in words {
        match counts.iter_mut().find(|(w, _)| *w == word) {
            Some((_, n)) => *n += 1,
            None => counts.push((word, 1)),
        }
    }
    counts.iter().map(|(w, n)| format!("{n} {w}")).collect::<Vec<_>>().join(", ")
}

/// Node indices as plain numbers.
mod nodes {
    use super::NodeId;
    use serde::{Deserialize, Deserializer, Serializer};

    pub fn serialize<S: Serializer>(ids: &[NodeId], to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(ids.iter().map(|id| id.0))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<NodeId>, D::Error> {
        Ok(Vec::<usize>::deserialize(from)?.into_iter().map(NodeId).collect())
    }
}

/// Value indices as plain numbers.
mod values {
    use super::ValueId;
    use serde::{Deserialize, Deserializer, Serializer};

    pub fn serialize<S: Serializer>(ids: &[ValueId], to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(ids.iter().map(|id| id.0))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<ValueId>, D::Error> {
        Ok(Vec::<usize>::deserialize(from)?.into_iter().map(ValueId).collect())
    }
}
