//! How long the search for a placement takes, and how near to the best it ends, on shapes of models.
//!
//! Costs are random and the same in every run; three devices with links between all of them. The table before the times says what
//! was found.

use criterion::Criterion;
use tandem_ops::def::Random;
use tandem_plan::place::{
    Candidate, Cost, Device, LABELS, Link, Machine, Node, Objective, Problem, Request, Spec, Value, search,
};

/// Nodes that node `i` reads.
fn reads(shape: &str, i: usize, random: &mut Random) -> Vec<usize> {
    // Blocks of nine nodes that begin behind node `base`.
    let (place, base) = ((i - 1) % 9, (i - 1) / 9 * 9);
    match shape {
        "chain" => vec![i - 1],
        "skips" if i.is_multiple_of(3) => vec![i - 1, i - 3],
        "skips" => vec![i - 1],
        "branches" => match place {
            8 => vec![base + 2, base + 4, base + 6, base + 8],
            k if k.is_multiple_of(2) => vec![base],
            _ => vec![i - 1],
        },
        "attention" => match place {
            0..=2 => vec![base],
            3 => vec![base + 1, base + 2],
            4 => vec![base + 4, base + 3],
            5 => vec![i - 1, base],
            8 => vec![i - 1, base + 6],
            _ => vec![i - 1],
        },
        _ => (0..1 + random.within(0, 2)).map(|_| i - 1 - random.within(0, i.min(10))).collect(),
    }
}

fn problem(shape: &str, nodes: usize, idle_watts: f64) -> Problem {
    let mut random = Random::new(7);
    let device = |name: &str, busy: f64| Device {
        name: name.into(),
        memory_bytes: 1 << 30,
        busy_watts: busy + idle_watts,
        idle_watts,
        launch_seconds: 20e-6,
    };
    let devices = vec![device("cpu", 15.0), device("fpga", 4.0), device("gpu", 40.0)];
    let links = (0..9).map(|i| (i / 3, i % 3)).filter(|(from, to)| from != to).map(|(from, to)| Link {
        from,
        to,
        latency_seconds: 10e-6,
        bytes_per_second: 1e9,
        joules_per_byte: 1e-9,
    });
    let machine = Machine { links: links.collect(), devices, host: 0 };
    let mut values = vec![Value { name: "x".into(), bytes: 150_000, maker: None }];
    let mut list = Vec::new();
    for n in 0..nodes {
        let reads = if n == 0 { vec![0] } else { reads(shape, n, &mut random).iter().map(|m| m + 1).collect() };
        values.push(Value { name: format!("v{n}"), bytes: 20_000 + random.within(0, 200_000) as u64, maker: Some(n) });
        let candidates = (0..3).map(|d| {
            if d == 1 && random.within(0, 100) < 15 {
                return Candidate::Refuses("not on the array".into());
            }
            let seconds = (50 + random.within(0, 400)) as f64 * [2e-6, 1e-6, 0.5e-6][d];
            Candidate::Runs(Cost { seconds, held_bytes: random.within(0, 100_000) as u64, work_bytes: 0, joules: 0.0 })
        });
        list.push(Node { name: format!("n{n}"), reads, candidates: candidates.collect() });
    }
    let outputs = (1..values.len()).filter(|v| !list.iter().any(|n: &Node| n.reads.contains(v))).collect();
    Problem::new(Spec { machine, values, nodes: list, outputs }).expect("a legal description")
}

fn main() {
    let mut criterion = Criterion::default().sample_size(10).configure_from_args();
    println!("shape       nodes  objective       gap      labels  proof");
    for (shape, nodes) in [
        ("chain", 30),
        ("chain", 200),
        ("skips", 200),
        ("branches", 200),
        ("attention", 200),
        ("random", 30),
        ("random", 200),
    ] {
        for (name, objective, idle) in [
            ("latency", Objective::Latency, 0.0),
            ("period", Objective::Period, 0.0),
            ("energy", Objective::Energy, 0.0),
            ("energy, idling", Objective::Energy, 2.0),
        ] {
            let (problem, request) = (problem(shape, nodes, idle), Request::of(objective));
            let found = search(&problem, &request, LABELS).expect("nothing stands in the way");
            let gap = found.gap() * 100.0;
            println!("{shape:<10}  {nodes:>5}  {name:<14}  {gap:>5.2} %  {:>7}  {:?}", found.labels, found.proof);
            criterion.bench_function(&format!("{shape} {nodes} {name}"), |b| {
                b.iter(|| search(&problem, &request, LABELS));
            });
        }
    }
    criterion.final_summary();
}
