//! Leaving out what the outputs do not need.

use crate::{Graph, ValueId};

pub(crate) fn prune(graph: &mut Graph) {
    let mut live = vec![false; graph.values.len()];
    let mark = |live: &mut Vec<bool>, ids: &[ValueId]| {
        for id in ids {
            if let Some(l) = live.get_mut(id.0) {
                *l = true;
            }
        }
    };
    mark(&mut live, &graph.outputs);
    // Nodes are in topological order, so that one pass from the back sees every reader before the maker.
    let mut keep: Vec<bool> = Vec::with_capacity(graph.nodes.len());
    for node in graph.nodes.iter().rev() {
        let needed = node.outputs.iter().any(|o| live.get(o.0) == Some(&true));
        if needed {
            mark(&mut live, &node.inputs);
            mark(&mut live, &node.outputs);
        }
        keep.push(needed);
    }
    keep.reverse();
    mark(&mut live, &graph.inputs);

    let mut at = keep.iter();
    graph.nodes.retain(|_| at.next() == Some(&true));
    let mut moved = vec![ValueId(usize::MAX); graph.values.len()];
    let mut next = 0;
    for (to, &l) in moved.iter_mut().zip(&live) {
        if l {
            *to = ValueId(next);
            next += 1;
        }
    }
    let mut at = live.iter();
    graph.values.retain(|_| at.next() == Some(&true));
    let lists = graph.nodes.iter_mut().flat_map(|n| [&mut n.inputs, &mut n.outputs]);
    for id in lists.chain([&mut graph.inputs, &mut graph.outputs]).flatten() {
        // An index out of range stays out of range, for the verifier to report.
        *id = moved.get(id.0).copied().unwrap_or(ValueId(usize::MAX));
    }
}

/// Up to eight names of values, for messages.
pub(crate) fn names(graph: &Graph, ids: &[ValueId]) -> String {
    let mut text = String::new();
    for (i, id) in ids.iter().take(8).enumerate() {
        let name = graph.values.get(id.0).map_or("?", |v| v.name.as_str());
        text.push_str(if i > 0 { ", '" } else { "'" });
        text.push_str(name);
        text.push('\'');
    }
    if ids.len() > 8 {
        text.push_str(", ..");
    }
    text
}

#[cfg(test)]
mod tests {
    use crate::sample::chain;

    #[test]
    fn cutting_leaves_out_later_nodes_and_their_constants() {
        let mut g = chain();
        let whole = g.values.len();
        g.cut_at("hidden").unwrap();
        g.verify().unwrap();
        assert_eq!(g.nodes.len(), 1);
        assert!(g.values.len() < whole);
        assert_eq!(g.value(g.outputs[0]).name, "hidden");
    }

    #[test]
    fn pruning_twice_changes_nothing() {
        let mut g = chain();
        g.prune();
        let once = g.clone();
        g.prune();
        assert_eq!(g, once);
    }

    #[test]
    fn cutting_at_an_unknown_name_lists_the_outputs() {
        let error = chain().cut_at("nowhere").unwrap_err().to_string();
        assert!(error.contains("nowhere") && error.contains("'out'"), "{error}");
    }
}
