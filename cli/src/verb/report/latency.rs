//! How long inputs took: the part of them that was done within a time.

use super::Facts;
use super::page::{Cell, key, legend, note, paragraph, table, wide};
use crate::svg::{self, Axis, quantity};
use std::fmt::Write;
use tandem_runtime::Timeline;

/// Percentiles that are told.
const PERCENTILES: [f64; 5] = [1.0, 50.0, 90.0, 99.0, 100.0];
/// Lines of requests one after the other, and of those under way together.
const LINES: [&str; 2] = ["#33658a", "#b5523b"];
/// Sizes in pixels: the picture, and the frame in it.
const SIZE: (f64, f64) = (720.0, 270.0);
const FRAME: (f64, f64, f64, f64) = (60.0, 30.0, 690.0, 218.0);

/// The section.
pub fn html(facts: &Facts<'_>) -> String {
    let batch = facts.runs.batch as f64;
    let sorted = |timeline: &Timeline| {
        let mut all: Vec<f64> = timeline.requests.iter().map(|(begin, end)| (end - begin) / batch).collect();
        all.sort_by(f64::total_cmp);
        all
    };
    let mut series = vec![("one request after the other".to_owned(), sorted(&facts.runs.alone))];
    if let Some(together) = &facts.runs.together {
        series.push((format!("{} requests under way", facts.runs.in_flight), sorted(together)));
    }
    series.retain(|(_, all)| !all.is_empty());
    if series.is_empty() {
        return paragraph("No request was run.");
    }
    let batches = if facts.runs.batch > 1 {
        format!(" The time of a request is divided by its {} inputs.", facts.runs.batch)
    } else {
        String::new()
    };
    let mut html = note(&format!(
        "From the inputs of a request to its outputs; {}.{batches} A request that waits for others under way takes longer, and more \
         of them are done in a second.",
        facts.kind()
    ));
    html += &wide(&picture(&series), "Distribution of latencies");
    html += &legend(series.iter().zip(LINES).map(|((name, _), colour)| key(colour, name)));
    let mut header = vec!["requests".to_owned(), "inputs".to_owned()];
    header.extend(PERCENTILES.map(|p| format!("{p} %")));
    header.push("a second".to_owned());
    let header: Vec<&str> = header.iter().map(String::as_str).collect();
    let timelines = [Some(&facts.runs.alone), facts.runs.together.as_ref()];
    let rows = series.iter().zip(timelines.into_iter().flatten()).map(|((name, all), timeline)| {
        let samples = timeline.samples as f64;
        let mut cells = vec![Cell::text(name), Cell::number(samples, &samples.to_string())];
        cells.extend(PERCENTILES.map(|p| {
            let value = percentile(all, p);
            Cell::number(value, &quantity(value, "s"))
        }));
        let rate = timeline.throughput();
        cells.push(Cell::number(rate, &quantity(rate, "")));
        cells
    });
    html + &wide(&table(&header, &[1, 2, 3, 4, 5, 6, 7], rows, false), "Percentiles")
}

/// The value that as many percent are not above, of sorted values of which there is one.
fn percentile(sorted: &[f64], percent: f64) -> f64 {
    let rank = (percent / 100.0 * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.clamp(1, sorted.len().max(1)) - 1).copied().unwrap_or_default()
}

fn picture(series: &[(String, Vec<f64>)]) -> String {
    let (left, top, right, bottom) = FRAME;
    // A few outliers would push all else together; the table has them.
    let most = series.iter().map(|(_, all)| (1.5 * percentile(all, 90.0)).min(percentile(all, 100.0)));
    let most = most.fold(0.0, f64::max) * 1.02;
    let (x, y) = (Axis::linear(0.0, most, left, right), Axis::linear(0.0, 100.0, bottom, top));
    let mut text = svg::begin(SIZE.0, SIZE.1, "Part of the inputs that were done within a time");
    svg::below(&mut text, &x, (top, bottom), "s", "latency of an input");
    svg::beside(&mut text, &y, (left, right), "%", "inputs done within it");
    for ((_, all), colour) in series.iter().zip(LINES) {
        let mut path = format!("M{:.1},{bottom:.1}", x.at(0.0));
        for (i, &value) in all.iter().enumerate() {
            if value > most {
                break;
            }
            let _ = write!(path, " H{:.2} V{:.2}", x.at(value), y.at(100.0 * (i + 1) as f64 / all.len() as f64));
        }
        let _ = writeln!(text, "<path d=\"{path} H{right:.1}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>");
        let median = percentile(all, 50.0);
        let _ = writeln!(
            text,
            "<circle cx=\"{:.1}\" cy=\"{:.1}\" r=\"4\" fill=\"{colour}\"><title>median {}</title></circle>",
            x.at(median),
            y.at(50.0),
            quantity(median, "s")
        );
    }
    text + "</svg>\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_one_of_the_values() {
        let all: Vec<f64> = (1..=200).map(f64::from).collect();
        assert_eq!([0.0, 50.0, 99.0, 100.0].map(|p| percentile(&all, p)), [1.0, 100.0, 198.0, 200.0]);
        assert_eq!((percentile(&[7.0], 50.0), percentile(&[], 50.0)), (7.0, 0.0));
    }
}
