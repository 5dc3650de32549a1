//! What is asked for: an objective and the user's constraints.

use super::{PlaceError, Problem};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// What is to be small.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Objective {
    /// Seconds from the inputs of one run to its outputs.
    #[default]
    Latency,
    /// Seconds between two results of a pipeline: the time that the busiest device or link needs for one input.
    Period,
    /// Joules of one run.
    Energy,
}

impl Objective {
    /// The name in tables and messages.
    pub fn name(self) -> &'static str {
        match self {
            Objective::Latency => "latency",
            Objective::Period => "period",
            Objective::Energy => "energy",
        }
    }

    /// The unit of its values.
    pub fn unit(self) -> &'static str {
        match self {
            Objective::Latency | Objective::Period => "s",
            Objective::Energy => "J",
        }
    }
}

/// An objective with constraints; nodes and devices by name.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Request {
    /// What is to be small.
    pub objective: Objective,
    /// Nodes that must run on a device: every node of that name.
    pub pins: BTreeMap<String, String>,
    /// Devices that run nothing. Values may still be on the host when it is one of them.
    pub forbidden: BTreeSet<String>,
    /// Bytes that a device may use, where that is less than it has.
    pub memory_bytes: BTreeMap<String, u64>,
    /// Longest latency, whatever the objective.
    pub latency_seconds: Option<f64>,
}

impl Request {
    /// A request without constraints.
    pub fn of(objective: Objective) -> Request {
        Request { objective, ..Request::default() }
    }
}

/// A problem with a request whose names are resolved.
pub(super) struct Task<'a> {
    pub problem: &'a Problem,
    pub objective: Objective,
    /// Device of each pinned node.
    pinned: Vec<Option<usize>>,
    forbidden: Vec<bool>,
    /// Bytes that each device may use.
    pub memory: Vec<u64>,
    pub latency: Option<f64>,
}

impl<'a> Task<'a> {
    pub fn new(problem: &'a Problem, request: &Request) -> Result<Task<'a>, PlaceError> {
        let devices = problem.devices();
        let index = |name: &str| {
            devices.iter().position(|d| d.name == name).ok_or_else(|| {
                let known: Vec<&str> = devices.iter().map(|d| d.name.as_str()).collect();
                PlaceError::invalid(
                    format!("device '{name}'"),
                    format!("there is none; there are {}", known.join(", ")),
                )
            })
        };
        let mut pinned = vec![None; problem.nodes().len()];
        for (node, device) in &request.pins {
            let device = index(device)?;
            let mut found = false;
            for (n, _) in problem.nodes().iter().enumerate().filter(|(_, n)| n.name == *node) {
                pinned[n] = Some(device);
                found = true;
            }
            if !found {
                return Err(PlaceError::invalid(
                    format!("node '{node}'"),
                    "it is pinned, and there is none of this name",
                ));
            }
        }
        let mut forbidden = vec![false; devices.len()];
        for name in &request.forbidden {
            forbidden[index(name)?] = true;
        }
        let mut memory: Vec<u64> = devices.iter().map(|d| d.memory_bytes).collect();
        for (name, &bytes) in &request.memory_bytes {
            let device = index(name)?;
            memory[device] = memory[device].min(bytes);
        }
        let latency = request.latency_seconds;
        if latency.is_some_and(|l| !(l >= 0.0 && l.is_finite())) {
            return Err(PlaceError::invalid("latency_seconds", "a latency bound is a number of 0 or more"));
        }
        Ok(Task { problem, objective: request.objective, pinned, forbidden, memory, latency })
    }

    /// The task of an objective and nothing else.
    pub fn plain(problem: &'a Problem, objective: Objective) -> Task<'a> {
        let (nodes, devices) = (problem.nodes().len(), problem.devices().len());
        let memory = vec![u64::MAX; devices];
        Task { problem, objective, pinned: vec![None; nodes], forbidden: vec![false; devices], memory, latency: None }
    }

    /// The task for another objective, without the latency bound; the memory bounds stay where `keep_memory`.
    pub fn relaxed(&self, objective: Objective, keep_memory: bool) -> Task<'a> {
        Task {
            problem: self.problem,
            objective,
            pinned: self.pinned.clone(),
            forbidden: self.forbidden.clone(),
            memory: if keep_memory { self.memory.clone() } else { vec![u64::MAX; self.memory.len()] },
            latency: None,
        }
    }

    pub fn allows(&self, node: usize, device: usize) -> bool {
        self.pinned[node].is_none_or(|d| d == device)
            && !self.forbidden[device]
            && self.problem.cost(node, device).is_some()
    }

    /// Why a node may not go to a device; `None` where it may.
    pub fn why_not(&self, node: usize, device: usize) -> Option<String> {
        let name = |d: usize| &self.problem.devices()[d].name;
        if let Some(reason) = self.problem.refusal(node, device) {
            return Some(reason.to_owned());
        }
        if let Some(pin) = self.pinned[node].filter(|&d| d != device) {
            return Some(format!("the node is pinned to '{}'", name(pin)));
        }
        self.forbidden[device].then(|| "the device is forbidden".to_owned())
    }

    /// Devices that a node may go to.
    pub fn choices(&self, node: usize) -> impl Iterator<Item = usize> + '_ {
        (0..self.memory.len()).filter(move |&d| self.allows(node, d))
    }

    /// # Errors
    /// [`PlaceError::Nowhere`] for the first node without a device.
    pub fn check_choices(&self) -> Result<(), PlaceError> {
        for (n, node) in self.problem.nodes().iter().enumerate() {
            if self.choices(n).next().is_some() {
                continue;
            }
            let reasons = self
                .problem
                .devices()
                .iter()
                .enumerate()
                .map(|(d, device)| format!("'{}': {}", device.name, self.why_not(n, d).unwrap_or_default()));
            return Err(PlaceError::Nowhere {
                node: node.name.clone(),
                reasons: reasons.collect::<Vec<_>>().join("; "),
            });
        }
        Ok(())
    }
}
