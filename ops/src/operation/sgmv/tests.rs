use super::*;
use crate::def::accept;
use crate::operation;

fn drawn(name: &str, sample: &str) -> (&'static dyn Operation, Dims, Tensors) {
    let operation = operation(name).unwrap();
    let sample = operation.samples().into_iter().find(|other| other.name == sample).unwrap();
    let inputs = operation.sample(sample.name, &sample.dims, 3).unwrap();
    let dims = accept(operation, &sample.dims, &inputs).unwrap();
    (operation, dims, inputs)
}

/// The operands with one number of a table changed.
fn changed(inputs: &Tensors, port: &'static str, at: usize, value: i32) -> Tensors {
    let tensor = inputs.get(port).unwrap();
    let mut all = tensor.as_slice::<i32>().unwrap().to_vec();
    all[at] = value;
    inputs.clone().with(port, Tensor::from_vec(tensor.shape().clone(), all).unwrap())
}

#[test]
fn wrong_tables_are_refused_with_port_and_position() {
    let (operation, dims, inputs) = drawn("sgmv.bf16", "repeated");
    let (rows, pages) = (dims["n"] as i32, dims["pages"] as i32);
    let cases = [
        ("segments", 0, 1, "segments at position 0 is 1, but offsets begin at 0"),
        ("segments", 2, -1, "segments at position 2 is -1, less than"),
        ("segments", 6, rows + 1, "segments at position 6 is"),
        ("adapter", 1, 3, "adapter at position 1 is 3, which is neither -1 nor one of 0..3"),
        ("adapter", 1, -2, "adapter at position 1 is -2, which is neither"),
        ("indptr", 1, 49, "indptr at position 2 is 32, less than 49"),
        ("a_index", 5, pages - 1, "a_index at position 5 is"),
        ("b_index", 7, -1, "b_index at position 7 is -1, from where 128 elements do not fit in"),
    ];
    for (port, at, value, text) in cases {
        let inputs = changed(&inputs, port, at, value);
        let error = accept(operation, &dims, &inputs).unwrap_err().to_string();
        assert!(error.contains(text), "{port} {at} {value}: {error}");
    }
    let (expand, dims, inputs) = drawn("sgmv.expand.bf16", "distinct");
    let narrow = draw::v("", &mut Random::new(1), &[dims["n"]], &[-1], &[], 15);
    let error = accept(expand, &dims.with("rank", 15), &inputs.with("v", narrow)).unwrap_err().to_string();
    assert!(error.contains("whose rank of 16 is more than the 15 columns of v"), "{error}");
}

#[test]
fn the_fused_form_expands_what_is_shrunk() {
    for sample in ["mixed_ranks", "ragged", "no_adapter", "mixed_lengths"] {
        let (fused, dims, inputs) = drawn("sgmv.bf16", sample);
        let (shrink, expand) = (operation("sgmv.shrink.bf16").unwrap(), operation("sgmv.expand.bf16").unwrap());
        let v = shrink.reference(&dims, &inputs).unwrap().get("v").unwrap().clone();
        let expanded = expand.reference(&dims, &inputs.clone().with("v", v)).unwrap();
        let agreement = FUSED
            .agree
            .compare(expanded.get("out").unwrap(), fused.reference(&dims, &inputs).unwrap().get("out").unwrap());
        assert!(FUSED.agree.allows(&agreement), "{sample}: {agreement:?}");
    }
}

#[test]
fn rows_without_an_adapter_and_of_rank_zero_stay_as_they_are() {
    for sample in ["no_adapter", "all_without", "rank_zero", "no_adapters"] {
        let (operation, dims, inputs) = drawn("sgmv.bf16", sample);
        let batch = Batch::of(&dims, &inputs).unwrap();
        let out = operation.reference(&dims, &inputs).unwrap();
        let (y, out) = (inputs.slice::<bf16>("y").unwrap(), out.slice::<bf16>("out").unwrap());
        let idle: Vec<_> = batch.segments.iter().filter(|segment| batch.entries(segment).is_empty()).collect();
        assert!(idle.iter().any(|segment| !segment.rows.is_empty()), "{sample}");
        for row in idle.into_iter().flat_map(|segment| segment.rows.clone()) {
            let at = row * batch.h2..(row + 1) * batch.h2;
            assert_eq!(y[at.clone()], out[at], "{sample} {row}");
        }
    }
}

#[test]
fn an_adapter_of_several_segments_is_read_once_and_one_of_none_not_at_all() {
    let work = |extents: &[(&'static str, usize)], name| {
        let operation = operation("sgmv.bf16").unwrap();
        let sample = Sample::new(operation.def(), name, extents);
        let inputs = operation.sample(name, &sample.dims, 1).unwrap();
        operation.work(&accept(operation, &sample.dims, &inputs).unwrap(), &inputs)
    };
    // 64 adapters of rank 16 are 16.8 MB, their indices 8 kB, rows of x, y and out 1.6 MB.
    let distinct = work(&[("s", 64), ("adapters", 64), ("rows", 1), ("page", 4096)], "distinct");
    let (weights, rows, tables) = (64 * 16 * 8192 * 2, 64 * 3 * 4096 * 2, 64 * 16 * 8 + 4 * (64 + 65));
    assert_eq!(distinct.dram_bytes, weights + rows + tables);
    assert_eq!(distinct.flops, 64 * 16 * 8192 * 2);
    let identical = work(&[("s", 64), ("adapters", 64), ("rows", 1), ("page", 4096)], "identical");
    assert_eq!(identical.dram_bytes, weights / 64 + rows + 16 * 8 + 4 * (64 + 65));
    assert_eq!(identical.flops, distinct.flops);
}

#[test]
fn rows_are_gathered_by_adapter() {
    let (_, dims, inputs) = drawn("sgmv.bf16", "repeated");
    let batch = Batch::of(&dims, &inputs).unwrap();
    let gathered = batch.gathered();
    assert_eq!(gathered.iter().map(|(entries, _)| entries.clone()).collect::<Vec<_>>(), [0..16, 32..48]);
    let mut rows: Vec<usize> = gathered.into_iter().flat_map(|(_, rows)| rows).collect();
    rows.sort_unstable();
    assert_eq!(rows, (0..dims["n"]).collect::<Vec<_>>());
}
