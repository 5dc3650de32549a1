//! What came of an exploration: a value with a table and a JSON form.

use super::evaluate::Trials;
use super::exploration::Point;
use super::goal::{Goals, microseconds};
use crate::simulation::memory_name;
use crate::table::{grouped, table};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt::Write;
use tandem_boards::Board;
use tandem_boards::area::{Error, Placed, Prediction, Predictor, RESOURCES, Taken, relative};
use tandem_boards::explore::Settings;
use tandem_isa::HwConfig;

/// How much was looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Tally {
    /// Designs screened.
    pub screened: usize,
    /// Designs that cannot be, of those.
    pub impossible: usize,
    /// Measurements that the log had.
    pub from_log: usize,
}

/// How it was looked for.
#[derive(Clone, Copy, Debug)]
pub struct How {
    /// The settings of the search.
    pub settings: Settings,
    /// Inferences handed over at a time.
    pub batch_inputs: usize,
    /// How much was looked at.
    pub tally: Tally,
}

/// Everything that was found.
#[derive(Clone, Debug, Serialize)]
pub struct Outcome {
    /// The board.
    pub board: String,
    /// Its part.
    pub part: String,
    /// The models.
    pub models: Vec<ModelFacts>,
    /// What counts, with weights.
    pub objective: BTreeMap<String, f64>,
    /// The memory of the simulated hardware.
    pub dram: String,
    /// Inferences handed over at a time.
    pub batch_inputs: usize,
    /// The seed of the search and of the inputs.
    pub seed: u64,
    /// Where cycles come from.
    pub cycles_source: &'static str,
    /// Where clocks come from.
    pub clock_source: &'static str,
    /// How much was looked at.
    pub looked_at: Tally,
    /// Versions of the tools.
    pub tools: BTreeMap<String, String>,
    /// How far area and clock are off for designs of the table that were left out of the fit.
    pub table_error: BTreeMap<String, Error>,
    /// Designs that ran every model and computed what the reference computes: the front first, the best of it first.
    pub designs: Vec<Design>,
    /// Digests of the front, the best first.
    pub front: Vec<String>,
}

/// A model.
#[derive(Clone, Debug, Serialize)]
pub struct ModelFacts {
    /// Its name.
    pub name: String,
    /// Multiply-accumulates of an inference on the accelerator.
    pub macs: u64,
    /// Nodes that the CPU runs, whose time is not counted.
    pub host_nodes: usize,
}

/// A design.
#[derive(Clone, Debug, Serialize)]
pub struct Design {
    /// Its digest.
    pub digest: String,
    /// The machine.
    pub config: HwConfig,
    /// Whether every tensor it computed is what the reference has; nothing else is listed.
    pub bit_exact: bool,
    /// Whether no other one beats it.
    pub on_front: bool,
    /// Cycles of an inference of each model.
    pub cycles: Vec<u64>,
    /// What they were predicted to be.
    pub predicted_cycles: Vec<u64>,
    /// Layers of different geometry whose schedule was searched for; none where the compiler's own choices are the best.
    pub scheduled_layers: usize,
    /// The clock by which cycles become times.
    pub fmax_mhz: f64,
    /// Times of an inference of each model.
    pub microseconds: Vec<f64>,
    /// What it takes of the part: as it was synthesised, where it was, else as foretold.
    pub taken: Taken,
    /// What was foretold before anything was synthesised.
    pub predicted: Prediction,
    /// After synthesis.
    pub synthesised: Option<Taken>,
    /// After place and route.
    pub placed: Option<Placed>,
    /// Foretold over placed, minus one, without signs.
    pub prediction_error: Option<BTreeMap<String, f64>>,
    /// Why it is out of the question.
    pub dropped: Option<String>,
}

impl Outcome {
    /// The value of an exploration; `front` is in order.
    pub fn new(
        trials: &Trials<'_>,
        goals: &Goals,
        predictor: &Predictor,
        tools: BTreeMap<String, String>,
        points: &[Point],
        front: &[usize],
        how: How,
    ) -> Outcome {
        let board: &Board = trials.board;
        let models = trials.subjects.iter().map(|subject| ModelFacts {
            name: subject.name.clone(),
            macs: subject.macs,
            host_nodes: subject.host_nodes,
        });
        let models: Vec<ModelFacts> = models.collect();
        let names: Vec<String> = models.iter().map(|model| model.name.clone()).collect();
        let others = (0..points.len()).filter(|at| !front.contains(at));
        let order: Vec<usize> = front.iter().copied().chain(others).collect();
        let designs = order.into_iter().map(|at| design(predictor, &points[at], front.contains(&at))).collect();
        Outcome {
            board: board.name.clone(),
            part: board.part.clone(),
            models,
            objective: goals.names(&names).into_iter().collect(),
            dram: memory_name(&trials.dram),
            batch_inputs: how.batch_inputs,
            seed: how.settings.seed,
            cycles_source: "simulated hardware",
            clock_source: "foretold from placed designs",
            looked_at: how.tally,
            tools,
            table_error: predictor.errors().clone(),
            designs,
            front: front.iter().map(|&at| digest(&points[at].config)).collect(),
        }
    }

    /// The tables, with the sentences that say what was counted.
    pub fn text(&self) -> String {
        let mut text = self.front_table();
        let _ = writeln!(
            text,
            "{} designs screened, {} of them impossible; {} ran {} on simulated hardware, {} of these results from the log, and all \
             of them computed what the reference computes. {} are on the front.",
            self.looked_at.screened,
            self.looked_at.impossible,
            self.designs.len(),
            self.models.iter().map(|model| model.name.as_str()).collect::<Vec<_>>().join(", "),
            self.looked_at.from_log,
            self.front.len()
        );
        let _ = writeln!(
            text,
            "Cycles were counted on simulated hardware with memory '{}', {} at a time, seed {}; nodes on the CPU are not in them. \
             The clock is foretold from placed designs of {}; t4: four taps of LANE at once; s: \
             synthesised, p: placed, else area is foretold.",
            self.dram,
            if self.batch_inputs == 1 {
                "an inference".to_owned()
            } else {
                format!("{} inferences", self.batch_inputs)
            },
            self.seed,
            self.board
        );
        let placed = self.placed_table();
        if !placed.is_empty() {
            text.push('\n');
            text.push_str(&placed);
            let errors: Vec<&BTreeMap<String, f64>> =
                self.designs.iter().filter_map(|design| design.prediction_error.as_ref()).collect();
            let mean = |name: &str| {
                let all: Vec<f64> = errors.iter().filter_map(|error| error.get(name).copied()).collect();
                100.0 * all.iter().sum::<f64>() / all.len().max(1) as f64
            };
            let _ = writeln!(
                text,
                "Mean error of what was foretold of the {} placed: LUT {:.1} %, FF {:.1} %, DSP {:.1} %, BRAM {:.1} %, clock {:.1} %.",
                errors.len(),
                mean("LUT"),
                mean("FF"),
                mean("DSP"),
                mean("BRAM"),
                mean("fmax")
            );
        }
        text
    }

    fn front_table(&self) -> String {
        let mut header = vec!["design", "lanes", "bus", "queue", "ALU", "uop/inp/wgt/acc KiB", "MHz"];
        let times: Vec<String> = self.models.iter().map(|model| format!("{} ms", model.name)).collect();
        header.extend(times.iter().map(String::as_str));
        header.extend(["LUT", "DSP", "BRAM"]);
        let rows = self.designs.iter().filter(|design| design.on_front).map(|design| {
            let facts = design.config.facts();
            let mark = match (&design.placed, &design.synthesised) {
                (Some(_), _) => " p",
                (None, Some(_)) => " s",
                (None, None) => "",
            };
            let buffers =
                [facts.uop_buffer_bytes, facts.inp_buffer_bytes, facts.wgt_buffer_bytes, facts.acc_buffer_bytes];
            let mut lanes = format!("{}x{}", facts.block_in, facts.block_out);
            if facts.batch > 1 {
                lanes = format!("{}x{lanes}", facts.batch);
            }
            if facts.lane_taps > 1 {
                lanes = format!("{lanes} t{}", facts.lane_taps);
            }
            let mut row = vec![
                format!("{}{mark}", design.digest),
                lanes,
                facts.bus_bits.to_string(),
                facts.insn_queue_depth.to_string(),
                design.config.alu_lanes().to_string(),
                buffers.map(|bytes| format!("{}", f64::from(bytes) / 1024.0)).join("/"),
                format!("{:.1}", design.fmax_mhz),
            ];
            row.extend(design.microseconds.iter().map(|time| format!("{:.3}", time / 1e3)));
            row.extend(["LUT", "DSP", "BRAM"].map(|name| grouped(design.taken.get(name).copied().unwrap_or(0))));
            row
        });
        let right: Vec<usize> = (2..header.len()).filter(|&column| column != 5).collect();
        table(&header, &right, rows)
    }

    /// What was foretold of the designs that were placed, beside what came of them.
    fn placed_table(&self) -> String {
        let mut rows = Vec::new();
        for design in &self.designs {
            let (Some(placed), Some(errors)) = (&design.placed, &design.prediction_error) else { continue };
            let error = |name: &str| format!("{:.1} %", 100.0 * errors.get(name).copied().unwrap_or(0.0));
            for name in RESOURCES {
                let of = |taken: &Taken| grouped(taken.get(name).copied().unwrap_or(0));
                let synthesised = design.synthesised.as_ref().map_or_else(|| "-".to_owned(), of);
                rows.push(vec![
                    design.digest.clone(),
                    name.to_owned(),
                    of(&design.predicted.taken),
                    synthesised,
                    of(&placed.taken),
                    error(name),
                ]);
            }
            rows.push(vec![
                design.digest.clone(),
                "fmax MHz".to_owned(),
                format!("{:.1}", design.predicted.fmax_mhz),
                "-".to_owned(),
                format!("{:.1}", placed.fmax_mhz),
                error("fmax"),
            ]);
        }
        if rows.is_empty() {
            return String::new();
        }
        table(&["design", "what", "foretold", "synthesised", "placed", "error"], &[2, 3, 4, 5], rows)
    }
}

fn digest(config: &HwConfig) -> String {
    format!("{:08x}", config.digest())
}

fn design(predictor: &Predictor, point: &Point, on_front: bool) -> Design {
    let fmax_mhz = point.predicted.fmax_mhz;
    let taken = match &point.synthesised {
        Some(synthesised) => predictor.packed(synthesised),
        None => point.predicted.taken.clone(),
    };
    let prediction_error = point.placed.as_ref().map(|placed| {
        let of = |taken: &Taken, name: &str| taken.get(name).copied().unwrap_or(0) as f64;
        let areas = RESOURCES
            .map(|name| (name.to_owned(), relative(of(&point.predicted.taken, name), of(&placed.taken, name))));
        areas.into_iter().chain([("fmax".to_owned(), relative(fmax_mhz, placed.fmax_mhz))]).collect()
    });
    Design {
        digest: digest(&point.config),
        config: point.config.clone(),
        bit_exact: true,
        on_front,
        cycles: point.cycles.clone(),
        predicted_cycles: point.predicted_cycles.clone(),
        scheduled_layers: point.schedules.len(),
        fmax_mhz,
        microseconds: point.cycles.iter().map(|&cycles| microseconds(cycles, fmax_mhz)).collect(),
        taken,
        predicted: point.predicted.clone(),
        synthesised: point.synthesised.clone(),
        placed: point.placed.clone(),
        prediction_error,
        dropped: point.dropped.clone(),
    }
}
