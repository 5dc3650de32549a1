//! A drawing of a graph in the DOT language.

use crate::{Graph, ValueId};
use std::fmt::Write;

/// The graph in the DOT language: one box a node, one edge a value, constants inside the boxes.
pub fn dot(graph: &Graph) -> String {
    let mut out = String::new();
    // Writing to a String cannot fail.
    let _ = write(graph, &mut out);
    out
}

fn write(graph: &Graph, out: &mut String) -> std::fmt::Result {
    writeln!(out, "digraph {} {{", quoted(&graph.name))?;
    writeln!(
        out,
        "  rankdir=TB; node [shape=box, fontname=\"monospace\", fontsize=10]; edge [fontname=\"monospace\", fontsize=9];"
    )?;
    for &id in &graph.inputs {
        writeln!(out, "  v{} [shape=oval, label={}];", id.0, quoted(&label(graph, id)))?;
    }
    let producers = graph.producers();
    let edge = |out: &mut String, id: ValueId, to: &str| -> std::fmt::Result {
        let Some(value) = graph.values.get(id.0) else { return Ok(()) };
        if value.constant.is_some() {
            return Ok(());
        }
        match producers.get(id.0).copied().flatten() {
            Some(n) => writeln!(out, "  n{} -> {to} [label={}];", n.0, quoted(&value.ty.to_string())),
            None => writeln!(out, "  v{} -> {to};", id.0),
        }
    };
    for (i, node) in graph.nodes.iter().enumerate() {
        let mut text = format!("{}\n{}", node.op.name(), node.name);
        for &id in &node.inputs {
            if graph.constant(id).is_some() {
                let _ = write!(text, "\n{}", label(graph, id));
            }
        }
        writeln!(out, "  n{i} [label={}];", quoted(&text))?;
        for &id in &node.inputs {
            edge(out, id, &format!("n{i}"))?;
        }
    }
    for (i, &id) in graph.outputs.iter().enumerate() {
        writeln!(out, "  o{i} [shape=oval, label={}];", quoted(&label(graph, id)))?;
        edge(out, id, &format!("o{i}"))?;
    }
    out.push_str("}\n");
    Ok(())
}

fn label(graph: &Graph, id: ValueId) -> String {
    graph.values.get(id.0).map_or_else(|| "?".into(), |v| format!("{} {}", v.name, v.ty))
}

fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::chain;

    #[test]
    fn every_node_and_edge_is_drawn_and_names_are_quoted() {
        let mut g = chain();
        g.nodes[0].name = "a \"b\"\n".into();
        let text = dot(&g);
        assert!(text.contains("n0 -> n1") && text.contains("v0 -> n0") && text.contains("n1 -> o0"), "{text}");
        assert!(text.contains("a \\\"b\\\"\\n"), "{text}");
        assert_eq!(text.matches('{').count(), text.matches('}').count());
    }
}
