//! Which device runs which node: the picture and the table with every candidate.

use super::Facts;
use super::page::{Cell, note, paragraph, table, tall};
use crate::drawing;
use crate::svg::{colour, escaped, quantity};
use std::fmt::Write;

/// The section.
pub fn html(facts: &Facts<'_>) -> String {
    let mut html = quality(facts);
    let refused = facts.session().plan.assignments.iter().zip(&facts.placed.plan.assignments);
    let refused = refused.filter(|(ran, planned)| ran.device != planned.device).count();
    if refused > 0 {
        html += &paragraph(&format!(
            "{refused} nodes ran on another device than the plan says, as the compiler refused them once it saw the whole segment."
        ));
    }
    html += &note(
        "A box is a node with the time that it takes on its device; amber lines cross devices, with the bytes and the time of \
         the transfer. Pictures and tables that do not fit scroll sideways.",
    );
    html += &tall(&drawing::svg(&facts.title, &facts.placed, &facts.costs), "Picture of the partition");
    let _ = write!(
        html,
        "<details open=\"open\">\n<summary>All nodes with their candidates</summary>\n{}</details>\n",
        nodes(facts)
    );
    html
}

/// How good the split is, and what others would be.
fn quality(facts: &Facts<'_>) -> String {
    let placed = &facts.placed;
    let placement = &placed.placement;
    let unit = placement.objective.unit();
    let names = facts.names();
    let chosen = match facts.options.device.device.is_planned() {
        true => format!("Split for the least {}", placement.objective.name()),
        false if names.len() == 1 => "One device, so nothing was chosen".to_owned(),
        false => format!("{} has all that it can run, the CPU the rest", facts.options.device.device.name()),
    };
    let mut text =
        format!("{chosen}: predicted {} an input, {}.", quantity(placement.value, unit), placement.quality());
    for (device, value) in placed.baselines() {
        let all = if device == placed.problem.machine().host { "Everything" } else { "All that can be" };
        let value = value.map_or_else(|| "not allowed".to_owned(), |value| quantity(value, unit));
        let _ = write!(text, " {all} on {}: {value}.", names[device]);
    }
    paragraph(&text)
}

fn nodes(facts: &Facts<'_>) -> String {
    let placed = &facts.placed;
    let names = facts.names();
    let mut header =
        vec!["#".to_owned(), "node".to_owned(), "operator".to_owned(), "MACs".to_owned(), "device".to_owned()];
    header.extend(names.iter().map(|name| format!("on {name}")));
    header.push("why there".to_owned());
    let header: Vec<&str> = header.iter().map(String::as_str).collect();
    let numbers: Vec<usize> = [0, 3].into_iter().chain(5..5 + names.len()).collect();
    let rows = placed.problem.order().iter().zip(&placed.explanation.rows).enumerate().map(|(position, (&n, row))| {
        let assigned = &placed.plan.assignments[n];
        let device =
            format!("<i class=\"key\" style=\"background:{}\"></i>{}", colour(row.device), escaped(&names[row.device]));
        let mut cells = vec![
            Cell::number(position as f64 + 1.0, &(position + 1).to_string()),
            Cell::text(&row.node).with("name"),
            Cell::text(&assigned.op),
            Cell::number(assigned.macs as f64, &quantity(assigned.macs as f64, "")),
            Cell::html(device).with("tag"),
        ];
        cells.extend(row.alternatives.iter().map(|other| match &other.cost {
            Some(cost) if other.device == row.device => {
                Cell::number(cost.seconds, &quantity(cost.seconds, "s")).with("n chosen")
            }
            Some(cost) => Cell::number(cost.seconds, &quantity(cost.seconds, "s")),
            None => Cell::none(),
        }));
        let others = facts.costs.reason(&placed.explanation, row);
        let reason = match &assigned.reason {
            own if own.contains(&others) => own.clone(),
            own if others.contains(own) => others,
            own => format!("{own}; {others}"),
        };
        cells.push(Cell::text(&reason).with("why"));
        cells
    });
    let text = format!(
        "Times are of the node alone, that of its device in bold. The reason has what another device for this node alone \
         would add to the {} of all.",
        placed.placement.objective.name()
    );
    note(&text) + &tall(&table(&header, &numbers, rows, true), "Nodes of the partition")
}
