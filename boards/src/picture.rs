//! The die with what lies where: a picture of a placed design, coloured by block.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::board::{Board, Flow};
use crate::placement::Placement;
use crate::report::Report;

/// Colours of blocks, the largest first; the last is for all the others.
const COLOURS: [&str; 12] = [
    "#1f77b4", "#ff7f0e", "#2ca02c", "#d62728", "#9467bd", "#17becf", "#e377c2", "#bcbd22", "#8c564b", "#003f5c",
    "#7f9f00", "#8a8f98",
];
/// Depth of the names that get a colour: `board.core.gemm`, and what is within it.
const DEPTH: usize = 3;
/// Width of the die in the picture.
const DIE: f64 = 720.0;
/// Width of the legend.
const LEGEND: f64 = 250.0;
const MARGIN: f64 = 24.0;
/// Room for title and subtitle.
const HEAD: f64 = 64.0;
/// Cells in a tile at which it is drawn without transparency, by family.
const FULL: [(Flow, u32); 3] = [(Flow::Ecp5, 16), (Flow::Ice40, 8), (Flow::Gowin, 14)];

/// A tile: cells by colour, and whether it is one large block.
#[derive(Default)]
struct Tile {
    cells: BTreeMap<usize, u32>,
    large: bool,
}

/// The picture as SVG.
pub fn floor_plan(board: &Board, report: &Report, placement: &Placement) -> String {
    let groups = groups(placement);
    let (columns, rows) = extent(board, placement);
    let scale = DIE / f64::from(columns.max(rows));
    let (width, height) = (f64::from(columns) * scale, f64::from(rows) * scale);
    let total = (2.0 * MARGIN + width + MARGIN + LEGEND, (HEAD + height + MARGIN).max(HEAD + 460.0));
    let mut svg = String::new();
    let _ = write!(
        svg,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {:.0} {:.0}\" font-family=\"sans-serif\" font-size=\"13\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n\
         <text x=\"{MARGIN}\" y=\"30\" font-size=\"20\" font-weight=\"bold\">{}</text>\n\
         <text x=\"{MARGIN}\" y=\"50\" fill=\"#555\">{}: {} MACs at {:.1} MHz, {:.2} GOPS at most; configuration {}, seed {}</text>\n",
        total.0,
        total.1,
        escape(&board.title),
        escape(&board.part),
        report.macs,
        report.clock_hz as f64 / 1e6,
        report.peak_gops,
        report.config_digest,
        report.seed
    );
    let _ = writeln!(
        svg,
        "<g transform=\"translate({MARGIN} {HEAD}) scale({scale:.4})\">\n\
         <rect width=\"{columns}\" height=\"{rows}\" fill=\"#f2f3f5\" stroke=\"#444\" vector-effect=\"non-scaling-stroke\"/>"
    );
    for ((colour, level), path) in paths(board, placement, &groups, rows) {
        let opacity = [0.35, 0.6, 1.0][level];
        let _ = writeln!(svg, "<path fill=\"{}\" fill-opacity=\"{opacity}\" d=\"{path}\"/>", COLOURS[colour]);
    }
    svg.push_str("</g>\n");
    legend(&mut svg, report, &groups, width + 2.0 * MARGIN);
    svg.push_str("</svg>\n");
    svg
}

/// Blocks that get a colour: name, number of cells; and the colour of every block.
struct Groups {
    named: Vec<(String, usize)>,
    colours: Vec<usize>,
}

fn groups(placement: &Placement) -> Groups {
    let short = |block: &str| block.split('.').take(DEPTH).collect::<Vec<_>>().join(".");
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for cell in &placement.cells {
        *counts.entry(short(&placement.blocks[cell.block])).or_default() += 1;
    }
    let mut named: Vec<(String, usize)> = counts.into_iter().collect();
    named.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(&b.0)));
    let last = COLOURS.len() - 1;
    let rank: BTreeMap<String, usize> =
        named.iter().enumerate().map(|(i, (name, _))| (name.clone(), i.min(last))).collect();
    let colours = placement.blocks.iter().map(|block| rank.get(&short(block)).copied().unwrap_or(last)).collect();
    if named.len() > COLOURS.len() {
        let rest = named.split_off(last);
        named.push((format!("{} others", rest.len()), rest.iter().map(|(_, count)| count).sum()));
    }
    Groups { named, colours }
}

/// Columns and rows of the die.
fn extent(board: &Board, placement: &Placement) -> (u32, u32) {
    let known = match board.device.as_str() {
        "85k" => (127, 96),
        "25k" => (73, 51),
        "up5k" => (26, 32),
        "GW2A-18C" => (56, 55),
        _ => (1, 1),
    };
    placement.cells.iter().fold(known, |(x, y), cell| (x.max(cell.x + 1), y.max(cell.y + 1)))
}

/// Outlines by colour and strength. Tiles of a row that look alike are one rectangle.
fn paths(board: &Board, placement: &Placement, groups: &Groups, rows: u32) -> BTreeMap<(usize, usize), String> {
    let mut tiles: BTreeMap<(u32, u32), Tile> = BTreeMap::new();
    for cell in &placement.cells {
        // Row 0 of an iCE40 is at the bottom.
        let y = if board.flow == Flow::Ice40 { rows - 1 - cell.y } else { cell.y };
        let tile = tiles.entry((y, cell.x)).or_default();
        *tile.cells.entry(groups.colours[cell.block]).or_default() += 1;
        let large = ["DP16KD", "MULT", "ICESTORM_RAM", "ICESTORM_DSP", "ICESTORM_SPRAM", "EHXPLLL", "rPLL", "ALU54"];
        let large = large.iter().any(|word| cell.kind.starts_with(word));
        tile.large |= large || (board.flow == Flow::Gowin && cell.kind.contains("DP"));
    }
    let full = FULL.iter().find(|(flow, _)| *flow == board.flow).map_or(8, |(_, full)| *full);
    let mut paths: BTreeMap<(usize, usize), String> = BTreeMap::new();
    let mut run: Option<((usize, usize), u32, u32, u32)> = None;
    let mut flush = |run: &mut Option<((usize, usize), u32, u32, u32)>| {
        if let Some((look, y, from, to)) = run.take() {
            let path = paths.entry(look).or_default();
            let _ = write!(path, "M{from} {y}h{}v1h-{}z", to - from, to - from);
        }
    };
    for ((y, x), tile) in tiles {
        let Some((&colour, _)) = tile.cells.iter().max_by_key(|(colour, count)| (**count, usize::MAX - **colour))
        else {
            continue;
        };
        let count: u32 = tile.cells.values().sum();
        let level = if tile.large || 2 * count > full { 2 } else { usize::from(4 * count > full) };
        match &mut run {
            Some((look, row, _, to)) if *look == (colour, level) && *row == y && *to == x => *to += 1,
            _ => {
                flush(&mut run);
                run = Some(((colour, level), y, x, x + 1));
            }
        }
    }
    flush(&mut run);
    paths
}

fn legend(svg: &mut String, report: &Report, groups: &Groups, x: f64) {
    let mut y = HEAD + 12.0;
    let _ = writeln!(svg, "<text x=\"{x}\" y=\"{y}\" font-weight=\"bold\">blocks, with their cells</text>");
    for ((name, cells), colour) in groups.named.iter().zip(COLOURS) {
        y += 20.0;
        let _ = writeln!(
            svg,
            "<rect x=\"{x}\" y=\"{:.0}\" width=\"13\" height=\"13\" fill=\"{colour}\"/>\
             <text x=\"{:.0}\" y=\"{y}\">{}</text><text x=\"{:.0}\" y=\"{y}\" text-anchor=\"end\" fill=\"#555\">{cells}</text>",
            y - 11.0,
            x + 20.0,
            escape(name),
            x + LEGEND - 4.0
        );
    }
    y += 34.0;
    let _ = writeln!(svg, "<text x=\"{x}\" y=\"{y}\" font-weight=\"bold\">of the part</text>");
    for usage in &report.utilisation {
        y += 22.0;
        let bar = LEGEND - 130.0;
        let _ = writeln!(
            svg,
            "<text x=\"{x}\" y=\"{y}\">{}</text>\
             <rect x=\"{:.0}\" y=\"{:.0}\" width=\"{bar:.0}\" height=\"12\" fill=\"#e3e5e8\"/>\
             <rect x=\"{:.0}\" y=\"{:.0}\" width=\"{:.1}\" height=\"12\" fill=\"#4c6ef5\"/>\
             <text x=\"{:.0}\" y=\"{y}\" text-anchor=\"end\" fill=\"#555\">{:.1} %</text>",
            usage.resource,
            x + 56.0,
            y - 10.0,
            x + 56.0,
            y - 10.0,
            bar * (usage.percent / 100.0).min(1.0),
            x + LEGEND - 4.0,
            usage.percent
        );
    }
    y += 34.0;
    for clock in report.clocks.iter().take(1) {
        let told = if report.derate < 1.0 {
            format!(
                "{:.1} MHz ({:.1} reported, {} of it believed)",
                clock.fmax_derated, clock.fmax_reported, report.derate
            )
        } else {
            format!("{:.1} MHz", clock.fmax_derated)
        };
        let _ = writeln!(svg, "<text x=\"{x}\" y=\"{y}\" font-weight=\"bold\">fastest clock</text>");
        y += 20.0;
        let _ = writeln!(svg, "<text x=\"{x}\" y=\"{y}\">{told}</text>");
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
