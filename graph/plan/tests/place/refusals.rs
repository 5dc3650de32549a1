//! What is refused, each in one sentence that names the thing.

use tandem_plan::place::{
    Candidate, Cost, Device, LABELS, Link, MAX_DEVICES, Machine, Node, Objective, PlaceError, Problem, Request, Spec,
    Value, measure, search,
};

fn device(name: &str, memory_bytes: u64) -> Device {
    Device { name: name.to_owned(), memory_bytes, busy_watts: 10.0, idle_watts: 1.0, launch_seconds: 1e-3 }
}

fn link(from: usize, to: usize) -> Link {
    Link { from, to, latency_seconds: 1e-3, bytes_per_second: 1e6, joules_per_byte: 1e-9 }
}

fn runs(seconds: f64) -> Candidate {
    Candidate::Runs(Cost { seconds, held_bytes: 100, work_bytes: 10, joules: 0.0 })
}

/// Two nodes in a row on two devices, of which the second is ten times as fast.
fn spec() -> Spec {
    let node = |name: &str, read: usize| Node {
        name: name.to_owned(),
        reads: vec![read],
        candidates: vec![runs(0.1), runs(0.01)],
    };
    let value = |name: &str, maker: Option<usize>| Value { name: name.to_owned(), bytes: 1000, maker };
    Spec {
        machine: Machine {
            devices: vec![device("cpu", 1 << 20), device("gpu", 1 << 20)],
            links: vec![link(0, 1), link(1, 0)],
            host: 0,
        },
        values: vec![value("x", None), value("a", Some(0)), value("y", Some(1))],
        nodes: vec![node("conv", 0), node("dense", 1)],
        outputs: vec![2],
    }
}

/// The sentence with which a changed description is refused.
fn refused(change: impl FnOnce(&mut Spec)) -> String {
    let mut spec = spec();
    change(&mut spec);
    let text = Problem::new(spec).unwrap_err().to_string();
    assert!(!text.contains('\n'));
    text
}

fn asked(change: impl FnOnce(&mut Spec), request: &Request) -> Result<Vec<usize>, String> {
    let mut spec = spec();
    change(&mut spec);
    let found = search(&Problem::new(spec).unwrap(), request, LABELS);
    found.map(|f| f.assignment).map_err(|e| e.to_string())
}

#[test]
fn the_sample_goes_to_the_fast_device() {
    let found = search(&Problem::new(spec()).unwrap(), &Request::default(), LABELS).unwrap();
    assert_eq!(found.assignment, [1, 1]);
    // There: 1 ms and 1 ms of transfer, 1 ms of launch, 20 ms of nodes, and back.
    assert!((found.value - 0.025).abs() < 1e-12);
    assert_eq!(found.to_string(), "latency 2.500000e-2 s, exact by dynamic programming along the chain");
    assert_eq!(found.measure.transfers.len(), 2);
    assert_eq!(found.measure.loads[1].needed_bytes(), 200 + 2010);
}

#[test]
fn hostile_descriptions_are_refused_with_one_sentence() {
    let cases: [(&str, String); 20] = [
        ("no devices", refused(|s| s.machine.devices.clear())),
        ("no nodes", refused(|s| s.nodes.clear())),
        ("circle", refused(|s| s.nodes[0].reads = vec![2])),
        ("seconds is NaN", refused(|s| s.nodes[0].candidates[1] = runs(f64::NAN))),
        ("seconds is -1", refused(|s| s.nodes[0].candidates[1] = runs(-1.0))),
        ("seconds is inf", refused(|s| s.nodes[0].candidates[1] = runs(f64::INFINITY))),
        ("latency_seconds is NaN", refused(|s| s.machine.links[0].latency_seconds = f64::NAN)),
        ("bytes_per_second is 0", refused(|s| s.machine.links[0].bytes_per_second = 0.0)),
        ("bytes_per_second is NaN", refused(|s| s.machine.links[0].bytes_per_second = f64::NAN)),
        ("there are two of it", refused(|s| s.machine.links.push(link(0, 1)))),
        ("joins two of the 2 devices", refused(|s| s.machine.links.push(link(1, 1)))),
        ("host is device 2 of 2", refused(|s| s.machine.host = 2)),
        ("a name of its own", refused(|s| s.machine.devices[1].name = "cpu".into())),
        ("more power when idle", refused(|s| s.machine.devices[1].idle_watts = 11.0)),
        ("busy_watts is NaN", refused(|s| s.machine.devices[1].busy_watts = f64::NAN)),
        ("1 candidates for 2 devices", refused(|s| drop(s.nodes[1].candidates.pop()))),
        ("reads value 7 of 3", refused(|s| s.nodes[1].reads = vec![7])),
        ("maker is node 9 of 2", refused(|s| s.values[1].maker = Some(9))),
        ("bytes is 18446744073709551615", refused(|s| s.values[1].bytes = u64::MAX)),
        ("value 3 of 3 is none", refused(|s| s.outputs = vec![3])),
    ];
    for (part, text) in cases {
        assert!(text.contains(part), "'{text}' does not say '{part}'");
    }
    let many = refused(|s| s.machine.devices = (0..=MAX_DEVICES).map(|d| device(&d.to_string(), 1)).collect());
    assert_eq!(many, "17 devices are more than the 16 that can be placed");
}

#[test]
fn text_that_is_no_description_is_refused_with_its_place() {
    let json = Problem::new(spec()).unwrap().to_json();
    let negative = json.replacen("\"bytes\": 1000", "\"bytes\": -1000", 1);
    assert_ne!(negative, json);
    for text in [negative.as_str(), "", "{}", "[1, 2"] {
        let error = Problem::from_json(text).unwrap_err().to_string();
        assert!(error.contains("line") && !error.contains('\n'), "{error}");
    }
    // A description that reads well and breaks a rule is refused by the same constructor.
    let lost: Result<Problem, _> = serde_json::from_str(&json.replacen("\"host\": 0", "\"host\": 5", 1));
    assert!(lost.unwrap_err().to_string().contains("host is device 5 of 2"));
}

#[test]
fn names_that_are_unknown_are_refused() {
    let pin = |node: &str, device: &str| Request { pins: [(node.into(), device.into())].into(), ..Request::default() };
    assert!(
        asked(|_| (), &pin("conv", "tpu")).unwrap_err().contains("device 'tpu': there is none; there are cpu, gpu")
    );
    assert!(asked(|_| (), &pin("pool", "gpu")).unwrap_err().contains("node 'pool'"));
    assert_eq!(asked(|_| (), &pin("conv", "cpu")).unwrap(), [0, 1]);
    let late = Request { latency_seconds: Some(f64::NAN), ..Request::default() };
    assert!(asked(|_| (), &late).unwrap_err().contains("latency bound"));
}

#[test]
fn a_node_without_a_device_is_named_with_each_reason() {
    let request = Request { forbidden: ["cpu".to_owned()].into(), ..Request::default() };
    let text = asked(|s| s.nodes[1].candidates[1] = Candidate::Refuses("no softmax".into()), &request).unwrap_err();
    assert_eq!(text, "no device can run node 'dense': 'cpu': the device is forbidden; 'gpu': no softmax");
}

#[test]
fn the_constraint_that_leaves_nothing_is_named() {
    let late = Request { latency_seconds: Some(0.02), ..Request::of(Objective::Energy) };
    let text = asked(|_| (), &late).unwrap_err();
    assert!(text.contains("the latency bound of 20 ms is not met: the fastest placement takes 25 ms"), "{text}");
    let small = |s: &mut Spec| s.machine.devices.iter_mut().for_each(|d| d.memory_bytes = 150);
    let text = asked(small, &Request::default()).unwrap_err();
    assert!(text.contains("the memory bounds leave no placement") && text.contains("which has 150"), "{text}");
    let apart = |s: &mut Spec| {
        s.machine.links.clear();
        s.nodes[1].candidates[0] = Candidate::Refuses("no".into());
    };
    assert!(asked(apart, &Request::default()).unwrap_err().contains("no link"));
}

#[test]
fn a_bound_of_memory_moves_nodes() {
    // 1000 bytes of the value that they share are not enough for both nodes, nor for the weights of one.
    let request = Request { memory_bytes: [("gpu".to_owned(), 2_150)].into(), ..Request::default() };
    assert_eq!(asked(|_| (), &request).unwrap().iter().filter(|&&d| d == 1).count(), 1);
}

#[test]
fn assignments_that_are_none_are_refused() {
    let problem = Problem::new(spec()).unwrap();
    assert!(matches!(measure(&problem, &[0]), Err(PlaceError::Invalid { .. })));
    assert!(matches!(measure(&problem, &[0, 9]), Err(PlaceError::Refused { .. })));
}
