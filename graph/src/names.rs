//! Names that nothing else in a graph has.

use crate::Graph;
use std::collections::HashSet;

/// The names that are taken.
#[derive(Clone, Debug, Default)]
pub struct Names(HashSet<String>);

impl Names {
    /// Those of a graph's values.
    pub fn of(graph: &Graph) -> Names {
        Names(graph.values.iter().map(|value| value.name.clone()).collect())
    }

    /// `name`, or `name` with the first number behind it that is free; taken from now on.
    pub fn unique(&mut self, name: &str) -> String {
        let mut wish = name.to_owned();
        let mut number = 2;
        while !self.0.insert(wish.clone()) {
            wish = format!("{name}#{number}");
            number += 1;
        }
        wish
    }
}
