//! Passes: functions from a graph to a better graph with the same inputs and outputs.
//!
//! [`PASSES`] lists them in the order in which they help each other. [`run`] applies some of them by name, with the verifier
//! between one and the next, and tells what each did. Every file carries an example, a graph before and after, which a test runs;
//! the interpreter proves on random graphs and on real models that outputs stay what they were.
//!
//! | file | what it does |
//! |---|---|
//! | `dead.rs` | leaves out what no output needs |
//! | `fold.rs` | nodes whose operands are constants become constants |
//! | `cse.rs` | equal nodes and equal constants become one |
//! | `simplify.rs` | nodes that change nothing vanish, chains of reshapes, transposes and requantisations shrink |
//! | `layout.rs` | transposes stand only where producer and consumer disagree |
//! | `affine.rs` | per-channel factors and offsets join the weights and bias before them |
//! | `fuse.rs` | activations and padding join their operator |
//!
//! Two analyses answer with data and leave the graph alone: [`memory`] places every intermediate result in one arena, [`groups`] says
//! which nodes a backend may compute in one loop.

mod affine;
mod cse;
mod dead;
mod fold;
mod fuse;
pub mod groups;
mod layout;
pub mod memory;
mod rewrite;
mod simplify;
mod table;
#[cfg(test)]
mod tests;

use crate::{Graph, GraphError, Node};
use std::collections::HashMap;

/// A function from a graph to a better one.
#[derive(Clone, Copy, Debug)]
pub struct Pass {
    /// What it is called on the command line; also the name of its file.
    pub name: &'static str,
    /// What it does, in one line.
    pub about: &'static str,
    /// Outputs stay the same, floats included, to the last bit but for the sign of a zero. A pass that is not exact reorders the
    /// arithmetic of floats and leaves integers alone.
    pub exact: bool,
    apply: fn(&Graph) -> Result<Graph, GraphError>,
}

/// All passes, in their order.
pub const PASSES: [Pass; 7] =
    [dead::PASS, fold::PASS, cse::PASS, simplify::PASS, layout::PASS, affine::PASS, fuse::PASS];

/// What a pass did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// Name of the pass.
    pub pass: &'static str,
    /// Nodes before it.
    pub before: usize,
    /// Nodes after it.
    pub after: usize,
    /// Nodes after it that were not there before, or have another operator, operand or result.
    pub changed: usize,
}

/// Why passes stopped.
#[derive(Debug, thiserror::Error)]
pub enum PassError {
    /// Invalid: there is no pass of that name.
    #[error("there is no pass '{name}'; there are {known}")]
    Unknown {
        /// What was asked for.
        name: String,
        /// All names.
        known: String,
    },
    /// The graph that was given, or a pass made, is malformed.
    #[error("{place}: {source}")]
    Broken {
        /// `before the passes` or `after pass 'name'`.
        place: String,
        /// The broken rule.
        #[source]
        source: GraphError,
    },
    /// A pass has changed what the caller gives or gets.
    #[error("after pass '{pass}': {what}")]
    Interface {
        /// The pass.
        pass: &'static str,
        /// What changed.
        what: String,
    },
}

impl Pass {
    /// The graph after this pass alone.
    ///
    /// # Errors
    /// [`PassError::Broken`] when the result is malformed, [`PassError::Interface`] when it has other inputs or outputs: a bug of the
    /// pass in either case.
    pub fn run(&self, graph: &Graph) -> Result<Graph, PassError> {
        let broken = |source| PassError::Broken { place: format!("after pass '{}'", self.name), source };
        let after = (self.apply)(graph).map_err(broken)?;
        after.verify().map_err(broken)?;
        for (what, a, b) in [("inputs", &graph.inputs, &after.inputs), ("outputs", &graph.outputs, &after.outputs)] {
            let same = a.len() == b.len()
                && a.iter().zip(b).all(|(&a, &b)| {
                    let (a, b) = (graph.value(a), after.value(b));
                    a.name == b.name && a.ty == b.ty
                });
            if !same {
                return Err(PassError::Interface { pass: self.name, what: format!("the {what} are others") });
            }
        }
        Ok(after)
    }
}

/// The names of the passes that keep every bit, in their order: what a model goes through before it is planned.
pub fn exact() -> impl Iterator<Item = &'static str> {
    PASSES.iter().filter(|pass| pass.exact).map(|pass| pass.name)
}

/// The pass of that name.
///
/// # Errors
/// [`PassError::Unknown`] with the names that there are.
pub fn find(name: &str) -> Result<&'static Pass, PassError> {
    PASSES
        .iter()
        .find(|pass| pass.name == name)
        .ok_or_else(|| PassError::Unknown { name: name.to_owned(), known: PASSES.map(|pass| pass.name).join(", ") })
}

/// Applies passes in the order of their names, with the verifier between them.
///
/// # Errors
/// [`PassError`], naming the pass.
pub fn run<'n>(graph: &Graph, names: impl IntoIterator<Item = &'n str>) -> Result<(Graph, Vec<Row>), PassError> {
    graph.verify().map_err(|source| PassError::Broken { place: "before the passes".to_owned(), source })?;
    let mut graph = graph.clone();
    let mut rows = Vec::new();
    for name in names {
        let pass = find(name)?;
        let after = pass.run(&graph)?;
        rows.push(Row {
            pass: pass.name,
            before: graph.nodes.len(),
            after: after.nodes.len(),
            changed: changed(&graph, &after),
        });
        graph = after;
    }
    Ok((graph, rows))
}

/// Nodes of `after` without an equal in `before`, where values go by their names.
fn changed(before: &Graph, after: &Graph) -> usize {
    let known: HashMap<Vec<&str>, &Node> = before.nodes.iter().map(|n| (names(before, &n.outputs), n)).collect();
    let same = |node: &Node| {
        known
            .get(&names(after, &node.outputs))
            .is_some_and(|old| old.op == node.op && names(before, &old.inputs) == names(after, &node.inputs))
    };
    after.nodes.iter().filter(|node| !same(node)).count()
}

fn names<'g>(graph: &'g Graph, ids: &[crate::ValueId]) -> Vec<&'g str> {
    ids.iter().map(|&id| graph.value(id).name.as_str()).collect()
}
