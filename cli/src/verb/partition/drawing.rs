//! A plan as a picture: a column for every device, nodes from the first to the last, and what moves between them.

use crate::placing::{Costs, Placed, shortened, shown};
use crate::svg::escaped;
use std::fmt::Write;

/// Colours of devices, dark enough for white text.
const COLOURS: [&str; 4] = ["#33658a", "#b5523b", "#3c7a57", "#6b4e8e"];
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
    for transfer in &placement.measure.transfers {
        let value = &problem.values()[transfer.value];
        let seconds = transfer.end_seconds - transfer.begin_seconds;
        let reader = problem
            .order()
            .iter()
            .find(|&&n| placement.assignment[n] == transfer.to && problem.nodes()[n].reads.contains(&transfer.value));
        // A result goes to the host, and an input comes from it, beside the boxes.
        let Some((x, y)) = reader.or(value.maker.as_ref()).map(|&n| place(n)) else { continue };
        let arrow = if reader.is_some() { "\u{2190}" } else { "\u{2192} host" };
        let label = format!("{arrow} {} B, {}", value.bytes, shown(seconds, "s"));
        let y = if reader.is_some() { y - 3 } else { y + BOX.1 + 11 };
        let _ = writeln!(
            text,
            "<text x=\"{}\" y=\"{y}\" font-size=\"11\" fill=\"#8a5d00\">{}</text>",
            x + 4,
            escaped(&label)
        );
    }
    text.push_str("</svg>\n");
    text
}

fn colour(device: usize) -> &'static str {
    COLOURS[device % COLOURS.len()]
}
