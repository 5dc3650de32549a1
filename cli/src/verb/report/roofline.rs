//! How near each node comes to what a device can do at most: operations a second over operations a byte.

use super::Facts;
use super::page::{Cell, note, paragraph, table, wide};
use crate::bottleneck::{Account, Work, array, lanes};
use crate::machine::CycleSource;
use crate::svg::{self, Axis, colour, escaped, quantity};
use crate::table::{grouped, percent};
use std::collections::HashMap;
use std::fmt::Write;
use tandem_graph::{Graph, Node};
use tandem_plan::Device;
use tandem_sim::tsim::DramModel;
use tandem_tensor::DType;

/// Width and height of a plot, and of the frame in it.
const SIZE: (f64, f64) = (560.0, 400.0);
const FRAME: (f64, f64, f64, f64) = (76.0, 34.0, 528.0, 346.0);
/// Points that have their names beside them: those that take the most time.
const NAMED: usize = 5;
/// Nodes of the table.
pub const LISTED: usize = 2 * NAMED;
/// Width of a letter of their names, at most, on average.
const LETTER: f64 = 6.4;
/// The name of the roof of what does not run on the array of an accelerator.
const LANES: &str = "lanes";

/// A node on a device.
struct Point {
    /// Its index in the graph.
    node: usize,
    name: String,
    /// Its number in the table of nodes, and its operator.
    number: usize,
    op: String,
    /// Operations a byte.
    intensity: f64,
    /// Operations a second.
    rate: f64,
    seconds: f64,
    is_chosen: bool,
    /// Whether an accelerator runs it on its lanes, and not on its array.
    on_lanes: bool,
}

/// Something that a device can do at most.
struct Roof {
    name: String,
    /// Operations or bytes a second.
    rate: f64,
    is_memory: bool,
}

/// The section.
pub fn html(facts: &Facts<'_>) -> String {
    let names = facts.names();
    let work: Vec<Option<(f64, f64)>> = facts.graph.nodes.iter().map(|node| work(&facts.graph, node, 1)).collect();
    let still = work.iter().filter(|work| work.is_none()).count();
    let all: Vec<(usize, Vec<Point>, Vec<Roof>, String)> = (0..names.len())
        .map(|device| {
            let (roofs, source) = roofs(facts, device);
            (device, points(facts, device), roofs, source)
        })
        .collect();
    if all.iter().all(|(_, points, ..)| points.is_empty()) {
        return paragraph("No node computes anything: all of them only move data, so there is no operation to count.");
    }
    // The same axes for all devices, so that they compare.
    let every = || all.iter().flat_map(|(_, points, ..)| points);
    let x = Axis::decades(every().map(|point| point.intensity), FRAME.0, FRAME.2);
    let compute = all
        .iter()
        .filter(|(_, points, ..)| !points.is_empty())
        .flat_map(|(.., roofs, _)| roofs)
        .filter(|roof| !roof.is_memory)
        .map(|roof| roof.rate);
    let y = Axis::decades(every().map(|point| point.rate).chain(compute), FRAME.3, FRAME.1);
    let mut html = note(
        "A multiply-accumulate counts as two operations. The intensity is operations over bytes, each operand, weights included, \
         and each result once. A full point is a node on its device of the plan, an empty one a node that could run there; the \
         larger a point, the longer it takes. Times and numbers are those of the table of nodes. A point shows its name under the \
         pointer.",
    );
    if still > 0 {
        html += &note(&format!("Nodes that only move data are left out: {still}."));
    }
    html += "<div class=\"panels\">\n";
    for (device, points, roofs, source) in &all {
        let _ = write!(html, "<figure>\n<h3>{}</h3>\n", escaped(&names[*device]));
        if points.is_empty() {
            html += &paragraph("No node that computes can run here.");
        } else {
            let label = format!("Roofline of {}", names[*device]);
            html += &wide(&plot(&x, &y, points, roofs, colour(*device), &label), &label);
        }
        let _ = write!(html, "<figcaption>{}</figcaption>\n</figure>\n", escaped(source));
    }
    html += "</div>\n";
    let hardest = all.iter().flat_map(|(device, points, roofs, _)| {
        points.iter().filter(|point| point.is_chosen).map(move |point| (*device, point, roofs))
    });
    html + &longest(hardest.collect(), &names, &facts.accounts)
}

/// Operations of a node and the bytes that it cannot do without, for one of `batch` samples that share constants; `None` where it
/// only moves data.
fn work(graph: &Graph, node: &Node, batch: usize) -> Option<(f64, f64)> {
    let samples = batch.max(1) as u64;
    let work = Work::of(graph, node, samples);
    let (operations, bytes) = (work.operations() / samples as f64, work.bytes() as f64 / samples as f64);
    (operations > 0.0 && bytes > 0.0).then_some((operations, bytes))
}

fn points(facts: &Facts<'_>, device: usize) -> Vec<Point> {
    let placed = &facts.placed;
    let batch = facts.accelerator(device).map_or(1, |accelerator| accelerator.config.batch());
    let mut number = vec![0; facts.graph.nodes.len()];
    placed.problem.order().iter().enumerate().for_each(|(position, &n)| number[n] = position + 1);
    let nodes = facts.graph.nodes.iter().enumerate();
    let point = |(n, node): (usize, &Node)| {
        let (operations, bytes) = work(&facts.graph, node, batch)?;
        let seconds = placed.problem.cost(n, device)?.seconds;
        let is_chosen = placed.placement.assignment[n] == device;
        let (name, intensity, rate) = (node.name.clone(), operations / bytes, operations / seconds);
        let assigned = &placed.plan.assignments[n];
        let on_lanes = assigned.macs == 0 || assigned.op == "depthwise_conv";
        let (number, op) = (number[n], assigned.op.clone());
        (seconds > 0.0).then_some(Point { node: n, name, number, op, intensity, rate, seconds, is_chosen, on_lanes })
    };
    nodes.filter_map(point).collect()
}

/// What a device can do at most, and where that is known from.
fn roofs(facts: &Facts<'_>, device: usize) -> (Vec<Roof>, String) {
    let roof = |name: &str, rate: f64, is_memory: bool| Roof { name: name.to_owned(), rate, is_memory };
    let accelerator = match facts.accelerator(device) {
        Some(accelerator) => accelerator,
        None if facts.costs.devices[device].device == Device::Cpu => return host_roofs(facts),
        None => return (Vec::new(), "Without roofs: what this device can do at most is not known here.".to_owned()),
    };
    let config = &accelerator.config;
    let clock_hz = facts.options.device.clock_hz();
    let (array, lanes) = (array(config) as f64, lanes(config) as f64);
    let mut roofs = vec![roof("array", 2.0 * array * clock_hz, false), roof(LANES, 2.0 * lanes * clock_hz, false)];
    let mut source = format!(
        "By design, at the stated clock: the array does {array} MACs a cycle; depthwise layers and pooling run on the lanes, \
         {lanes} a cycle."
    );
    let memory = match (&accelerator.simulation, accelerator.cycles) {
        (Some(simulation), _) => match simulation.memory().bits_per_cycle {
            DramModel::UNLIMITED => Some(config.bus_bytes() as f64),
            bits => Some((config.bus_bytes() as f64).min(f64::from(bits) / 8.0)),
        },
        (None, CycleSource::Estimated) if facts.session().machine.remote(accelerator.device).is_none() => {
            Some(config.bus_bytes() as f64)
        }
        _ => None,
    };
    match memory {
        Some(bytes) => {
            roofs.push(roof("memory", bytes * clock_hz, true));
            let _ = write!(source, " Its memory carries {bytes} bytes a cycle, as the simulator has it.");
        }
        None => source += " What its memory carries is not known here, so that roof is left out.",
    }
    (roofs, source)
}

fn host_roofs(facts: &Facts<'_>) -> (Vec<Roof>, String) {
    let limits = match &facts.limits {
        Ok(limits) => limits,
        Err(error) => return (Vec::new(), format!("Without roofs: {error}.")),
    };
    if facts.options.place.cpu_times != 1.0 {
        return (Vec::new(), "Without roofs: the times are projected, and nobody measured that processor.".to_owned());
    }
    let dtypes = |float: bool| {
        let values = facts.graph.nodes.iter().flat_map(|node| node.inputs.first());
        values.map(|&id| facts.graph.ty(id).dtype).any(|dtype: DType| dtype.is_float() == float)
    };
    let mut roofs = Vec::new();
    if let Some(rate) = limits.int8_ops.filter(|_| dtypes(false)) {
        roofs.push(Roof { name: "int8".to_owned(), rate, is_memory: false });
    }
    if dtypes(true) {
        roofs.push(Roof { name: "f32".to_owned(), rate: limits.f32_flops, is_memory: false });
    }
    roofs.push(Roof { name: "memory".to_owned(), rate: limits.memory_bytes, is_memory: true });
    let source = format!(
        "Roofs {}. The memory roof is that of data beyond the caches: nodes whose data stay in them may lie above it.",
        limits.source
    );
    (roofs, source)
}

fn plot(x: &Axis, y: &Axis, points: &[Point], roofs: &[Roof], colour: &str, label: &str) -> String {
    let (left, top, right, bottom) = FRAME;
    let mut text = svg::begin(SIZE.0, SIZE.1, label);
    svg::below(&mut text, x, (top, bottom), "op/B", "operational intensity, operations a byte");
    svg::beside(&mut text, y, (left, right), "op/s", "operations a second");
    let (low, high) = x.ends();
    let peak = roofs.iter().filter(|roof| !roof.is_memory).map(|roof| roof.rate).fold(0.0, f64::max);
    let mut taken: Vec<(f64, f64, f64)> = Vec::new();
    let mut labels = Vec::new();
    let is_free = |taken: &[(f64, f64, f64)], begin: f64, place: f64, width: f64| {
        let apart = |&(x0, y0, w): &(f64, f64, f64)| {
            begin > x0 + w + 2.0 || begin + width + 2.0 < x0 || (place - y0).abs() > 12.5
        };
        let is_inside = place > top + 8.0 && place < bottom - 2.0 && begin > left && begin + width < right;
        is_inside && taken.iter().all(apart)
    };
    for roof in roofs.iter().filter(|roof| !roof.is_memory) {
        let place = y.at(roof.rate);
        line(&mut text, (left, place), (right, place), " stroke-dasharray=\"7 4\"");
        let name = format!("{} {}", roof.name, quantity(roof.rate, "op/s"));
        taken.push((left, place + 4.0, right - left));
        labels.push(((right - 4.0 - LETTER * name.chars().count() as f64, place - 5.0), name));
    }
    for roof in roofs.iter().filter(|roof| roof.is_memory) {
        // Up to the highest other roof, and no farther than the frame.
        let highest = if peak > 0.0 { peak } else { y.ends().1 };
        let (begin, end) = (low.max(y.ends().0 / roof.rate), high.min(highest / roof.rate));
        if begin >= end {
            continue;
        }
        let (from, to) = ((x.at(begin), y.at(begin * roof.rate)), (x.at(end), y.at(end * roof.rate)));
        let along = |part: f64| (from.0 + part * (to.0 - from.0), from.1 + part * (to.1 - from.1));
        line(&mut text, from, to, "");
        let name = format!("{} {}", roof.name, quantity(roof.rate, "B/s"));
        let width = LETTER * name.chars().count() as f64;
        // Above the line, where it has room.
        let places = [0.5, 0.6, 0.4, 0.7, 0.3, 0.8, 0.9].map(along).map(|(x, y)| (x - 8.0 - width, y - 6.0));
        let place = places.into_iter().find(|&(begin, place)| is_free(&taken, begin, place, width));
        labels.push((place.unwrap_or((left + 4.0, from.1 - 8.0)), name));
        taken.extend((0..=40).map(|i| along(f64::from(i) / 40.0)).map(|(x, y)| (x - 2.0, y + 4.0, 4.0)));
    }
    let wide = |(place, name): &((f64, f64), String)| (place.0, place.1, LETTER * name.chars().count() as f64);
    taken.extend(labels.iter().map(wide));
    let longest = points.iter().map(|point| point.seconds).fold(0.0, f64::max);
    let mut order: Vec<&Point> = points.iter().collect();
    order.sort_by(|a, b| b.seconds.total_cmp(&a.seconds));
    for point in &order {
        let radius = 2.5 + 5.0 * (point.seconds / longest).sqrt();
        let fill = if point.is_chosen { colour } else { "none" };
        let told = format!(
            "{} {}: {}, {}, {}",
            point.number,
            point.name,
            quantity(point.rate, "op/s"),
            quantity(point.intensity, "op/B"),
            quantity(point.seconds, "s")
        );
        let _ = writeln!(
            text,
            "<circle cx=\"{:.1}\" cy=\"{:.1}\" r=\"{radius:.1}\" fill=\"{fill}\" fill-opacity=\"0.65\" stroke=\"{colour}\">\
             <title>{}</title></circle>",
            x.at(point.intensity),
            y.at(point.rate),
            escaped(&told)
        );
        taken.push((x.at(point.intensity) - radius, y.at(point.rate) + 4.0, 2.0 * radius));
    }
    for (place, name) in labels {
        halo(&mut text, place, "#222", &name);
    }
    for point in order.iter().filter(|point| point.is_chosen).take(NAMED) {
        let name = format!("{} {}", point.number, point.op);
        let width = LETTER * name.chars().count() as f64;
        let (px, py) = (x.at(point.intensity), y.at(point.rate));
        // Beside the point, below or above it: where nothing stands yet.
        let sides = [px + 11.0, px - 11.0 - width, px - width / 2.0];
        let places = [4.0, 18.0, -10.0, 32.0, -24.0, 46.0, -38.0];
        let places = places.into_iter().flat_map(|off| sides.map(|begin| (begin, py + off)));
        let place = places.into_iter().find(|&(begin, place)| is_free(&taken, begin, place, width));
        if let Some(place) = place {
            taken.push((place.0, place.1, width));
            halo(&mut text, place, "#333", &name);
        }
    }
    text + "</svg>\n"
}

fn line(text: &mut String, from: (f64, f64), to: (f64, f64), dash: &str) {
    let _ = writeln!(
        text,
        "<line x1=\"{:.1}\" y1=\"{:.1}\" x2=\"{:.1}\" y2=\"{:.1}\" stroke=\"#444\" stroke-width=\"1.6\"{dash}/>",
        from.0, from.1, to.0, to.1
    );
}

/// Text that stays readable upon lines.
fn halo(text: &mut String, (x, y): (f64, f64), colour: &str, words: &str) {
    let _ = writeln!(
        text,
        "<text x=\"{x:.1}\" y=\"{y:.1}\" fill=\"{colour}\" font-size=\"11\" stroke=\"white\" stroke-width=\"3\" \
         paint-order=\"stroke\">{}</text>",
        escaped(words)
    );
}

/// The nodes that take the most time, with the part of their lowest roof that they reach, and what holds them up where that is known.
fn longest(
    mut points: Vec<(usize, &Point, &Vec<Roof>)>,
    names: &[String],
    accounts: &HashMap<usize, Account>,
) -> String {
    points.sort_by(|a, b| b.1.seconds.total_cmp(&a.1.seconds));
    let rows = points.into_iter().take(LISTED).map(|(device, point, roofs)| {
        let bound = |roof: &Roof| if roof.is_memory { point.intensity * roof.rate } else { roof.rate };
        let compute = roofs.iter().filter(|roof| !roof.is_memory && (roof.name != LANES || point.on_lanes));
        let compute = compute.min_by(|a, b| a.rate.total_cmp(&b.rate));
        let memory = roofs.iter().find(|roof| roof.is_memory);
        let lowest = [compute, memory].into_iter().flatten().min_by(|a, b| bound(a).total_cmp(&bound(b)));
        let mut cells = vec![
            Cell::number(point.number as f64, &point.number.to_string()),
            Cell::text(&point.name).with("name"),
            Cell::text(&names[device]),
            Cell::number(point.seconds, &quantity(point.seconds, "s")),
            Cell::number(point.rate, &quantity(point.rate, "op/s")),
            Cell::number(point.intensity, &quantity(point.intensity, "op/B")),
        ];
        match lowest {
            Some(roof) => {
                let part = 100.0 * point.rate / bound(roof);
                cells.extend([Cell::text(&roof.name), Cell::number(part, &format!("{part:.1} %"))]);
            }
            None => cells.extend([Cell::none(), Cell::none()]),
        }
        match accounts.get(&point.node) {
            Some(account) => {
                let (part, cycles) = account.largest();
                let share = percent(Some(cycles as f64 / account.cycles().max(1) as f64));
                let shown = format!("{}, {share}", grouped(cycles));
                cells.push(Cell::text(part.words()));
                cells.push(Cell::number(cycles as f64, &shown));
                cells.push(Cell::text(account.remedy()));
            }
            None if accounts.is_empty() => {}
            None => cells.extend([Cell::none(), Cell::none(), Cell::none()]),
        }
        cells
    });
    let mut header = vec!["#", "node", "device", "time", "reached", "intensity", "lowest roof", "part of it"];
    let mut numbers = vec![0, 3, 4, 5, 7];
    if !accounts.is_empty() {
        header.extend(["largest stall", "its cycles", "what would remove it"]);
        numbers.push(9);
    }
    let html = table(&header, &numbers, rows, true);
    let told = match accounts.is_empty() {
        true => String::new(),
        false => note(
            "The stall of a node on simulated hardware is that of a run of it alone: what the compute unit did in most of the cycles \
             beyond the useful ones.",
        ),
    };
    format!("<h3>Where the time goes</h3>\n{told}{}", wide(&html, "Nodes that take the most time"))
}
