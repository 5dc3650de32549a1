//! `tandem compile`: the accelerator's part of a model as assembly text.

use crate::options::ModelOptions;
use crate::schedule::ScheduleKind;
use crate::simulation::dram;
use crate::table::grouped;
use crate::{Outcome, file, hardware, model, report, stdout, tuning};
use anyhow::{Result, anyhow, bail};
use clap::Args;
use std::collections::HashMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use tandem_graph::Graph;
use tandem_isa::HwConfig;
use tandem_jit::{Compiled, JitError};
use tandem_plan::{Device, Plan, extract, partition};
use tandem_sim::tsim::DramModel;

/// Options of `tandem compile`.
#[derive(Args)]
pub struct Options {
    #[command(flatten)]
    model: ModelOptions,
    /// The accelerator: a preset (tiny, edge, vta, wide, batch) or a TOML file.
    #[arg(long, value_name = "PRESET|FILE", default_value = "vta")]
    hw: String,
    /// Cut layers as the best schedules of this log of `tandem tune` do.
    #[arg(long, value_name = "LOG.jsonl")]
    tuned: Option<PathBuf>,
    /// How layers that --tuned does not know are cut. quick: by a formula; search: as is predicted to be fastest, with the memory of
    /// --dram.
    #[arg(long, value_enum, default_value = "quick")]
    schedule: ScheduleKind,
    /// Timing of the memory that --schedule search predicts with: ideal, zynq, or numbers: cycles, bits a cycle, bursts in flight
    /// [default: zynq].
    #[arg(long, value_parser = dram, value_name = "ideal|zynq|LATENCY,BITS,OUTSTANDING")]
    dram: Option<DramModel>,
    /// Where the program goes; several segments get a number before the extension.
    #[arg(long, short, value_name = "P.vta")]
    output: PathBuf,
}

/// Runs the verb.
pub fn run(options: &Options) -> Result<Outcome> {
    let graph = model::ready(&options.model)?;
    let config = hardware::resolve(&options.hw)?;
    if options.dram.is_some() && options.schedule == ScheduleKind::Quick {
        bail!("--dram is for schedules that are searched: give --schedule search with it, or leave it out");
    }
    let tuned = options.tuned.as_deref().map(tuning::log::tuned).transpose()?.unwrap_or_default();
    let (plan, programs) = compile(&graph, &config, |segment| {
        let known = tuned.options(segment, &config);
        options.schedule.options(segment, &config, known, options.dram.unwrap_or_default())
    })?;
    if programs.is_empty() {
        let reasons: Vec<String> = plan.rows().into_iter().map(|row| row.reason).collect();
        bail!("{}: the VTA runs no part of this model ({})", options.model.model.display(), reasons.join("; "));
    }
    let mut text = report::partition(&plan);
    for (i, compiled) in programs.iter().enumerate() {
        let path = if programs.len() == 1 { options.output.clone() } else { numbered(&options.output, i) };
        file::write(&path, tandem_isa::to_text(&compiled.program).as_bytes())?;
        let _ = writeln!(
            text,
            "{}: {} instructions, {} bytes of DRAM, {} samples a run",
            path.display(),
            grouped(compiled.program.insns.len() as u64),
            grouped(compiled.program.dram_bytes()),
            compiled.samples
        );
        for (kind, bindings) in [("input", &compiled.inputs), ("output", &compiled.outputs)] {
            for binding in bindings {
                let section = compiled.program.sections.get(binding.section).map_or("?", |s| s.name.as_str());
                let _ = writeln!(text, "  {kind} '{}' is section {section}, {} bytes", binding.name, binding.bytes());
            }
        }
    }
    // The program itself may go to standard output, which then carries nothing else.
    if options.output == Path::new("-") {
        stdout::complain(text.trim_end());
    } else {
        stdout::emit(&text)?;
    }
    Ok(Outcome::Good)
}

/// Plans a graph and compiles its segments for the accelerator; what the compiler refuses goes to the CPU.
fn compile(
    graph: &Graph,
    config: &HwConfig,
    schedule: impl Fn(&Graph) -> Result<tandem_jit::Options, JitError>,
) -> Result<(Plan, Vec<Compiled>)> {
    let mut refused: HashMap<String, String> = HashMap::new();
    'again: loop {
        let plan = partition(graph, Device::Vta(0), |node| match refused.get(&node.name) {
            Some(reason) => Err(reason.clone()),
            None => tandem_jit::supports(graph, node, config),
        });
        let mut programs = Vec::new();
        for (i, segment) in plan.segments.iter().enumerate().filter(|(_, s)| s.device.is_vta()) {
            let segment = extract(graph, segment);
            let compiled =
                schedule(&segment).and_then(|schedule| tandem_jit::compile_with(&segment, config, &schedule));
            match compiled {
                Ok(compiled) => programs.push(compiled),
                Err(JitError::Unsupported { node, reason, .. }) if !refused.contains_key(&node) => {
                    refused.insert(node, reason);
                    continue 'again;
                }
                Err(error) => return Err(anyhow!("{}: segment {i}: {error}", graph.name)),
            }
        }
        return Ok((plan, programs));
    }
}

fn numbered(path: &Path, number: usize) -> PathBuf {
    match path.extension().and_then(|e| e.to_str()) {
        Some(extension) => path.with_extension(format!("{number}.{extension}")),
        None => path.with_extension(number.to_string()),
    }
}
