//! What a tuner and its workers tell each other: lines of JSON.

use crate::simulation;
use anyhow::{Result, anyhow};
use serde::{Deserialize, Serialize};
use tandem_graph::Graph;
use tandem_isa::HwConfig;
use tandem_jit::Tile;
use tandem_jit::tune::Oracle;
use tandem_sim::tsim::DramModel;

/// A layer on a machine, as text: everything that a worker needs to measure its schedules.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Subject {
    /// A graph of one node.
    graph: String,
    /// The configuration, as TOML.
    hardware: String,
    /// The memory, as the command line takes it.
    dram: String,
    oracle: Oracle,
}

/// A subject as values.
pub struct Parsed {
    /// A graph of one node.
    pub graph: Graph,
    /// The machine.
    pub config: HwConfig,
    /// The timing of its memory.
    pub dram: DramModel,
    /// What tells cycles.
    pub oracle: Oracle,
}

/// A schedule to measure.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Job {
    /// Comes back with the answer.
    pub id: u64,
    /// The name of the subject.
    pub subject: String,
    /// The schedule.
    pub tile: Tile,
}

/// What became of a job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Answer {
    /// That of the job.
    pub id: u64,
    /// Cycles, or why there are none.
    pub taken: Taken,
}

/// Cycles of a schedule, or why it failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Taken {
    /// Cycles of one run.
    Cycles(u64),
    /// In one sentence.
    Failed(String),
}

/// A line for a worker.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// What jobs of that name are about.
    Subject(String, Subject),
    /// Something to measure.
    Job(Job),
}

impl Subject {
    /// The text forms of a graph of one node on a machine.
    pub fn new(graph: &Graph, config: &HwConfig, dram: &DramModel, oracle: Oracle) -> Subject {
        let (hardware, dram) = (config.to_toml(), simulation::memory_name(dram));
        Subject { graph: tandem_graph::print(graph), hardware, dram, oracle }
    }

    /// A name that other subjects do not have.
    pub fn name(&self) -> String {
        let mut hash = 0xcbf2_9ce4_8422_2325u64;
        for text in [&self.graph, &self.hardware, &self.dram, &format!("{:?}", self.oracle)] {
            for byte in text.bytes().chain([0]) {
                hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
            }
        }
        format!("{hash:016x}")
    }

    /// The values.
    ///
    /// # Errors
    /// A part that does not parse.
    pub fn parse(&self) -> Result<Parsed> {
        let graph = tandem_graph::parse(&self.graph).map_err(|e| anyhow!("a layer to measure: {e}"))?;
        graph.verify().map_err(|e| anyhow!("a layer to measure: {e}"))?;
        let config = HwConfig::from_toml(&self.hardware).map_err(|e| anyhow!("a machine to measure on: {e}"))?;
        let dram = simulation::dram(&self.dram).map_err(|e| anyhow!("a memory to measure with: {e}"))?;
        Ok(Parsed { graph, config, dram, oracle: self.oracle })
    }
}

impl Taken {
    /// The cycles, where it did not fail.
    pub fn cycles(&self) -> Option<u64> {
        match self {
            Taken::Cycles(cycles) => Some(*cycles),
            Taken::Failed(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tandem_graph::workload::RESNET18;

    #[test]
    fn subjects_come_back_from_their_text_and_differ_in_their_names() {
        let (graph, config) = (RESNET18[9].graph(1), HwConfig::preset("vta").unwrap());
        let subject = |dram: &str, oracle| Subject::new(&graph, &config, &simulation::dram(dram).unwrap(), oracle);
        let zynq = subject("zynq", Oracle::Tsim);
        let text = serde_json::to_string(&Order::Subject(zynq.name(), zynq.clone())).unwrap();
        let Order::Subject(name, back) = serde_json::from_str(&text).unwrap() else { panic!("{text:.80}") };
        assert_eq!((&name, &back), (&zynq.name(), &zynq));
        let parsed = back.parse().unwrap();
        assert_eq!((parsed.graph, parsed.config), (graph.clone(), config.clone()));
        assert_ne!(zynq.name(), subject("ideal", Oracle::Tsim).name());
        assert_ne!(zynq.name(), subject("zynq", Oracle::Analytic).name());
        assert!(Subject { graph: "nothing".into(), ..zynq.clone() }.parse().is_err());
        assert!(Subject { hardware: "nothing".into(), ..zynq }.parse().is_err());
    }
}
