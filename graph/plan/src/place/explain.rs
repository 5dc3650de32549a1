//! What every other choice would have cost.

use super::measure::{check_measure, measure_with};
use super::request::Task;
use super::state::Layout;
use super::{Cost, Objective, PlaceError, Problem, Request};
use serde::{Deserialize, Serialize};
use std::fmt;

/// A device for a node, beside the others.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Alternative {
    /// Index of the device.
    pub device: usize,
    /// What the node takes there; absent where it cannot run.
    pub cost: Option<Cost>,
    /// The objective when this node alone is there, or why it is not.
    pub price: Price,
}

/// What it means for all when one node is on a device.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Price {
    /// The objective, and how much more that is than as placed. Less than nothing where the placement is not the best.
    Costs {
        /// The objective.
        value: f64,
        /// What of it the move adds.
        more: f64,
    },
    /// The node may not, or cannot, be there while all others stay.
    Cannot(String),
}

/// A node with its device and the others.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NodeRow {
    /// Name of the node.
    pub node: String,
    /// Index of its device.
    pub device: usize,
    /// One entry for every device, in their order, its own included.
    pub alternatives: Vec<Alternative>,
}

/// An assignment node by node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Explanation {
    /// What was to be small.
    pub objective: Objective,
    /// Its value as placed.
    pub value: f64,
    /// Names of the devices.
    pub devices: Vec<String>,
    /// One row for every node, in the order of scheduling.
    pub rows: Vec<NodeRow>,
}

/// Explains an assignment: for every node and device the objective when that node alone moves there.
///
/// # Errors
/// Those of [`super::check`]: what is explained keeps the request.
pub fn explain(problem: &Problem, request: &Request, assignment: &[usize]) -> Result<Explanation, PlaceError> {
    let task = Task::new(problem, request)?;
    let layout = Layout::new(problem);
    let measure = measure_with(&layout, assignment)?;
    check_measure(&task, assignment, &measure)?;
    let value = measure.value(task.objective);
    let mut moved = assignment.to_vec();
    let mut rows = Vec::with_capacity(assignment.len());
    for &n in problem.order() {
        let mut alternatives = Vec::with_capacity(layout.devices);
        for device in 0..layout.devices {
            moved[n] = device;
            let price = match task.why_not(n, device) {
                Some(reason) => Price::Cannot(reason),
                None => {
                    let tried = measure_with(&layout, &moved)
                        .and_then(|m| check_measure(&task, &moved, &m).map(|()| m.value(task.objective)));
                    match tried {
                        Ok(price) => Price::Costs { value: price, more: price - value },
                        Err(error) => Price::Cannot(error.to_string()),
                    }
                }
            };
            alternatives.push(Alternative { device, cost: problem.cost(n, device).copied(), price });
        }
        moved[n] = assignment[n];
        rows.push(NodeRow { node: problem.nodes()[n].name.clone(), device: assignment[n], alternatives });
    }
    let devices = problem.devices().iter().map(|d| d.name.clone()).collect();
    Ok(Explanation { objective: task.objective, value, devices, rows })
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, unit) = (self.objective.name(), self.objective.unit());
        writeln!(f, "{name} {:.6e} {unit}; a node alone on another device adds", self.value)?;
        for row in &self.rows {
            write!(f, "{}: {}", row.node, self.name(row.device))?;
            for other in row.alternatives.iter().filter(|a| a.device != row.device) {
                match &other.price {
                    Price::Costs { more, .. } => write!(f, "; {} {more:+.3e} {unit}", self.name(other.device))?,
                    Price::Cannot(reason) => write!(f, "; not {}: {reason}", self.name(other.device))?,
                }
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

impl Explanation {
    fn name(&self, device: usize) -> &str {
        self.devices.get(device).map_or("?", String::as_str)
    }
}
