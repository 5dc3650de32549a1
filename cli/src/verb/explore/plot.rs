//! An exploration as a picture: for each model, the time of an inference over look-up tables.

use super::outcome::{Design, Outcome};
use crate::svg::{self, Axis, colour, escaped, quantity};
use std::fmt::Write;

/// Sizes in pixels.
const WIDTH: f64 = 860.0;
const HEAD: f64 = 44.0;
const HEIGHT: f64 = 330.0;
const LEFT: f64 = 80.0;
const RIGHT: f64 = 830.0;
const TOP: f64 = 60.0;
const BOTTOM: f64 = 270.0;

/// The picture: designs as discs, as large as their share of block RAMs, the front joined by a line, and a ring around those placed.
pub fn svg(outcome: &Outcome) -> String {
    let label =
        format!("{} designs of {}: time of an inference over look-up tables", outcome.designs.len(), outcome.board);
    let height = HEAD + 10.0 + HEIGHT * outcome.models.len() as f64;
    let mut text = svg::begin(WIDTH, height, &label);
    text.push_str("<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n");
    let lines = [
        (15, format!("{}: {} designs on simulated hardware", outcome.board, outcome.designs.len())),
        (
            12,
            format!(
                "memory '{}', clock foretold; dark: on the front, large: many block RAMs, ring: placed and routed",
                outcome.dram
            ),
        ),
    ];
    for (line, (size, words)) in lines.iter().enumerate() {
        let y = 20 + 18 * line;
        let _ = writeln!(text, "<text x=\"4\" y=\"{y}\" font-size=\"{size}\">{}</text>", escaped(words));
    }
    for model in 0..outcome.models.len() {
        let _ = writeln!(text, "<g transform=\"translate(0 {:.0})\">", HEAD + HEIGHT * model as f64);
        panel(&mut text, outcome, model);
        text.push_str("</g>\n");
    }
    text.push_str("</svg>\n");
    text
}

/// One model.
fn panel(text: &mut String, outcome: &Outcome, model: usize) {
    let lut = |design: &Design| design.taken.get("LUT").copied().unwrap_or(0) as f64;
    let time = |design: &Design| design.microseconds.get(model).copied().unwrap_or(0.0) / 1e6;
    let most = outcome.designs.iter().map(lut).fold(0.0, f64::max);
    let across = Axis::linear(0.0, most * 1.05, LEFT, RIGHT);
    let up = Axis::decades(outcome.designs.iter().map(time), BOTTOM, TOP);
    svg::below(text, &across, (TOP, BOTTOM), "", "look-up tables");
    let name = outcome.models.get(model).map_or("", |facts| facts.name.as_str());
    svg::beside(text, &up, (LEFT, RIGHT), "s", &format!("time of an inference of {name}"));
    // Of this panel: other models and resources keep more designs on the front than lie on this line.
    let mut steps: Vec<(f64, f64)> = outcome.designs.iter().map(|design| (lut(design), time(design))).collect();
    steps.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1)));
    let mut path = String::new();
    let mut best = f64::INFINITY;
    for (lut, time) in steps {
        if time < best {
            let (x, y) = (across.at(lut), up.at(time));
            let _ = match best.is_finite() {
                true => write!(path, " H{x:.1} V{y:.1}"),
                false => write!(path, "M{x:.1} {y:.1}"),
            };
            best = time;
        }
    }
    if !path.is_empty() {
        let _ = writeln!(text, "<path d=\"{path}\" fill=\"none\" stroke=\"{}\" stroke-dasharray=\"4 3\"/>", colour(1));
    }
    // Those on the front lie upon the others.
    let (front, others): (Vec<&Design>, Vec<&Design>) = outcome.designs.iter().partition(|design| design.on_front);
    for design in others.into_iter().chain(front) {
        let radius = 3.0 + (design.taken.get("BRAM").copied().unwrap_or(0) as f64).sqrt() * 0.5;
        let (x, y) = (across.at(lut(design)), up.at(time(design)));
        let facts = design.config.facts();
        let told = format!(
            "{}: {}x{}x{}, bus {}, {}, {} LUT, {:.1} MHz",
            design.digest,
            facts.batch,
            facts.block_in,
            facts.block_out,
            facts.bus_bits,
            quantity(time(design), "s"),
            lut(design),
            design.fmax_mhz
        );
        let fill = if design.on_front { colour(0) } else { "#bbbbbb" };
        let ring = if design.placed.is_some() {
            format!(" stroke=\"{}\" stroke-width=\"3\"", colour(1))
        } else {
            String::new()
        };
        let _ = writeln!(
            text,
            "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{radius:.1}\" fill=\"{fill}\" fill-opacity=\"0.8\"{ring}><title>{}</title></circle>",
            escaped(&told)
        );
    }
}
