//! What was predicted of nodes one by one, beside what their runs as segments took.

use super::Facts;
use super::page::{Cell, note, table, wide};
use crate::svg::quantity;
use std::fmt::Write;

/// Colours of the prediction and of what was found.
const BARS: [&str; 2] = ["#8fa7bb", "#33658a"];

/// A line of the comparison, in seconds of an input.
struct Line {
    what: String,
    predicted: f64,
    found: Option<f64>,
}

/// The section.
pub fn html(facts: &Facts<'_>) -> String {
    let measure = &facts.placed.placement.measure;
    let names = facts.names();
    let mut lines = Vec::new();
    for index in facts.used() {
        let device = facts.costs.devices[index].device;
        lines.push(Line {
            what: format!("{} computes", names[index]),
            predicted: measure.loads[index].busy_seconds,
            found: Some(facts.runs.computing(device)),
        });
    }
    if !measure.transfers.is_empty() {
        lines.push(Line {
            what: "copies, all together".to_owned(),
            predicted: measure.transfers.iter().map(|t| t.end_seconds - t.begin_seconds).sum(),
            found: Some(facts.runs.copying()),
        });
    }
    lines.push(Line {
        what: "latency of an input".to_owned(),
        predicted: measure.latency_seconds,
        found: Some(facts.runs.latency()),
    });
    lines.push(Line {
        what: "time between inputs".to_owned(),
        predicted: measure.period_seconds,
        found: facts.runs.period(),
    });
    let longest = lines.iter().flat_map(|line| [line.predicted, line.found.unwrap_or_default()]).fold(0.0, f64::max);
    let rows = lines.iter().map(|line| {
        let mut bars = String::new();
        for (value, colour) in [Some(line.predicted), line.found].into_iter().zip(BARS) {
            let width = 100.0 * value.unwrap_or_default() / longest.max(f64::MIN_POSITIVE);
            let _ = write!(bars, "<i class=\"meter\" style=\"width:{width:.1}%;background:{colour}\"></i>");
        }
        let mut cells = vec![Cell::text(&line.what), Cell::number(line.predicted, &quantity(line.predicted, "s"))];
        match line.found.filter(|found| *found > 0.0) {
            Some(found) => {
                let part = 100.0 * line.predicted / found;
                cells.extend([Cell::number(found, &quantity(found, "s")), Cell::number(part, &format!("{part:.1} %"))]);
            }
            None => cells.extend([Cell::text("not run").with("n"), Cell::none()]),
        }
        cells.push(Cell::html(bars).with("why"));
        cells
    });
    let header = ["of an input", "predicted", "found", "predicted / found", "predicted above found"];
    let mut html = note(&format!(
        "The prediction adds up nodes and transfers that were measured one by one, before anything ran. Found are medians over \
         {} inputs, one request after the other ({}). An accelerator's segment is one program, and can \
         be faster than its nodes one by one.",
        facts.runs.alone.samples,
        facts.kind()
    ));
    html += &wide(&table(&header, &[1, 2, 3], rows, false), "Prediction and measurement");
    if facts.runs.period().is_none() {
        html += &note(
            "The time between inputs under way together was not run: --in-flight was 1, or there was one request.",
        );
    }
    html
}
