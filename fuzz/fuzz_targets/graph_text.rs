//! The text form of a graph: what parses, prints to what parses to the same.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(graph) = tandem_graph::parse(text) {
        let again = tandem_graph::parse(&tandem_graph::print(&graph)).expect("a printed graph parses");
        assert_eq!(again.nodes.len(), graph.nodes.len());
    }
});
