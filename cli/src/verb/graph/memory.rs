//! `tandem graph memory`: where every intermediate result lies in one arena, as a table and as a picture.

use crate::options::{Format, ModelOptions};
use crate::svg::escaped;
use crate::table::{grouped, table};
use crate::{Outcome, file, model, stdout};
use anyhow::Result;
use clap::Args;
use serde_json::json;
use std::fmt::Write;
use std::path::PathBuf;
use tandem_graph::Graph;
use tandem_graph::pass::groups::groups;
use tandem_graph::pass::memory::{self, Buffer, MemoryPlan};

/// Width and height of the picture.
const PICTURE: (f64, f64) = (960.0, 480.0);

/// Options of `tandem graph memory`.
#[derive(Args)]
pub struct Options {
    #[command(flatten)]
    model: ModelOptions,
    /// Offsets are multiples of this many bytes.
    #[arg(long, value_name = "BYTES", default_value = "16", value_parser = clap::value_parser!(u32).range(1..=1 << 20))]
    align: u32,
    /// No node writes over its operand.
    #[arg(long)]
    no_in_place: bool,
    /// Inputs and outputs lie with the caller and not in the arena.
    #[arg(long)]
    no_interface: bool,
    /// Plan for groups that run in one loop each, so that what stays inside needs no memory.
    #[arg(long)]
    groups: bool,
    /// Draw the buffers over steps and offsets.
    #[arg(long, value_name = "OUT.svg")]
    plot: Option<PathBuf>,
    /// Form of the result.
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
}

/// Runs the verb.
pub fn run(options: &Options) -> Result<Outcome> {
    let graph = model::load(&options.model)?;
    let how = memory::Options {
        align: options.align as usize,
        in_place: !options.no_in_place,
        interface: !options.no_interface,
    };
    let plan = match options.groups {
        true => memory::plan_groups(&graph, &groups(&graph), &how),
        false => memory::plan(&graph, &how),
    };
    if let Some(path) = &options.plot {
        file::write(path, picture(&graph, &plan).as_bytes())?;
    }
    let text = match options.format {
        Format::Table => as_table(&graph, &plan),
        Format::Json => as_json(&graph, &plan),
    };
    stdout::emit(&text)?;
    Ok(Outcome::Good)
}

fn names(graph: &Graph, buffer: &Buffer) -> String {
    buffer.values.iter().map(|&id| graph.value(id).name.as_str()).collect::<Vec<_>>().join(", ")
}

fn as_table(graph: &Graph, plan: &MemoryPlan) -> String {
    let rows = plan.buffers.iter().map(|buffer| {
        vec![
            grouped(buffer.offset as u64),
            grouped(buffer.bytes as u64),
            format!("{}..{}", buffer.live.start, buffer.live.end),
            names(graph, buffer),
        ]
    });
    let mut text = table(&["offset", "bytes", "steps", "values"], &[0, 1, 2], rows);
    let [peak, bound, sum] = [plan.peak, plan.bound, plan.sum].map(|n| grouped(n as u64));
    let _ = writeln!(
        text,
        "peak {peak} bytes over {} steps, placed {}; {bound} live at the worst step, {sum} without reuse",
        plan.steps, plan.strategy
    );
    text
}

fn as_json(graph: &Graph, plan: &MemoryPlan) -> String {
    let entry = |buffer: &Buffer| {
        let values: Vec<&str> = buffer.values.iter().map(|&id| graph.value(id).name.as_str()).collect();
        json!({
            "offset": buffer.offset,
            "bytes": buffer.bytes,
            "begin": buffer.live.start,
            "end": buffer.live.end,
            "values": values,
        })
    };
    let buffers: Vec<_> = plan.buffers.iter().map(entry).collect();
    let value = json!({
        "buffers": buffers,
        "peak_bytes": plan.peak,
        "bound_bytes": plan.bound,
        "sum_bytes": plan.sum,
        "steps": plan.steps,
        "strategy": plan.strategy,
    });
    format!("{value}\n")
}

/// The arena over time: a rectangle for each buffer, steps to the right and offsets upwards.
fn picture(graph: &Graph, plan: &MemoryPlan) -> String {
    let (width, height) = PICTURE;
    let (x, y) = (width / plan.steps.max(1) as f64, height / plan.peak.max(1) as f64);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.0} {:.0}\" font-family=\"sans-serif\" \
         font-size=\"12\">\n",
        height + 20.0
    );
    for (i, buffer) in plan.buffers.iter().enumerate() {
        let (left, top) = (buffer.live.start as f64 * x, height - (buffer.offset + buffer.bytes) as f64 * y);
        let (wide, high) = (buffer.live.len() as f64 * x, buffer.bytes as f64 * y);
        // Neighbours in time get hues far apart.
        let hue = i * 137 % 360;
        let _ = writeln!(
            svg,
            "<rect x=\"{left:.1}\" y=\"{top:.1}\" width=\"{wide:.1}\" height=\"{high:.1}\" fill=\"hsl({hue},55%,70%)\" \
             stroke=\"#333\" stroke-width=\"0.5\"><title>{}, {} bytes at {}, steps {}..{}</title></rect>",
            escaped(&names(graph, buffer)),
            grouped(buffer.bytes as u64),
            grouped(buffer.offset as u64),
            buffer.live.start,
            buffer.live.end
        );
    }
    let _ = writeln!(
        svg,
        "<text x=\"4\" y=\"{:.0}\">{}: {} steps, {} bytes</text>\n</svg>",
        height + 15.0,
        escaped(&graph.name),
        plan.steps,
        grouped(plan.peak as u64)
    );
    svg
}
