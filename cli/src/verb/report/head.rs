//! What the page is about: the title with the facts behind it, and the figures that people ask for first.

use super::Facts;
use super::page::{key, legend};
use crate::machine::{Accelerator, CycleSource};
use crate::simulation::memory_name;
use crate::svg::{colour, escaped, quantity};
use crate::table::{grouped, percent};
use crate::{backend, date};
use std::fmt::Write;

/// The title, the machine, the devices, and how the figures came about.
pub fn title(facts: &Facts<'_>) -> String {
    let options = facts.options;
    let mut rows: Vec<(String, String)> = Vec::new();
    let mut row = |name: &str, text: String| rows.push((name.to_owned(), text));
    let graph = &facts.graph;
    let file = options.model.model.file_name().unwrap_or_default().to_string_lossy().into_owned();
    row(
        "Model",
        format!(
            "{file}: {} nodes, integer kernels as {}, graph '{}'",
            graph.nodes.len(),
            graph.arith.name(),
            graph.name
        ),
    );
    row("Date", date::now());
    let threads = rayon::current_num_threads();
    row(
        "Machine",
        format!("{}, {threads} threads, {} on {}", backend::processor(), std::env::consts::OS, std::env::consts::ARCH),
    );
    for (index, name) in facts.names().iter().enumerate().skip(1) {
        let device = facts.costs.devices[index].device;
        let processors = &facts.session().machine.processors;
        let known = processors.iter().find(|processor| processor.device == device).map(|known| known.name.clone());
        let what = facts.accelerator(index).map(|accelerator| configuration(facts, accelerator)).or(known);
        let what = what.unwrap_or_else(|| "nothing more is known of it".to_owned());
        row(&format!("Device {name}"), what);
    }
    let part = match (options.device.device.is_planned(), facts.costs.devices.len()) {
        (_, 1) => "everything, as no other device was asked for",
        (false, _) => "what the device does not run",
        (true, _) if facts.used().contains(&0) => "a part of the split",
        (true, _) => "nothing of this plan but copies",
    };
    row("Device cpu", format!("the machine above: {part}"));
    let seed = facts.session().accelerator().and_then(|a| a.simulation.as_ref()).and_then(|s| s.stress());
    let seed = seed.map_or_else(|| "no seed, as nothing is drawn at random".to_owned(), |s| format!("stress seed {s}"));
    let build = if cfg!(debug_assertions) { ", built for development, whose CPU kernels are slower" } else { "" };
    row("Version", format!("tandem {}, {seed}{build}", env!("CARGO_PKG_VERSION")));
    row("Samples", samples(facts));
    rows.extend(provenance(facts));
    let mut html = format!("<h1>{}</h1>\n", escaped(&facts.title));
    let on = escaped(&options.device.device.name());
    let _ = write!(html, "<p class=\"dim\">What the model does on {on}</p>\n<dl>\n");
    for (name, text) in rows {
        let _ = writeln!(html, "<dt>{}</dt><dd>{}</dd>", escaped(&name), escaped(&text));
    }
    html + "</dl>\n"
}

fn configuration(facts: &Facts<'_>, accelerator: &Accelerator) -> String {
    let config = &accelerator.config;
    let (batch, block_in, block_out) = (config.batch(), config.block_in(), config.block_out());
    let mut text = format!(
        "configuration {} ({:#010x}), {} MACs a cycle ({batch} x {block_in} x {block_out}), {} MHz as --clock-mhz states",
        accelerator.hw,
        config.digest(),
        batch * block_in * block_out,
        facts.options.device.clock_mhz
    );
    if let Some(simulation) = &accelerator.simulation {
        let _ = write!(text, ", memory '{}'", memory_name(&simulation.memory()));
    }
    text
}

fn samples(facts: &Facts<'_>) -> String {
    let options = facts.options;
    let what = match (&options.inputs, &options.input) {
        (Some(_), _) => "labelled samples of --inputs",
        (_, Some(_)) => "samples of --input",
        _ => "samples of zeros, as no input was given",
    };
    let mut text = format!("{} {what}, one request after the other", facts.runs.alone.samples);
    if let Some(together) = &facts.runs.together {
        let _ = write!(text, ", and {} with {} requests under way", together.samples, facts.runs.in_flight);
    }
    if let Some(session) = &facts.hardware {
        let _ = write!(text, "; {} on the simulated hardware", session.executor.profile().samples());
    }
    text
}

/// What is measured, estimated, simulated, projected and stated, in words.
fn provenance(facts: &Facts<'_>) -> Vec<(String, String)> {
    let mut rows = Vec::new();
    let mut row = |name: &str, text: String| rows.push((name.to_owned(), text));
    let copies =
        if facts.costs.devices.len() > 1 { ", copies to and from devices, and their layout changes" } else { "" };
    row("Measured", format!("nodes on the CPU{copies}, on this host's clock"));
    let clock = facts.options.device.clock_mhz;
    for (index, name) in facts.names().iter().enumerate().skip(1) {
        let Some(accelerator) = facts.accelerator(index) else {
            match facts.costs.devices[index].projected {
                true => {
                    row("Projected", format!("times of {name}, by what such a device is told to do, copies included"))
                }
                false => row("Measured", format!("runs of {name}, on this host's clock")),
            }
            continue;
        };
        let (what, text) = match accelerator.cycles {
            CycleSource::Estimated => (
                "Estimated",
                format!(
                    "cycles of {name}, by the functional simulator, which is no measurement; seconds by {clock} MHz"
                ),
            ),
            CycleSource::Simulated => {
                ("Simulated", format!("cycles of {name}, counted by the simulated hardware; seconds by {clock} MHz"))
            }
            CycleSource::Hardware => (
                "Measured",
                format!("cycles of {name}, counted by the hardware; of its runs the time on this host's clock"),
            ),
        };
        row(what, text);
    }
    if facts.hardware.is_some() {
        let text = "the host beside the simulated hardware ran with the functional simulator in the place of the hardware, \
                    whose simulation would take the host's caches";
        row("Measured apart", text.to_owned());
    }
    if facts.options.place.cpu_times != 1.0 {
        let text =
            format!("times of the CPU and of copies, {} times those of this host", facts.options.place.cpu_times);
        row("Projected", text);
    }
    let mut stated: Vec<String> = Vec::new();
    if facts.costs.devices.len() > 1 {
        stated.push(format!("the clock of {clock} MHz"));
    }
    let watts = facts.costs.watts.iter().map(|(name, (busy, idle))| format!("{name} {busy} W busy and {idle} W idle"));
    stated.extend(watts);
    if !stated.is_empty() {
        row("Stated by the user", stated.join(", ") + "; nothing here measures it");
    }
    let failed = facts.session().executor.failures();
    for failure in failed {
        row("Failed", format!("{}: {failure}", facts.session().machine.name(failure.device)));
    }
    rows
}

/// The figures that people ask for first.
pub fn figures(facts: &Facts<'_>) -> String {
    let runs = &facts.runs;
    let kind = facts.kind();
    let mut html = "<div class=\"cards\">\n".to_owned();
    let mut card = |value: &str, what: &str| {
        let (value, what) = (escaped(value), escaped(what));
        let _ = writeln!(html, "<div class=\"card\"><b>{value}</b><span>{what}</span></div>");
    };
    card(&quantity(runs.latency(), "s"), &format!("latency of an input, median; {kind}"));
    let rate = |throughput: f64| format!("{} inputs/s", quantity(throughput, ""));
    card(&rate(runs.alone.throughput()), &format!("throughput, one request after the other; {kind}"));
    if let Some(together) = &runs.together {
        let most = percent(together.efficiency());
        let slowest = together.slowest().map_or_else(String::new, |load| facts.session().machine.name(load.device));
        card(
            &rate(together.throughput()),
            &format!(
                "throughput, {} requests under way: {most} of what {slowest}, the slowest, alone would reach",
                runs.in_flight
            ),
        );
    }
    match facts.accuracy() {
        Some((right, count)) => {
            let part = right as f64 / count as f64;
            card(
                &format!("{:.1} %", 100.0 * part),
                &format!("accuracy of what the devices computed, {right} of {count} right"),
            );
        }
        None => card("no labels", "accuracy: give --inputs with --labels"),
    }
    card(
        &quantity(facts.placed.plan.macs() as f64, ""),
        &format!("MACs of an input ({})", grouped(facts.placed.plan.macs())),
    );
    match facts.joules() {
        [None, _] => card("no powers", "energy: give --watts DEVICE=BUSY:IDLE of each device that works"),
        [Some(alone), together] => {
            let together =
                together.map_or_else(String::new, |j| format!("; {} with requests under way", quantity(j, "J")));
            card(&quantity(alone, "J"), &format!("energy of an input, by stated powers{together}"));
        }
    }
    html.push_str("</div>\n");
    html + &shares(facts)
}

/// Which device has how much of the work.
fn shares(facts: &Facts<'_>) -> String {
    let names = facts.names();
    if facts.share(0).is_none() {
        return "<p>The model has no multiply-accumulates to share.</p>\n".to_owned();
    }
    let share = |index: usize| facts.share(index).unwrap_or_default();
    let mut html = "<div class=\"bar\" role=\"img\" aria-label=\"Share of the MACs by device\">".to_owned();
    for index in 0..names.len() {
        let width = 100.0 * share(index);
        let _ = write!(html, "<i style=\"width:{width:.2}%;background:{}\"></i>", colour(index));
    }
    html.push_str("</div>\n");
    let keys = names.iter().enumerate().map(|(index, name)| {
        let device = facts.costs.devices[index].device;
        let busy = quantity(facts.runs.computing(device), "s");
        let text = format!("{name}: {} of the MACs, computes {busy} an input", percent(facts.share(index)));
        key(colour(index), &text)
    });
    html + &legend(keys)
}
