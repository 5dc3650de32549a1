//! What all devices did, on one axis: the first requests one after the other, and the first of those that were under way together.

use super::Facts;
use super::page::{key, legend, note, paragraph, wide};
use crate::report::clocks;
use crate::svg::{self, Axis, colour, escaped, quantity};
use std::fmt::Write;
use tandem_runtime::{Replayed, Timeline};

/// Colours of requests: light, with dark text, and told apart by their numbers too.
const TINTS: [&str; 6] = ["#9ecae1", "#fdc07f", "#a1d99b", "#d4b9da", "#f4a6a0", "#c9c9c9"];
/// Requests that are shown, of those one after the other; and as many more than are under way together.
const SHOWN: usize = 3;
const MORE: usize = 4;
/// Runs of segments that a picture holds.
const RUNS: usize = 3000;
/// Sizes in pixels.
const WIDTH: f64 = 1100.0;
const LEFT: f64 = 120.0;
const TOP: f64 = 14.0;
const ROW: f64 = 26.0;
const COPIES: f64 = 14.0;
const REQUEST: f64 = 12.0;

/// The section.
pub fn html(facts: &Facts<'_>) -> String {
    let runs = &facts.runs;
    if runs.alone.runs.is_empty() {
        return paragraph("Nothing ran: the plan has no segments.");
    }
    let mut html = note(&format!(
        "Times are on each device's own clock: {}. For every device the row of what it computes and, thinner, that of its copies; \
         below them the requests, from the moment each was let in to its end. A number is that of the request; a bar shows its \
         operators under the pointer.",
        clocks(&runs.session)
    ));
    if facts.options.place.cpu_times != 1.0 {
        html += &note("The times of the CPU and of copies are projected.");
    }
    html += &legend([
        key("linear-gradient(90deg, #9ecae1 33%, #fdc07f 33% 66%, #a1d99b 66%)", "computes, a colour a request"),
        key("#5b6670", "copy to the device"),
        key("#aab4bd", "copy back"),
    ]);
    html += "<h3>One request after the other</h3>\n";
    html += &picture(facts, &runs.alone, 1, SHOWN);
    match &runs.together {
        Some(together) => {
            let _ = writeln!(html, "<h3>{} requests under way together</h3>", runs.in_flight);
            html += &picture(facts, together, runs.in_flight, runs.in_flight + MORE);
        }
        None => html += &note("Requests under way together: not run, as --in-flight was 1."),
    }
    html
}

fn picture(facts: &Facts<'_>, timeline: &Timeline, in_flight: usize, most: usize) -> String {
    // A request of very many segments is enough by itself.
    let each = (timeline.runs.len() / timeline.requests.len().max(1)).max(1);
    let count = most.min((RUNS / each).max(1)).min(timeline.requests.len());
    let first = timeline.runs.iter().map(|run| run.span.request).min().unwrap_or_default();
    let number = |run: &Replayed| (run.span.request - first) as usize;
    let end = timeline.requests[..count].iter().map(|(_, end)| *end).fold(0.0, f64::max);
    let x = Axis::linear(0.0, end, LEFT, WIDTH - 20.0);
    let used = facts.used();
    let rows = in_flight.min(count);
    let mut y = TOP;
    let mut tracks = Vec::new();
    for &index in &used {
        let has_copies = facts.costs.devices[index].device != tandem_plan::Device::Cpu;
        tracks.push((index, y, has_copies.then_some(y + ROW)));
        y += ROW + if has_copies { COPIES + 4.0 } else { 4.0 };
    }
    let requests = y + 4.0;
    let bottom = requests + REQUEST * rows as f64 + 4.0;
    let what = format!("Timeline of {count} requests, {in_flight} under way at most");
    let mut text = svg::begin(WIDTH, bottom + 44.0, &what);
    svg::below(&mut text, &x, (TOP - 4.0, bottom), "s", "time since the first request was let in");
    for &(index, y, copies) in &tracks {
        let _ = writeln!(
            text,
            "<text x=\"4\" y=\"{:.1}\" fill=\"{}\" font-weight=\"bold\">{}</text>",
            y + 16.0,
            colour(index),
            escaped(&crate::placing::shortened(&facts.names()[index], 15))
        );
        if let Some(y) = copies {
            let _ = writeln!(text, "<text x=\"16\" y=\"{:.1}\" fill=\"#444\" font-size=\"10\">copies</text>", y + 10.0);
        }
    }
    let ops = |run: &Replayed| {
        facts.runs.session.executor.profile().segments.get(run.span.row).map_or("", |segment| segment.ops.as_str())
    };
    for run in timeline.runs.iter().filter(|run| number(run) < count) {
        let Some(&(_, y, copies)) = tracks.iter().find(|track| facts.costs.devices[track.0].device == run.device)
        else {
            continue;
        };
        let request = number(run);
        let told = |what: &str, (begin, end): (f64, f64)| {
            format!(
                "request {}, segment {}, {what}: {} ({} to {})",
                request + 1,
                run.span.segment,
                quantity(end - begin, "s"),
                quantity(begin, "s"),
                quantity(end, "s")
            )
        };
        if let Some(y) = copies {
            bar(&mut text, &x, run.stage, (y, COPIES - 4.0), "#5b6670", &told("copy to the device", run.stage), "");
            bar(&mut text, &x, run.collect, (y, COPIES - 4.0), "#aab4bd", &told("copy back", run.collect), "");
        }
        let label = (request + 1).to_string();
        let what = told(ops(run), run.compute);
        bar(&mut text, &x, run.compute, (y + 2.0, ROW - 5.0), TINTS[request % TINTS.len()], &what, &label);
    }
    let _ = writeln!(text, "<text x=\"4\" y=\"{:.1}\" fill=\"#444\">requests</text>", requests + 10.0);
    for (request, &span) in timeline.requests[..count].iter().enumerate() {
        let y = requests + REQUEST * (request % rows.max(1)) as f64;
        let told = format!("request {}: {}", request + 1, quantity(span.1 - span.0, "s"));
        bar(&mut text, &x, span, (y, REQUEST - 2.0), TINTS[request % TINTS.len()], &told, &(request + 1).to_string());
    }
    text.push_str("</svg>\n");
    let all = timeline.requests.len();
    let caption = format!("The first {count} of {all} requests, {}.", quantity(end, "s"));
    format!("<figure>\n{}<figcaption>{}</figcaption>\n</figure>\n", wide(&text, &what), escaped(&caption))
}

/// A bar from one moment to another with its words under the pointer, and a label where it is wide enough.
fn bar(
    text: &mut String,
    x: &Axis,
    (begin, end): (f64, f64),
    (y, height): (f64, f64),
    fill: &str,
    told: &str,
    label: &str,
) {
    if end <= begin {
        return;
    }
    let (from, to) = (x.at(begin), x.at(end));
    let width = (to - from).max(0.4);
    let stroke = if width > 3.0 { " stroke=\"#555\" stroke-width=\"0.5\"" } else { "" };
    let _ = write!(
        text,
        "<rect x=\"{from:.2}\" y=\"{y:.1}\" width=\"{width:.2}\" height=\"{height:.1}\" fill=\"{fill}\"{stroke}>\
         <title>{}</title></rect>",
        escaped(told)
    );
    if !label.is_empty() && width > 8.0 + 7.0 * label.len() as f64 {
        let size = if height > 14.0 { 11 } else { 9 };
        let _ = write!(
            text,
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\" font-size=\"{size}\" fill=\"#111\" \
             pointer-events=\"none\">{label}</text>",
            (from + to) / 2.0,
            y + height / 2.0 + f64::from(size) / 2.0 - 1.5
        );
    }
    text.push('\n');
}
