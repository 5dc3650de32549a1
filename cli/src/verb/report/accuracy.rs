//! How often a classifier is right, and what it takes for what.

use super::Facts;
use super::page::{Cell, note, paragraph, table, wide};
use crate::labels;
use crate::svg::escaped;
use std::fmt::Write;

/// Classes of which every pair is shown, and classes that are listed where there are more.
const SQUARE: usize = 16;
const WORST: usize = 12;

/// The section.
pub fn html(facts: &Facts<'_>) -> String {
    let (Some((right, count)), Some((truth, classes))) = (facts.accuracy(), &facts.truth) else {
        return paragraph("Not measured, as no labels were given: --inputs and --labels measure it.");
    };
    let (low, high) = interval(right as f64, count as f64);
    let mut html = paragraph(&format!(
        "{:.1} % of {count} samples are right ({right}). If they were drawn at random from what the model will see, it would be right \
         on {:.1} % to {:.1} % of that, with 95 % confidence.",
        100.0 * right as f64 / count as f64,
        100.0 * low,
        100.0 * high
    ));
    // Samples by class and answer; a classifier of NaNs may have no answer.
    let mut pairs = vec![vec![0usize; *classes + 1]; *classes];
    for (output, label) in facts.outputs.iter().zip(truth) {
        let answer = labels::answer(output).unwrap_or(*classes).min(*classes);
        pairs[label.class][answer] += 1;
    }
    html += &if *classes <= SQUARE { square(&pairs) } else { worst(&pairs) };
    html
}

/// The interval of a part by Wilson, 95 %.
fn interval(right: f64, count: f64) -> (f64, f64) {
    const Z: f64 = 1.959_964;
    let part = right / count;
    let middle = part + Z * Z / (2.0 * count);
    let half = Z * (part * (1.0 - part) / count + Z * Z / (4.0 * count * count)).sqrt();
    let whole = 1.0 + Z * Z / count;
    (((middle - half) / whole).max(0.0), ((middle + half) / whole).min(1.0))
}

/// Every class against every answer.
fn square(pairs: &[Vec<usize>]) -> String {
    let classes = pairs.len();
    let answers = if pairs.iter().any(|row| row[classes] > 0) { classes + 1 } else { classes };
    let mut html = "<table class=\"matrix\">\n<thead><tr><th scope=\"col\">class</th>".to_owned();
    for answer in 0..answers {
        let name = if answer < classes { answer.to_string() } else { "none".to_owned() };
        let _ = write!(html, "<th scope=\"col\">{name}</th>");
    }
    html.push_str("<th scope=\"col\">samples</th><th scope=\"col\">right</th></tr></thead>\n<tbody>\n");
    for (class, row) in pairs.iter().enumerate() {
        let all: usize = row.iter().sum();
        let _ = write!(html, "<tr><th scope=\"row\">{class}</th>");
        for (answer, &count) in row.iter().enumerate().take(answers) {
            let part = count as f64 / all.max(1) as f64;
            // Light enough for dark text, whatever the part.
            let (red, green, blue) = if answer == class { (143, 195, 160) } else { (240, 150, 130) };
            let mix =
                |channel: i32| 255.0 - f64::from(255 - channel) * if count > 0 { 0.12 + 0.88 * part } else { 0.0 };
            let text = if count > 0 { count.to_string() } else { "\u{b7}".to_owned() };
            let _ = write!(
                html,
                "<td style=\"background:rgb({:.0},{:.0},{:.0})\">{}</td>",
                mix(red),
                mix(green),
                mix(blue),
                escaped(&text)
            );
        }
        let right = if all > 0 { format!("{:.0} %", 100.0 * row[class] as f64 / all as f64) } else { "-".to_owned() };
        let _ = writeln!(html, "<td>{all}</td><td>{right}</td></tr>");
    }
    html.push_str("</tbody>\n</table>\n");
    note("Rows are what the labels say, columns what the model says.") + &wide(&html, "Confusion table")
}

/// The classes that are right least often.
fn worst(pairs: &[Vec<usize>]) -> String {
    let classes = pairs.len();
    let mut rows: Vec<(f64, usize, usize)> = pairs
        .iter()
        .enumerate()
        .map(|(class, row)| (class, row, row.iter().sum::<usize>()))
        .filter(|(.., all)| *all > 0)
        .map(|(class, row, all)| (row[class] as f64 / all as f64, class, all))
        .collect();
    rows.sort_by(|a, b| a.0.total_cmp(&b.0).then(b.2.cmp(&a.2)).then(a.1.cmp(&b.1)));
    let seen = rows.len();
    let rows = rows.into_iter().take(WORST).map(|(part, class, all)| {
        let wrong = (0..=classes).filter(|&answer| answer != class).max_by_key(|&a| (pairs[class][a], usize::MAX - a));
        let wrong = wrong.filter(|&answer| pairs[class][answer] > 0);
        let wrong = wrong.map_or_else(
            || "-".to_owned(),
            |answer| match answer == classes {
                true => format!("none ({})", pairs[class][answer]),
                false => format!("{answer} ({})", pairs[class][answer]),
            },
        );
        vec![
            Cell::number(class as f64, &class.to_string()),
            Cell::number(all as f64, &all.to_string()),
            Cell::number(part, &format!("{:.0} %", 100.0 * part)),
            Cell::text(&wrong),
        ]
    });
    let text = format!("The model has {classes} classes, of which {seen} have samples; these are right least often.");
    let html = table(&["class", "samples", "right", "most often taken for"], &[0, 1, 2], rows, true);
    note(&text) + &wide(&html, "Classes that are right least often")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interval_holds_the_part_and_ends_within_0_and_1() {
        let (low, high) = interval(173.0, 200.0);
        assert!((low - 0.8107).abs() < 1e-3 && (high - 0.9055).abs() < 1e-3, "{low} {high}");
        assert!(interval(0.0, 10.0).0 < 1e-12 && (interval(10.0, 10.0).1 - 1.0).abs() < 1e-12);
    }

    #[test]
    fn every_sample_is_in_its_cell() {
        let html = square(&[vec![3, 1, 0], vec![0, 2, 0]]);
        assert!(html.contains(">3</td>") && html.contains("<td>4</td><td>75 %</td>"), "{html}");
        assert!(!html.contains("none"));
        let mut pairs = vec![vec![0; 31]; 30];
        (pairs[7][7], pairs[7][9], pairs[8][8]) = (1, 3, 5);
        let html = worst(&pairs);
        assert!(html.contains("9 (3)") && html.contains("of which 2 have samples"), "{html}");
        assert!(html.find("9 (3)") < html.find("100 %"));
    }
}
