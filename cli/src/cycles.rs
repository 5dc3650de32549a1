//! Where the cycles of simulated hardware went: tables for people, JSON for programs.

use crate::simulation::{Simulation, memory_json, memory_words};
use crate::table::{grouped, percent, table};
use serde_json::{Map, Value, json};
use std::fmt::Write;
use tandem_driver::Counters;
use tandem_isa::{HwConfig, Queue};
use tandem_sim::tsim::{Activity, Occupancy, UnitCycles, UnitState};

/// Queues of instructions, in the order of [`Activity::insn_queues`].
const INSN_QUEUES: [&str; 3] = ["load", "compute", "store"];
/// Queues of tokens, in the order of [`Activity::tokens`].
const TOKEN_QUEUES: [&str; 4] = ["load_to_compute", "compute_to_load", "compute_to_store", "store_to_compute"];

/// What a simulation did, over all its launches.
pub struct Cycles<'a> {
    /// The simulation.
    pub simulation: &'a Simulation,
    /// The machine.
    pub config: &'a HwConfig,
    /// What the device's registers counted.
    pub counters: Counters,
    /// Samples that the launches took; `None` where there is no such thing.
    pub samples: Option<u64>,
    /// Multiply-accumulates that the models asked for, without padding; `None` where nobody knows.
    pub useful_macs: Option<u64>,
}

impl Cycles<'_> {
    /// What the JSON of a run has beyond the counters.
    ///
    /// `utilisation` is GEMM's multiply-accumulates, padding lanes included, over those that the array could have done in all
    /// cycles. `useful_utilisation` is the model's own multiply-accumulates over the same.
    pub fn json(&self) -> Map<String, Value> {
        let activity = self.simulation.activity();
        let cycles = activity.cycles;
        let units: Map<String, Value> =
            units(&activity).into_iter().map(|(name, unit)| (name.to_owned(), states_json(unit))).collect();
        let queues: Map<String, Value> = INSN_QUEUES
            .iter()
            .zip(&activity.insn_queues)
            .map(|(name, queue)| ((*name).to_owned(), occupancy_json(queue, cycles)))
            .collect();
        let tokens: Map<String, Value> = TOKEN_QUEUES
            .iter()
            .zip(&activity.tokens)
            .map(|(name, queue)| ((*name).to_owned(), occupancy_json(queue, cycles)))
            .collect();
        let c = &self.counters;
        let value = json!({
            "cycles": cycles,
            "cycles_per_sample": self.samples.map(|samples| ratio(cycles, samples)),
            "cycles_source": "measured on the simulated hardware",
            "dram": memory_json(&self.simulation.memory()),
            "stress": self.simulation.stress(),
            "gemm_macs": self.gemm_macs(),
            "useful_macs": self.useful_macs,
            "macs_per_cycle": self.array(),
            "utilisation": self.share(self.gemm_macs(), cycles),
            "useful_utilisation": self.useful_macs.map(|macs| self.share(macs, cycles)),
            "units": units,
            "instruction_queues": queues,
            "token_queues": tokens,
            "bytes": {
                "inp": c.inp_bytes, "wgt": c.wgt_bytes, "acc": c.acc_bytes, "uop": c.uop_bytes, "out": c.out_bytes,
            },
            "bus": {
                "read_bytes": activity.read_bytes,
                "write_bytes": activity.write_bytes,
                "read_bursts": activity.read_bursts,
                "write_bursts": activity.write_bursts,
            },
        });
        match value {
            Value::Object(map) => map,
            _ => Map::new(),
        }
    }

    /// The same as tables, with the sentences that say what was counted.
    pub fn text(&self) -> String {
        let activity = self.simulation.activity();
        let cycles = activity.cycles;
        let mut text = self.units_table(&activity);
        text.push_str(&self.traffic_table(&activity));
        let samples = match self.samples {
            Some(samples) if samples > 0 => {
                format!(" for {}, {} a sample", counted(samples), grouped(cycles / samples))
            }
            _ => String::new(),
        };
        let _ = writeln!(
            text,
            "{} cycles{samples}, measured on the simulated hardware with {}.",
            grouped(cycles),
            self.timing()
        );
        let _ = write!(
            text,
            "GEMM used {} of the {} MACs that the array can do in as many cycles ({} a cycle), padding lanes included",
            percent(Some(self.share(self.gemm_macs(), cycles))),
            grouped(cycles.saturating_mul(self.array())),
            self.array()
        );
        match self.useful_macs {
            Some(macs) => {
                let _ = writeln!(
                    text,
                    "; the {} MACs that the model asked of the VTA, those on the lanes of the ALU included, are {} of them.",
                    grouped(macs),
                    percent(Some(self.share(macs, cycles)))
                );
            }
            None => text.push_str(".\n"),
        }
        text
    }

    /// The memory and the stress in words.
    fn timing(&self) -> String {
        let stress = match self.simulation.stress() {
            Some(seed) => format!(", every channel held up at random (seed {seed})"),
            None => String::new(),
        };
        memory_words(&self.simulation.memory()) + &stress
    }

    /// A row for each unit: how many of its cycles it spent in which state.
    fn units_table(&self, activity: &Activity) -> String {
        let header =
            ["unit", "busy", "idle", "token", "read data", "write channel", "own pipeline", "queue room", "cycles"];
        let rows = units(activity).into_iter().map(|(name, unit)| {
            let part = |state| percent(Some(ratio(unit.of(state), activity.cycles)));
            let mut tokens = Vec::new();
            for state in [UnitState::TokenFromPrev, UnitState::TokenFromNext] {
                if let Some(from) = neighbour(name, state) {
                    tokens.push(format!("{from} {}", part(state)));
                }
            }
            let token = if tokens.is_empty() { "-".to_owned() } else { tokens.join("\n") };
            let [busy, idle, read, write, hazard, room] = [
                UnitState::Busy,
                UnitState::Idle,
                UnitState::ReadData,
                UnitState::WriteChannel,
                UnitState::Hazard,
                UnitState::QueueRoom,
            ]
            .map(part);
            vec![name.to_owned(), busy, idle, token, read, write, hazard, room, grouped(unit.total())]
        });
        table(&header, &[1, 2, 3, 4, 5, 6, 7, 8], rows)
    }

    /// Queues and bytes.
    fn traffic_table(&self, activity: &Activity) -> String {
        let cycles = activity.cycles;
        let fill = |queue: &Occupancy| format!("{:.2} mean, {} most", queue.mean(cycles), grouped(queue.max.into()));
        let mut rows = Vec::new();
        for (name, queue) in INSN_QUEUES.iter().zip(&activity.insn_queues) {
            rows.push(vec![format!("instructions waiting for {name}"), fill(queue)]);
        }
        for (name, queue) in TOKEN_QUEUES.iter().zip(&activity.tokens) {
            rows.push(vec![format!("tokens {}", name.replace('_', " ")), fill(queue)]);
        }
        let c = &self.counters;
        let bytes = [("inp", c.inp_bytes), ("wgt", c.wgt_bytes), ("acc", c.acc_bytes), ("uop", c.uop_bytes)];
        let loaded: Vec<String> = bytes.iter().map(|(name, bytes)| format!("{name} {}", grouped(*bytes))).collect();
        rows.push(vec!["bytes loaded".to_owned(), loaded.join(", ")]);
        rows.push(vec!["bytes stored".to_owned(), format!("out {}", grouped(c.out_bytes))]);
        let bus = |bytes, bursts| format!("{} in {} bursts", grouped(bytes), grouped(bursts));
        rows.push(vec![
            "bytes on the bus, instructions included".to_owned(),
            format!(
                "read {}, written {}",
                bus(activity.read_bytes, activity.read_bursts),
                bus(activity.write_bytes, activity.write_bursts)
            ),
        ]);
        table(&["queues and memory", "in all"], &[], rows)
    }

    /// MACs of GEMM, padding lanes included.
    fn gemm_macs(&self) -> u64 {
        self.counters.gemm_uops * self.array()
    }

    /// MACs that the array can do in a cycle.
    fn array(&self) -> u64 {
        (self.config.batch() * self.config.block_in() * self.config.block_out()) as u64
    }

    /// MACs over what the array could have done.
    fn share(&self, macs: u64, cycles: u64) -> f64 {
        ratio(macs, cycles.saturating_mul(self.array()))
    }
}

/// The units by name, fetch first.
fn units(activity: &Activity) -> [(&'static str, &UnitCycles); 4] {
    let [load, compute, store] = Queue::ALL.map(|unit| (unit.name(), activity.unit(unit)));
    [("fetch", &activity.fetch), load, compute, store]
}

/// The unit that a unit in this state waits for.
fn neighbour(unit: &str, state: UnitState) -> Option<&'static str> {
    let unit = Queue::ALL.into_iter().find(|queue| queue.name() == unit)?;
    let from = if state == UnitState::TokenFromPrev { unit.prev() } else { unit.next() };
    from.map(Queue::name)
}

fn states_json(unit: &UnitCycles) -> Value {
    UnitState::ALL.iter().map(|&state| (state.name().to_owned(), json!(unit.of(state)))).collect::<Map<_, _>>().into()
}

fn occupancy_json(queue: &Occupancy, cycles: u64) -> Value {
    json!({"mean": queue.mean(cycles), "max": queue.max})
}

fn ratio(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

fn counted(samples: u64) -> String {
    format!("{} sample{}", grouped(samples), if samples == 1 { "" } else { "s" })
}
