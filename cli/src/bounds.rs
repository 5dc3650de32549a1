//! Times beside what a machine needs at least, as a picture.

use crate::svg::{Axis, below, colour, escaped, quantity, titled};
use std::collections::BTreeMap;
use std::fmt::Write;

/// Sizes in pixels.
const WIDTH: f64 = 860.0;
const MARGINS: (f64, f64, f64, f64) = (300.0, 70.0, 78.0, 52.0);
const ROW: f64 = 22.0;
/// What limits, in the order of its colours; anything else comes behind.
const KINDS: [&str; 2] = ["arithmetic", "memory"];

/// A workload.
pub struct Bound {
    /// What it is.
    pub name: String,
    /// Seconds that it took, and that it would take at the limit.
    pub taken: f64,
    pub limit: f64,
    /// What the limit is of.
    pub by: String,
}

/// The picture: a row for each workload, with its limit, its time and the former over the latter. Below the title stands a line on how they
/// were found. A colour is what limits.
pub fn svg(heading: (&str, &str), bounds: &[Bound]) -> String {
    let (left, right, top, bottom) = MARGINS;
    let end = top + ROW * bounds.len() as f64;
    let mut text = titled(WIDTH, end + bottom, heading);
    let axis = Axis::decades(bounds.iter().flat_map(|bound| [bound.taken, bound.limit]), left, WIDTH - right);
    below(
        &mut text,
        &axis,
        (top, end),
        "s",
        "bar: what the machine needs at least; dot: time taken; beside it: the former over the latter",
    );
    let kind = |bound: &Bound| KINDS.iter().position(|kind| *kind == bound.by).unwrap_or(KINDS.len());
    let kinds: BTreeMap<usize, &str> = bounds.iter().map(|bound| (kind(bound), bound.by.as_str())).collect();
    for (place, (&index, kind)) in kinds.iter().enumerate() {
        let x = 4.0 + 150.0 * place as f64;
        let _ = writeln!(
            text,
            "<rect x=\"{x:.1}\" y=\"46\" width=\"12\" height=\"12\" fill=\"{}\"/><text x=\"{:.1}\" y=\"56\" fill=\"#444\">{}</text>",
            colour(index),
            x + 17.0,
            escaped(kind)
        );
    }
    for (row, bound) in bounds.iter().enumerate() {
        let middle = top + ROW * (row as f64 + 0.5);
        let colour = colour(kind(bound));
        let (limit, taken) = (axis.at(bound.limit), axis.at(bound.taken));
        let label =
            format!("{}: {} of at least {}", bound.name, quantity(bound.taken, "s"), quantity(bound.limit, "s"));
        let _ = writeln!(
            text,
            "<g><title>{}</title><text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\" fill=\"#222\">{}</text>\
             <rect x=\"{left:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"10\" fill=\"{colour}\"/>\
             <line x1=\"{limit:.1}\" y1=\"{middle:.1}\" x2=\"{taken:.1}\" y2=\"{middle:.1}\" stroke=\"{colour}\" stroke-dasharray=\"2 2\"/>\
             <circle cx=\"{taken:.1}\" cy=\"{middle:.1}\" r=\"4\" fill=\"{colour}\"/>\
             <text x=\"{:.1}\" y=\"{:.1}\" fill=\"#222\">{:.0} %</text></g>",
            escaped(&label),
            left - 8.0,
            middle + 4.0,
            escaped(&bound.name),
            middle - 5.0,
            limit - left,
            taken.max(limit) + 8.0,
            middle + 4.0,
            100.0 * bound.limit / bound.taken,
        );
    }
    text.push_str("</svg>\n");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_workload_has_a_row_with_its_part_of_the_limit() {
        let bound = |name: &str, taken, by: &str| Bound { name: name.into(), taken, limit: 1e-4, by: by.into() };
        let text = svg(("times", "here"), &[bound("a <b>", 2e-4, "memory"), bound("c", 1e-3, "arithmetic")]);
        assert!(text.contains("a &lt;b&gt;") && text.contains(">50 %<") && text.contains(">10 %<"), "{text}");
        assert!(text.contains("a &lt;b&gt;: 200 us of at least 100 us"), "{text}");
        assert_eq!((text.matches("<circle").count(), text.matches("memory").count()), (2, 1));
        assert!(svg(("none", ""), &[]).ends_with("</svg>\n"));
    }
}
