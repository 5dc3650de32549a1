//! Curves over a number of trials as a picture.

use crate::svg::{Axis, begin, below, beside, colour, escaped};
use std::fmt::Write;

/// Sizes in pixels.
const SIZE: (f64, f64) = (760.0, 420.0);
const MARGINS: (f64, f64, f64, f64) = (64.0, 150.0, 46.0, 56.0);
/// Dashes by which curves of one colour differ.
const DASHES: [&str; 3] = ["", "7 4", "2 3"];
/// The least distance of names, in pixels.
const LINE: f64 = 15.0;

/// A curve: its name, and its points from the left to the right.
pub struct Curve {
    /// What it is of.
    pub name: String,
    /// Trials and percentages.
    pub points: Vec<(f64, f64)>,
}

/// The picture of step curves: each value holds up to the next one. The axis of values begins at `floor`.
pub fn svg(title: &str, (across, up): (&str, &str), curves: &[Curve], floor: f64) -> String {
    let ((width, height), (left, right, top, bottom)) = (SIZE, MARGINS);
    let mut text = begin(width, height, title);
    let _ = writeln!(
        text,
        "<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n<text x=\"4\" y=\"16\" font-size=\"14\" fill=\"#222\">{}</text>",
        escaped(title)
    );
    let all = || curves.iter().flat_map(|curve| &curve.points);
    let last = all().map(|(x, _)| *x).fold(1.0, f64::max);
    let highest = all().map(|(_, y)| *y).filter(|y| y.is_finite()).fold(floor, f64::max);
    let x = Axis::linear(0.0, last, left, width - right);
    let y = Axis::linear(floor, highest + 0.03 * (highest - floor), height - bottom, top);
    below(&mut text, &x, (top, height - bottom), "", across);
    beside(&mut text, &y, (left, width - right), "%", up);
    let mut names: Vec<(f64, usize)> = Vec::new();
    for (index, curve) in curves.iter().enumerate() {
        let Some(&(first, value)) = curve.points.first() else { continue };
        let mut path = format!("M{:.1},{:.1}", x.at(first), y.at(value));
        for &(trial, value) in &curve.points[1..] {
            let _ = write!(path, " H{:.1} V{:.1}", x.at(trial), y.at(value));
        }
        let dash = DASHES[index / 4 % DASHES.len()];
        let _ = writeln!(
            text,
            "<path d=\"{path}\" fill=\"none\" stroke=\"{}\" stroke-width=\"1.8\" stroke-dasharray=\"{dash}\"/>",
            colour(index)
        );
        names.push((curve.points.last().map_or(0.0, |(_, value)| y.at(*value)), index));
    }
    // Names stand where their curves end, from the top to the bottom, as far apart as they must.
    names.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    let lowest = height - bottom;
    for at in 0..names.len() {
        let room = lowest - LINE * (names.len() - 1 - at) as f64;
        let above = if at == 0 { top } else { names[at - 1].0 + LINE };
        names[at].0 = names[at].0.min(room).max(above);
    }
    for (place, index) in names {
        let _ = writeln!(
            text,
            "<line x1=\"{:.1}\" y1=\"{place:.1}\" x2=\"{:.1}\" y2=\"{place:.1}\" stroke=\"{colour}\" stroke-width=\"1.8\" \
             stroke-dasharray=\"{}\"/><text x=\"{:.1}\" y=\"{:.1}\" fill=\"{colour}\">{}</text>",
            width - right + 6.0,
            width - right + 28.0,
            DASHES[index / 4 % DASHES.len()],
            width - right + 33.0,
            place + 4.0,
            escaped(&curves[index].name),
            colour = colour(index),
        );
    }
    text.push_str("</svg>\n");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn curves_are_steps_with_names_that_do_not_overlap() {
        let curve = |name: &str, points: &[(f64, f64)]| Curve { name: name.into(), points: points.to_vec() };
        let curves = [
            curve("a<b", &[(1.0, 100.0), (5.0, 50.0)]),
            curve("same", &[(1.0, 100.0), (9.0, 50.0)]),
            curve("none", &[]),
        ];
        let text = svg("title", ("trials", "cycles"), &curves, 0.0);
        assert_eq!(text.matches("<path").count(), 2);
        assert!(text.contains("a&lt;b") && text.contains(" H") && !text.contains("NaN"), "{text}");
        let places: Vec<f64> = ["a&lt;b", "same"]
            .iter()
            .filter_map(|name| {
                let before = text.split(&format!(">{name}<")).next()?;
                before.rsplit(" y=\"").next()?.split('"').next()?.parse().ok()
            })
            .collect();
        assert!((places[0] - places[1]).abs() >= LINE - 0.1, "{places:?}");
    }
}
