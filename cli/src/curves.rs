//! Curves over a number, such as trials, as a picture.

use crate::svg::{Axis, below, beside, colour, escaped, titled};
use std::fmt::Write;

/// Sizes in pixels.
const SIZE: (f64, f64) = (760.0, 420.0);
const MARGINS: (f64, f64, f64, f64) = (64.0, 170.0, 64.0, 56.0);
/// Dashes by which curves of one colour differ.
const DASHES: [&str; 3] = ["", "7 4", "2 3"];
/// The least distance of names, in pixels.
const LINE: f64 = 15.0;

/// A curve: its name, and its points from the left to the right.
pub struct Curve {
    /// What it is of.
    pub name: String,
    /// Numbers and percentages.
    pub points: Vec<(f64, f64)>,
}

/// What is between two points of a curve.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// Each value holds up to the next one.
    Steps,
    /// A straight line.
    Lines,
}

/// The picture of curves over decades. Below the title stands a line on how they were found.
pub fn svg(heading: (&str, &str), (across, up): (&str, &str), shape: Shape, curves: &[Curve]) -> String {
    let ((width, height), (left, right, top, bottom)) = (SIZE, MARGINS);
    let mut text = titled(width, height, heading);
    let all = || curves.iter().flat_map(|curve| &curve.points);
    let highest = all().map(|(_, y)| *y).filter(|y| y.is_finite()).fold(0.0, f64::max);
    let x = Axis::decades(all().map(|(x, _)| *x), left, width - right);
    let y = Axis::linear(0.0, 1.03 * highest, height - bottom, top);
    below(&mut text, &x, (top, height - bottom), "", across);
    beside(&mut text, &y, (left, width - right), "%", up);
    let mut names: Vec<(f64, usize)> = Vec::new();
    for (index, curve) in curves.iter().enumerate() {
        let mut places = curve.points.iter().map(|&(trial, value)| (x.at(trial), y.at(value)));
        let Some((mut end, mut place)) = places.next() else { continue };
        let mut path = format!("M{end:.1},{place:.1}");
        for (across, up) in places {
            let _ = match shape {
                Shape::Steps => write!(path, " H{across:.1} V{up:.1}"),
                Shape::Lines => write!(path, " L{across:.1},{up:.1}"),
            };
            (end, place) = (across, up);
        }
        let dash = DASHES[index / 4 % DASHES.len()];
        let _ = writeln!(
            text,
            "<path d=\"{path}\" fill=\"none\" stroke=\"{}\" stroke-width=\"1.8\" stroke-dasharray=\"{dash}\"/>",
            colour(index)
        );
        let _ = writeln!(text, "<circle cx=\"{end:.1}\" cy=\"{place:.1}\" r=\"3\" fill=\"{}\"/>", colour(index));
        names.push((place, index));
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
        let text = svg(("title", "how"), ("trials", "cycles"), Shape::Steps, &curves);
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
