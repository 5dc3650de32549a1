//! A report for people.

use crate::table::{percent, table};
use crate::verb::bench::peaks;
use serde_json::Value;
use tandem_gpu::Timing;

/// All of it.
pub fn all(report: &Value) -> String {
    let rows = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let device = &report["device"];
    let mut text = format!(
        "{}, {} multiprocessors, CUDA {}, NVRTC {}, {}, seed {}\n",
        words(&device["name"]),
        device["multiprocessors"],
        words(&device["details"]["driver_cuda"]),
        words(&device["nvrtc"]),
        words(&report["date"]),
        report["seed"]
    );
    if report["peaks"].is_array() {
        text += &peaks::as_table(&rows(&report["peaks"]));
    }
    if let Some(source) = report["limits"]["source"].as_str() {
        text += &format!("Limits: {source}.\n");
    }
    text += &kernels(&rows(&report["kernels"]), &rows(&report["rivals"]["rows"]));
    if let Some(why) = report["rivals"]["not_measured"].as_str() {
        text += &format!("Others were not measured: {why}.\n");
    }
    text += &check(&rows(&report["check"]), rows(&report["left_out"]).len());
    if let Some(opcodes) = report["vectors"]["opcodes"].as_u64() {
        let mistakes = &report["vectors"]["mistakes"];
        text += &format!("{mistakes} of {opcodes} instructions differ from the simulator where nothing is open\n");
    }
    text + &targets(&rows(&report["targets"]))
}

fn words(value: &Value) -> &str {
    value.as_str().unwrap_or("-")
}

fn kernels(rows: &[Value], rivals: &[Value]) -> String {
    let cells = rows.iter().enumerate().map(|(at, row)| {
        let number = |name: &str| row[name].as_f64();
        let work = |name: &str| row["work"][name].as_f64().unwrap_or(0.0);
        let us = number("median_us");
        let per_us =
            |amount: f64, unit: f64| us.map_or_else(|| "-".to_owned(), |us| format!("{:.2}", amount / us / unit));
        let clock = row["clocks"]["sm_mhz"].as_f64().map_or_else(|| "-".to_owned(), |mhz| format!("{mhz:.0}"));
        let beside: Vec<String> = rivals
            .iter()
            .filter(|rival| rival["case"] == at)
            .filter_map(|rival| {
                let (theirs, ours) = (rival["median_us"].as_f64()?, us?);
                Some(format!("{} {theirs:.1} us, {:.2} x", words(&rival["rival"]), theirs / ours))
            })
            .collect();
        let last = row["error"].as_str().map_or_else(|| beside.join("; "), |error| format!("failed: {error}"));
        vec![
            words(&row["kernel"]).to_owned(),
            words(&row["workload"]).to_owned(),
            us.map_or_else(|| "-".to_owned(), |us| format!("{us:.1}{}", if is_short(row) { " *" } else { "" })),
            per_us(work("flops") + work("int_ops"), 1e6),
            per_us(work("dram_bytes"), 1e3),
            percent(number("fraction_of_limit")),
            clock,
            last,
        ]
    });
    let header =
        ["kernel", "workload", "median us", "Top/s", "GB/s", "of limit", "SM MHz", "others, and times our speed"];
    if rows.is_empty() {
        return String::new();
    }
    let note = "* of fewer launches or runs than figures are quoted for\n";
    table(&header, &[2, 3, 4, 5, 6], cells) + if rows.iter().any(is_short) { note } else { "" }
}

/// Whether a time is of fewer runs than figures are quoted for.
fn is_short(row: &Value) -> bool {
    let fewer = |name: &str, usual: usize| row[name].as_u64().is_some_and(|count| count < usual as u64);
    fewer("launches", Timing::USUAL.launches) || fewer("runs", Timing::USUAL.graphs)
}

fn check(rows: &[Value], left_out: usize) -> String {
    let wrong: Vec<&Value> = rows.iter().filter(|row| row["agrees"] != true).collect();
    let mut text =
        format!("{} of {} comparisons differ or failed, {left_out} left to the reference\n", wrong.len(), rows.len());
    for row in wrong {
        let why = row["error"].as_str().unwrap_or("the results differ");
        text += &format!("  {} {}: {why}\n", words(&row["kernel"]), words(&row["sample"]));
    }
    text
}

fn targets(rows: &[Value]) -> String {
    let cells = rows.iter().map(|row| {
        let shown = |value: Option<f64>| match (value, row["unit"].as_str()) {
            (None, _) => "-".to_owned(),
            (Some(value), Some("of the measured bandwidth")) => percent(Some(value)),
            (Some(value), _) => format!("{:.1} Top/s", value / 1e12),
        };
        let verdict = match (row["met"].as_bool(), row["missed_by"].as_f64()) {
            (Some(true), _) => "met".to_owned(),
            (_, Some(by)) => format!("missed by {}", percent(Some(by))),
            _ => format!("not measured: {}", words(&row["not_measured"])),
        };
        vec![words(&row["name"]).to_owned(), shown(row["least"].as_f64()), shown(row["measured"].as_f64()), verdict]
    });
    table(&["target", "at least", "measured", "verdict"], &[1, 2], cells)
}
