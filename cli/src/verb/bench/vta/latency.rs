//! What hiding the latency of memory is worth: layers with two contexts and serially, over latencies.

use super::network::Layer;
use super::row::{complaint, utilisation};
use super::{Bench, LATENCY};
use crate::svg::{self, Axis, colour, escaped};
use crate::table::{grouped, percent, table};
use anyhow::{Context, Result, anyhow};
use indicatif::ProgressBar;
use serde_json::{Value, json};
use std::fmt::Write;
use tandem_sim::tsim::DramModel;

/// The schedules, in the order in which their figures are told.
const SCHEDULES: [&str; 2] = ["two contexts", "serial"];
/// Width and height of the picture, and of the frame in it.
const SIZE: (f64, f64) = (720.0, 400.0);
const FRAME: (f64, f64, f64, f64) = (64.0, 34.0, 586.0, 346.0);

/// Cycles of layers over latencies.
pub struct Sweep {
    latencies: Vec<u32>,
    layers: Vec<Swept>,
    complaints: Vec<String>,
    samples: usize,
}

/// A layer.
struct Swept {
    name: String,
    count: u64,
    macs: u64,
    /// For each latency with both schedules.
    cycles: Vec<[u64; 2]>,
    utilisation: Vec<[f64; 2]>,
}

/// What all layers reach with a latency.
struct Mean {
    latency: u32,
    /// The mean utilisation of the layers, with both schedules.
    utilisation: [f64; 2],
    /// Cycles of all layers, each as often as the network has it.
    cycles: [u64; 2],
}

impl Mean {
    /// By how many percentage points two contexts are better.
    fn points(&self) -> f64 {
        100.0 * (self.utilisation[0] - self.utilisation[1])
    }
}

impl Sweep {
    /// Runs every layer with every latency.
    ///
    /// # Errors
    /// One sentence: what the compiler refuses, or how the hardware misbehaved.
    pub(super) fn measure(bench: &Bench, layers: &[Layer], latencies: &[u32], bar: &ProgressBar) -> Result<Sweep> {
        let mut sweep = Sweep { latencies: latencies.to_vec(), layers: Vec::new(), complaints: Vec::new(), samples: 1 };
        for layer in layers {
            bar.set_message(layer.name.clone());
            let (mut cycles, mut macs) = (vec![[0; 2]; latencies.len()], 0);
            for (schedule, name) in SCHEDULES.iter().enumerate() {
                let prepared = bench.prepare(&layer.graph, schedule == 1)?;
                let prepared = prepared.map_err(|reason| anyhow!("{}: {reason}", layer.name))?;
                (macs, sweep.samples) = (prepared.work().macs, prepared.samples());
                for (at, &latency) in latencies.iter().enumerate() {
                    let dram = DramModel { latency: latency.clamp(1, LATENCY), ..*bench.solo.memory() };
                    let ran = bench.solo.run_with(&prepared, dram).with_context(|| layer.name.clone())?;
                    cycles[at][schedule] = ran.activity.cycles;
                    let (wrong, all) = ran.mismatches;
                    if wrong > 0 {
                        let name = format!("{}, {name}, latency {latency}", layer.name);
                        sweep.complaints.push(complaint(&name, wrong, all));
                    }
                    bar.inc(1);
                }
            }
            let share = |both: &[u64; 2]| both.map(|cycles| utilisation(macs, cycles, bench.config()));
            let utilisation = cycles.iter().map(share).collect();
            let (name, count) = (layer.name.clone(), layer.count);
            sweep.layers.push(Swept { name, count, macs, cycles, utilisation });
        }
        Ok(sweep)
    }

    /// What was wrong.
    pub fn complaints(&self) -> &[String] {
        &self.complaints
    }

    /// Samples of a run.
    pub fn samples(&self) -> usize {
        self.samples
    }

    fn means(&self) -> impl Iterator<Item = Mean> + '_ {
        self.latencies.iter().enumerate().map(|(at, &latency)| {
            let (mut utilisation, mut cycles) = ([0.0; 2], [0; 2]);
            for layer in &self.layers {
                for schedule in 0..2 {
                    utilisation[schedule] += layer.utilisation[at][schedule] / self.layers.len() as f64;
                    cycles[schedule] += layer.cycles[at][schedule] * layer.count;
                }
            }
            Mean { latency, utilisation, cycles }
        })
    }

    /// For programs.
    pub fn json(&self) -> Value {
        let of = |(at, mean): (usize, Mean)| {
            let layers = self.layers.iter().map(|layer| {
                let of = |schedule: usize| {
                    json!({"cycles": layer.cycles[at][schedule], "utilisation": layer.utilisation[at][schedule]})
                };
                json!({
                    "name": layer.name,
                    "count": layer.count,
                    "macs": layer.macs,
                    "overlapped": of(0),
                    "serial": of(1),
                })
            });
            let all = |schedule: usize| json!({"cycles": mean.cycles[schedule], "mean_utilisation": mean.utilisation[schedule]});
            json!({
                "latency_cycles": mean.latency,
                "overlapped": all(0),
                "serial": all(1),
                "points": mean.points(),
                "layers": layers.collect::<Vec<_>>(),
            })
        };
        self.means().enumerate().map(of).collect()
    }

    /// For people.
    pub fn text(&self) -> String {
        let rows = self.means().map(|mean| {
            vec![
                mean.latency.to_string(),
                percent(Some(mean.utilisation[0])),
                percent(Some(mean.utilisation[1])),
                format!("{:+.1}", mean.points()),
                grouped(mean.cycles[0]),
                grouped(mean.cycles[1]),
            ]
        });
        let header = ["latency", "utilisation", "serial", "points", "cycles", "serial"];
        let note =
            "Utilisation is the mean over the layers; cycles are of all layers, each as often as the network has it.\n";
        table(&header, &[0, 1, 2, 3, 4, 5], rows) + note
    }

    /// Utilisation over latency: the means as thick lines, the layers as thin ones.
    pub fn svg(&self, network: &str) -> String {
        let (left, top, right, bottom) = FRAME;
        let ends = |of: fn(&[u32]) -> Option<&u32>| of(&self.latencies).map_or(0.0, |&latency| f64::from(latency));
        let (x, y) = (
            Axis::linear(ends(<[u32]>::first), ends(<[u32]>::last), left, right),
            Axis::linear(0.0, 100.0, bottom, top),
        );
        let title = format!("{network}: utilisation over the latency of memory");
        let mut text = svg::begin(SIZE.0, SIZE.1, &title);
        text.push_str("<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n");
        svg::below(&mut text, &x, (top, bottom), "", "latency of memory, cycles");
        svg::beside(&mut text, &y, (left, right), "%", &title);
        let line = |text: &mut String, values: &mut dyn Iterator<Item = f64>, colour: &str, width: f64, told: &str| {
            let points: Vec<String> = values
                .zip(&self.latencies)
                .map(|(value, &latency)| format!("{:.1},{:.1}", x.at(f64::from(latency)), y.at(100.0 * value)))
                .collect();
            let opacity = if width > 2.0 { 1.0 } else { 0.3 };
            let _ = writeln!(
                text,
                "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"{width}\" opacity=\"{opacity}\">\
                 <title>{}</title></polyline>",
                points.join(" "),
                escaped(told)
            );
        };
        for schedule in (0..2).rev() {
            for layer in &self.layers {
                let told = format!("{}, {}", layer.name, SCHEDULES[schedule]);
                let mut values = layer.utilisation.iter().map(|both| both[schedule]);
                line(&mut text, &mut values, colour(schedule), 1.0, &told);
            }
        }
        let means: Vec<Mean> = self.means().collect();
        let mut above: Option<f64> = None;
        for (schedule, name) in SCHEDULES.iter().enumerate() {
            let mut values = means.iter().map(|mean| mean.utilisation[schedule]);
            line(&mut text, &mut values, colour(schedule), 3.0, &format!("mean, {name}"));
            let last = means.last().map_or(0.0, |mean| mean.utilisation[schedule]);
            // Two names do not lie upon each other.
            let place = above.map_or(y.at(100.0 * last), |above: f64| (above + 15.0).max(y.at(100.0 * last)));
            above = Some(place);
            let _ = writeln!(
                text,
                "<text x=\"{:.1}\" y=\"{:.1}\" fill=\"{}\">{name} {:.0} %</text>",
                right + 6.0,
                place + 4.0,
                colour(schedule),
                100.0 * last
            );
        }
        text + "</svg>\n"
    }
}
