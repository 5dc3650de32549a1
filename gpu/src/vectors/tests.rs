use super::*;

fn vectors(comparison: Comparison, results: Vec<u32>) -> Vectors {
    let threads: Vec<u32> = (0..results.len() as u32).map(|thread| 100 + thread).collect();
    Vectors {
        device: "one".into(),
        backend: "cuda-sim".into(),
        inputs: BTreeMap::from([("numbers".to_owned(), Inputs { hash: "0".into(), words: 1, threads })]),
        opcodes: vec![Vector { opcode: "op".into(), inputs: "numbers".into(), comparison, words: 1, results }],
    }
}

#[test]
fn the_first_other_bits_of_an_exact_opcode_are_told() {
    let (a, b) = (vectors(Comparison::Exact, vec![1, 2, 3, 4]), vectors(Comparison::Exact, vec![1, 9, 3, 5]));
    assert_eq!(compare(&a, &a), []);
    let differences = compare(&a, &b);
    let place = Place { thread: 1, word: 0, input: vec![101], a: 2, b: 9 };
    assert_eq!(differences, [Difference::Bits { opcode: "op".into(), place, count: (2, 4) }]);
    assert!(differences[0].is_mistake());
    let text = differences[0].to_string();
    assert!(text.contains("2 of 4 words") && text.contains("0x00000065"), "{text}");
}

#[test]
fn the_largest_distance_of_an_approximation_is_told() {
    let bits = |x: [f32; 4]| x.map(f32::to_bits).to_vec();
    let a = vectors(Comparison::F32, bits([1.0, -0.0, 2.0, f32::NAN]));
    let mut b = vectors(Comparison::F32, bits([1.0, 0.0, 2.0, -f32::NAN]));
    assert_eq!(compare(&a, &b), []);
    b.opcodes[0].results[0] += 1;
    b.opcodes[0].results[2] -= 3;
    let [Difference::Ulps { place, ulps: Some(3), count: (2, 4), .. }] = &compare(&a, &b)[..] else { panic!() };
    assert_eq!((place.thread, place.input[0]), (2, 102));
    // One side alone a NaN is farther than any number.
    b.opcodes[0].results[3] = 0;
    let [difference] = &compare(&a, &b)[..] else { panic!() };
    assert!(difference.is_mistake() && difference.to_string().contains("thread 3"), "{difference}");
}

#[test]
fn distances_go_through_zero_and_take_the_larger_half() {
    assert_eq!(distance(Comparison::F32, 0x8000_0001, 0x0000_0002), Some(3));
    assert_eq!(distance(Comparison::F32, 0x7f80_0000, 0x7f7f_ffff), Some(1));
    assert_eq!(distance(Comparison::F16x2, 0x3c00_0001, 0x3c05_8001), Some(5));
    assert_eq!(distance(Comparison::F16x2, 0x7e00_0000, 0x3c00_0000), None);
    assert_eq!(distance(Comparison::Bf16x2, 0x7c00_7f81, 0x7c01_ffff), Some(1));
}

#[test]
fn other_inputs_and_opcodes_of_one_side_are_not_compared() {
    let (a, mut b) = (vectors(Comparison::Exact, vec![1, 2]), vectors(Comparison::Exact, vec![1, 2]));
    b.inputs.insert("numbers".into(), Inputs { hash: "1".into(), words: 1, threads: vec![100, 101] });
    assert!(compare(&a, &b)[0].to_string().contains("other inputs"));
    b.opcodes[0].opcode = "another".into();
    let told = compare(&a, &b);
    assert_eq!(told.len(), 2);
    assert!(told.iter().all(|difference| difference.to_string().contains("alone")));
}

#[test]
fn vectors_survive_their_text_and_broken_text_is_an_error() {
    let vectors = vectors(Comparison::Bf16x2, vec![0, 0xdead_beef]);
    let text = serde_json::to_string(&vectors).unwrap();
    assert!(text.contains("00000000deadbeef"), "{text}");
    assert_eq!(serde_json::from_str::<Vectors>(&text).unwrap(), vectors);
    for (from, to) in [("deadbeef", "deadbee"), ("deadbeef", "deadbeeg"), ("deadbeef", "deadbe\u{e9}")] {
        assert!(serde_json::from_str::<Vectors>(&text.replace(from, to)).is_err(), "{to}");
    }
}

#[test]
fn names_are_each_of_one_opcode() {
    let opcodes = opcodes::all();
    let names: std::collections::BTreeSet<&str> = opcodes.iter().map(|opcode| opcode.name.as_str()).collect();
    assert_eq!(names.len(), opcodes.len());
    let header = opcodes::header(&opcodes);
    assert!(opcodes.iter().all(|opcode| header.contains(&format!("OPCODE({}, ", opcode.number))));
}
