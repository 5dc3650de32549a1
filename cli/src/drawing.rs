//! A plan as a picture: a column for every device, nodes from the first to the last, and what moves between them.

use crate::placing::{Costs, Placed, shortened, shown};
use crate::svg::{colour, escaped};
use std::collections::BTreeMap;
use std::fmt::Write;

/// Sizes in pixels.
const COLUMN: usize = 390;
const ROW: usize = 46;
const BOX: (usize, usize) = (300, 32);
/// Characters of a box beside the time.
const LABEL: usize = 25;
const TOP: usize = 92;
const LEFT: usize = 40;

/// The picture.
pub fn svg(title: &str, placed: &Placed, costs: &Costs) -> String {
    let Placed { problem, placement, plan, .. } = placed;
    let order = problem.order();
    let (width, height) = (LEFT * 2 + COLUMN * costs.devices.len(), TOP + ROW * order.len() + 30);
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\" \
         font-family=\"sans-serif\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n"
    );
    let title =
        format!("{title}: {} {}", placement.objective.name(), shown(placement.value, placement.objective.unit()));
    let _ = writeln!(text, "<text x=\"{LEFT}\" y=\"30\" font-size=\"18\">{}</text>", escaped(&title));
    for (device, name) in costs.names().iter().enumerate() {
        let busy = shown(placement.measure.loads[device].busy_seconds, "s");
        let (x, colour) = (LEFT + device * COLUMN, colour(device));
        let _ = writeln!(
            text,
            "<text x=\"{x}\" y=\"66\" font-size=\"15\" fill=\"{colour}\" font-weight=\"bold\">{}: busy {busy}</text>",
            escaped(name)
        );
    }
    let mut row = vec![0; order.len()];
    for (position, &n) in order.iter().enumerate() {
        row[n] = position;
    }
    let place = |n: usize| (LEFT + placement.assignment[n] * COLUMN, TOP + row[n] * ROW);
    // Lines first, so that boxes lie upon them.
    for (n, node) in problem.nodes().iter().enumerate() {
        for &value in &node.reads {
            let Some(maker) = problem.values()[value].maker else { continue };
            let ((x0, y0), (x1, y1)) = (place(maker), place(n));
            let crosses = placement.assignment[maker] != placement.assignment[n];
            let colour = if crosses { "#d08c00" } else { "#888888" };
            let path = if !crosses && row[n] > row[maker] + 1 {
                // Around the boxes between.
                let (x, y0, y1) = (x0 + BOX.0, y0 + BOX.1 / 2, y1 + BOX.1 / 2);
                let out = x + 18 + 6 * (row[n] - row[maker]).min(8);
                format!("M{x},{y0} C{out},{y0} {out},{y1} {x},{y1}")
            } else {
                let (x0, x1, y0) = (x0 + BOX.0 / 2, x1 + BOX.0 / 2, y0 + BOX.1);
                format!("M{x0},{y0} L{x1},{y1}")
            };
            let _ = writeln!(text, "<path d=\"{path}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.6\"/>");
        }
    }
    for (n, node) in problem.nodes().iter().enumerate() {
        let ((x, y), device) = (place(n), placement.assignment[n]);
        let (w, h) = BOX;
        let seconds = problem.cost(n, device).map_or(0.0, |c| c.seconds);
        let label = format!(
            "{} {}",
            plan.assignments[n].op,
            shortened(&node.name, LABEL.saturating_sub(plan.assignments[n].op.len()).max(6))
        );
        let (colour, middle) = (colour(device), y + h / 2 + 5);
        let _ = writeln!(
            text,
            "<g><title>{}</title><rect x=\"{x}\" y=\"{y}\" width=\"{w}\" height=\"{h}\" rx=\"5\" fill=\"{colour}\"/>\
             <text x=\"{}\" y=\"{middle}\" font-size=\"13\" fill=\"white\">{}</text>\
             <text x=\"{}\" y=\"{middle}\" font-size=\"12\" fill=\"white\" text-anchor=\"end\">{}</text></g>",
            escaped(&format!("{}: {}", node.name, plan.assignments[n].reason)),
            x + 8,
            escaped(&label),
            x + w - 8,
            shown(seconds, "s")
        );
    }
    // What comes to a box is told above it, and what goes from it to the host below it, each in one line.
    let mut told: BTreeMap<(usize, bool), (usize, u64, f64, usize)> = BTreeMap::new();
    for transfer in &placement.measure.transfers {
        let value = &problem.values()[transfer.value];
        let reader = problem
            .order()
            .iter()
            .find(|&&n| placement.assignment[n] == transfer.to && problem.nodes()[n].reads.contains(&transfer.value));
        let Some(&n) = reader.or(value.maker.as_ref()) else { continue };
        let (count, bytes, seconds, from) = told.entry((n, reader.is_some())).or_default();
        *from = transfer.from;
        *count += 1;
        *bytes += value.bytes;
        *seconds += transfer.end_seconds - transfer.begin_seconds;
    }
    for ((n, comes), (count, bytes, seconds, from)) in told {
        let (x, y) = place(n);
        let many = if count > 1 { format!("{count} values, ") } else { String::new() };
        let what = format!("{many}{bytes} B, {}", shown(seconds, "s"));
        let (x, y, anchor, label) = match comes {
            // Lines end in the middle of a box; the label is on the side that they do not come from.
            true if from < placement.assignment[n] => (x + BOX.0 / 2 + 8, y - 3, "start", format!("\u{2190} {what}")),
            true => (x + BOX.0 / 2 - 8, y - 3, "end", format!("\u{2190} {what}")),
            false => (x + BOX.0 - 4, y + BOX.1 + 11, "end", format!("\u{2192} host {what}")),
        };
        let _ = writeln!(
            text,
            "<text x=\"{x}\" y=\"{y}\" font-size=\"11\" fill=\"#8a5d00\" text-anchor=\"{anchor}\" stroke=\"white\" \
             stroke-width=\"3\" paint-order=\"stroke\">{}</text>",
            escaped(&label)
        );
    }
    text.push_str("</svg>\n");
    text
}
