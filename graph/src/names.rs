//! Names that nothing else in a graph has.

use crate::Graph;
use std::collections::HashMap;

/// The number behind the second of a name.
const FIRST: usize = 2;

/// The names that are taken, each with the number that is tried next behind it, so that many of one wish take no longer.
#[derive(Clone, Debug, Default)]
pub struct Names(HashMap<String, usize>);

impl Names {
    /// Those of a graph's values.
    pub fn of(graph: &Graph) -> Names {
        Names(graph.values.iter().map(|value| (value.name.clone(), FIRST)).collect())
    }

    /// `name`, or `name` with the first number behind it that is free; taken from now on.
    pub fn unique(&mut self, name: &str) -> String {
        let Some(mut number) = self.0.get(name).copied() else {
            self.0.insert(name.to_owned(), FIRST);
            return name.to_owned();
        };
        loop {
            let wish = format!("{name}#{number}");
            number += 1;
            if !self.0.contains_key(&wish) {
                self.0.insert(name.to_owned(), number);
                self.0.insert(wish.clone(), FIRST);
                return wish;
            }
        }
    }
}
