//! The example in the documentation of every pass and analysis is what it does; `cargo x bless` rewrites them.

use std::path::{Path, PathBuf};
use tandem_graph::pass::{PASSES, groups, memory};
use tandem_graph::{Graph, interpret, parse, print};
use tandem_tensor::Tensor;

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src/pass").join(format!("{name}.rs"))
}

/// Compares what stands behind `// after` in the module's documentation with a text, or writes it there with `TANDEM_BLESS=1`.
fn check(name: &str, made: impl Fn(&Graph) -> String) {
    let source = std::fs::read_to_string(file(name)).unwrap();
    let lines: Vec<&str> = source.lines().collect();
    let find = |from: usize, wanted: &str| {
        let at = lines[from..].iter().position(|line| *line == wanted);
        from + at.unwrap_or_else(|| panic!("{name}.rs has no line `{wanted}` in its example"))
    };
    let before = find(0, "//! // before");
    let after = find(before, "//! // after");
    let end = find(after, "//! ```");
    let text: String =
        lines[before..after].iter().map(|line| format!("{}\n", line.trim_start_matches("//! "))).collect();
    let graph = parse(&text).unwrap_or_else(|e| panic!("{name}.rs: {e}"));
    graph.verify().unwrap_or_else(|e| panic!("{name}.rs: {e}"));
    let found = made(&graph);
    if std::env::var("TANDEM_BLESS").is_ok_and(|bless| bless == "1") {
        let mut blessed: Vec<String> = lines[..=after].iter().map(|&line| line.to_owned()).collect();
        blessed.extend(found.lines().map(|line| format!("//! {line}")));
        blessed.extend(lines[end..].iter().map(|&line| line.to_owned()));
        std::fs::write(file(name), blessed.join("\n") + "\n").unwrap();
        return;
    }
    let written: String =
        lines[after + 1..end].iter().map(|line| format!("{}\n", line.trim_start_matches("//! "))).collect();
    assert_eq!(found, written, "{name}.rs: its example is out of date; `cargo x bless` rewrites it");
}

/// Small numbers of either sign.
fn sample(graph: &Graph, seed: i64) -> Vec<Tensor> {
    let of = |&id: &tandem_graph::ValueId| {
        let ty = graph.ty(id);
        let values: Vec<f64> = (0..ty.elements() as i64).map(|i| ((i * 37 + seed * 11) % 23 - 11) as f64).collect();
        Tensor::from_f64(ty.dtype, ty.shape.clone(), &values).unwrap()
    };
    graph.inputs.iter().map(of).collect()
}

#[test]
fn the_example_of_every_pass_is_what_it_does_and_keeps_every_result() {
    for pass in PASSES {
        check(pass.name, |graph| {
            let after = pass.run(graph).unwrap();
            for seed in 0..8 {
                let inputs = sample(graph, seed);
                assert_eq!(interpret(graph, &inputs).unwrap(), interpret(&after, &inputs).unwrap(), "{}", pass.name);
            }
            print(&after)
        });
    }
}

#[test]
fn the_example_of_every_analysis_is_its_answer() {
    check("groups", |graph| groups::print(graph, &groups::groups(graph)));
    check("memory", |graph| memory::print(graph, &memory::plan(graph, &memory::Options::default())));
}
