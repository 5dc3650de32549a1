//! What moves between devices, and what memory they need.

use super::Facts;
use super::page::{Cell, note, paragraph, table, tall, wide};
use crate::svg::quantity;
use crate::table::grouped;
use tandem_graph::pass::memory;

/// The section.
pub fn html(facts: &Facts<'_>) -> String {
    let placed = &facts.placed;
    let measure = &placed.placement.measure;
    let names = facts.names();
    let mut html = String::new();
    if measure.transfers.is_empty() {
        html +=
            &paragraph("Nothing moves between devices: all that runs is on one that has inputs and outputs at hand.");
    } else {
        let bytes: u64 = measure.transfers.iter().map(|t| placed.problem.values()[t.value].bytes).sum();
        let count = measure.transfers.len();
        html += &note(&format!(
            "{count} transfers an input, {} bytes as they lie on the device, padded lanes included; times are predicted.",
            grouped(bytes)
        ));
        let rows = measure.transfers.iter().map(|transfer| {
            let value = &placed.problem.values()[transfer.value];
            let seconds = transfer.end_seconds - transfer.begin_seconds;
            vec![
                Cell::text(&value.name).with("name"),
                Cell::text(&names[transfer.from]),
                Cell::text(&names[transfer.to]),
                Cell::number(value.bytes as f64, &grouped(value.bytes)),
                Cell::number(seconds, &quantity(seconds, "s")),
            ]
        });
        let inner = table(&["value", "from", "to", "bytes", "time"], &[3, 4], rows, true);
        html += &if count > 12 { tall(&inner, "Transfers") } else { wide(&inner, "Transfers") };
    }
    let rows = measure.loads.iter().enumerate().map(|(index, load)| {
        let number = |bytes: u64| Cell::number(bytes as f64, &grouped(bytes));
        vec![Cell::text(&names[index]), number(load.held_bytes), number(load.live_bytes), number(load.needed_bytes())]
    });
    let inner = table(&["device", "weights, bytes", "values at most, bytes", "together"], &[1, 2, 3], rows, true);
    html += &format!("<h3>Memory of one input under way</h3>\n{}", wide(&inner, "Memory by device"));
    let plan = memory::plan(&facts.graph, &memory::Options::default());
    html + &note(&format!(
        "All intermediate results of the graph in one arena with reuse take {} bytes, {} without reuse; `tandem graph memory` draws it.",
        grouped(plan.peak as u64),
        grouped(plan.sum as u64)
    ))
}
