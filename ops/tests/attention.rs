//! Attention's definitions against plain softmax over gathered rows, against each other, and against operands that are wrong.
#![allow(clippy::needless_range_loop, reason = "loops over the indices that the formulas have")]

use tandem_ops::def::{Dims, Operation, Tensors, accept};
use tandem_ops::operation;
use tandem_tensor::Tensor;

fn drawn(name: &str, sample: &str, seed: u64) -> (&'static dyn Operation, Dims, Tensors) {
    let operation = operation(name).unwrap();
    let sample = operation.samples().into_iter().find(|other| other.name == sample).unwrap();
    let inputs = operation.sample(sample.name, &sample.dims, seed).unwrap();
    let dims = accept(operation, &sample.dims, &inputs).unwrap();
    (operation, dims, inputs)
}

fn ints(inputs: &Tensors, name: &str) -> Vec<usize> {
    inputs.get(name).unwrap().to_i64().unwrap().into_iter().map(|x| x as usize).collect()
}

/// `o` and `lse` of one query over gathered keys and values, by the formula.
fn softmax(q: &[f64], keys: &[&[f64]], values: &[&[f64]], scale: f64) -> (Vec<f64>, f64) {
    let weights: Vec<f64> =
        keys.iter().map(|k| (q.iter().zip(*k).map(|(q, k)| q * k).sum::<f64>() * scale).exp()).collect();
    let total: f64 = weights.iter().sum();
    let mut o = vec![0.0; q.len()];
    for (weight, value) in weights.iter().zip(values) {
        o.iter_mut().zip(*value).for_each(|(o, v)| *o += weight / total * v);
    }
    (o, total.log2())
}

fn near(found: &[f64], expected: &[f64], tolerance: f64, context: &str) {
    for (at, (a, b)) in found.iter().zip(expected).enumerate() {
        assert!((a - b).abs() <= tolerance * b.abs().max(1.0) || a == b, "{context} at {at}: {a} is not {b}");
    }
}

#[test]
fn rows_attend_to_the_pages_of_their_request() {
    for (name, sample) in [("attention.prefill.bf16", "ragged"), ("attention.decode.bf16", "group_of_8")] {
        let (operation, dims, inputs) = drawn(name, sample, 3);
        let found = operation.reference(&dims, &inputs).unwrap();
        let (o, lse) = (found.get("o").unwrap().to_f64(), found.get("lse").unwrap().to_f64());
        let (hq, hkv, d, page) = (dims["hq"], dims["hkv"], dims["d"], dims["page"]);
        let (q, kv) = (inputs.get("q").unwrap().to_f64(), inputs.get("kv").unwrap().to_f64());
        let (indptr, indices) = (ints(&inputs, "indptr"), ints(&inputs, "indices"));
        let last = ints(&inputs, "last_page_len");
        let rows: Vec<usize> =
            inputs.find("qo_indptr").map_or((0..=dims["b"]).collect(), |_| ints(&inputs, "qo_indptr"));
        let scale = inputs.get("scale").unwrap().to_f64()[0];
        for request in 0..dims["b"] {
            let mut lines = Vec::new();
            for entry in indptr[request]..indptr[request + 1] {
                let count = if entry + 1 == indptr[request + 1] { last[request] } else { page };
                lines.extend((0..count).map(|at| (indices[entry], at)));
            }
            for row in rows[request]..rows[request + 1] {
                // All these samples are causal: the last row sees all positions, the one before it all but one.
                let seen = (lines.len() + row + 1).saturating_sub(rows[request + 1]);
                for head in 0..hq {
                    let of = |side: usize| -> Vec<&[f64]> {
                        let begin = |&(at, within): &(usize, usize)| {
                            (((at * 2 + side) * page + within) * hkv + head / (hq / hkv)) * d
                        };
                        lines[..seen].iter().map(|line| &kv[begin(line)..][..d]).collect()
                    };
                    let at = row * hq + head;
                    let (expected, total) = softmax(&q[at * d..][..d], &of(0), &of(1), scale);
                    near(&o[at * d..][..d], &expected, 5e-3, "o");
                    near(&lse[at..at + 1], &[total], 1e-6, "lse");
                }
            }
        }
    }
}

#[test]
fn pages_and_rows_in_order_hold_the_same() {
    for sample in ["ragged", "window", "soft_cap", "alibi", "sigmoid", "custom_mask", "more_rows_than_positions"] {
        let (paged, dims, inputs) = drawn("attention.prefill.bf16", sample, 5);
        let ragged = operation("attention.ragged.bf16").unwrap();
        let (line, page) = (dims["hkv"] * dims["d"], dims["page"]);
        let kv = inputs.get("kv").unwrap().to_f64();
        let (indptr, indices, last) =
            (ints(&inputs, "indptr"), ints(&inputs, "indices"), ints(&inputs, "last_page_len"));
        let (mut k, mut v, mut ends) = (Vec::new(), Vec::new(), vec![0i32]);
        for request in 0..dims["b"] {
            for entry in indptr[request]..indptr[request + 1] {
                let count = if entry + 1 == indptr[request + 1] { last[request] } else { page };
                let begin = indices[entry] * 2 * page * line;
                k.extend_from_slice(&kv[begin..begin + count * line]);
                v.extend_from_slice(&kv[begin + page * line..][..count * line]);
            }
            ends.push((k.len() / line) as i32);
        }
        let shape = [k.len() / line, dims["hkv"], dims["d"]];
        let rows = |values: &[f64]| Tensor::from_f64(tandem_tensor::DType::BF16, shape, values).unwrap();
        let others = inputs.iter().filter(|(name, _)| ragged.def().input(name).is_some());
        let gathered: Tensors = others.map(|(name, tensor)| (name, tensor.clone())).collect();
        let gathered = gathered
            .with("k", rows(&k))
            .with("v", rows(&v))
            .with("kv_indptr", Tensor::from_vec([ends.len()], ends).unwrap());
        let mut choices = Dims::defaults(ragged.def().axes);
        for (axis, extent) in dims.iter().filter(|(axis, _)| ragged.def().axes.iter().any(|a| a.name == *axis)) {
            choices.set(axis, extent);
        }
        let bound = accept(ragged, &choices, &gathered).unwrap();
        let (found, expected) =
            (ragged.reference(&bound, &gathered).unwrap(), paged.reference(&dims, &inputs).unwrap());
        assert_eq!(found, expected, "{sample}");
        assert_eq!(ragged.work(&bound, &gathered).flops, paged.work(&dims, &inputs).flops, "{sample}");
    }
}

#[test]
fn a_sparse_matrix_of_blocks_hides_the_others() {
    for (name, sample) in [
        ("attention.block_sparse.bf16", "empty_rows"),
        ("attention.block_sparse.bf16", "positions_of_one"),
        ("attention.variable_block_sparse.bf16", "most"),
        ("attention.variable_block_sparse.bf16", "few"),
    ] {
        let (operation, dims, inputs) = drawn(name, sample, 9);
        let (m, n, hq, hkv, d) = (dims["m"], dims["n"], dims["hq"], dims["hkv"], dims["d"]);
        let mut seen = vec![false; hkv * m * n];
        if name == "attention.block_sparse.bf16" {
            let (r, c) = (dims["r"], dims["c"]);
            let (indptr, indices) = (ints(&inputs, "indptr"), ints(&inputs, "indices"));
            for (head, row) in (0..hkv).flat_map(|head| (0..m).map(move |row| (head, row))) {
                for column in &indices[indptr[row / r]..indptr[row / r + 1]] {
                    seen[(head * m + row) * n..][column * c..(column + 1) * c].fill(true);
                }
            }
        } else {
            let (rows, columns, map) =
                (ints(&inputs, "block_rows"), ints(&inputs, "block_columns"), ints(&inputs, "map"));
            let (rb, cb) = (dims["rb"], dims["cb"]);
            let expand = |sizes: &[usize]| -> Vec<usize> {
                sizes.iter().enumerate().flat_map(|(block, &size)| std::iter::repeat_n(block, size)).collect()
            };
            for head in 0..hkv {
                let (rows, columns) = (expand(&rows[head * rb..][..rb]), expand(&columns[head * cb..][..cb]));
                for (row, column) in (0..m).flat_map(|row| (0..n).map(move |column| (row, column))) {
                    seen[(head * m + row) * n + column] = map[(head * rb + rows[row]) * cb + columns[column]] == 1;
                }
            }
        }
        let [q, k, v] = ["q", "k", "v"].map(|port| inputs.get(port).unwrap().to_f64());
        let scale = inputs.get("scale").unwrap().to_f64()[0];
        let found = operation.reference(&dims, &inputs).unwrap();
        let (o, lse) = (found.get("o").unwrap().to_f64(), found.get("lse").unwrap().to_f64());
        for (row, head) in (0..m).flat_map(|row| (0..hq).map(move |head| (row, head))) {
            let (at, kv_head) = (row * hq + head, head / (hq / hkv));
            let own: Vec<usize> = (0..n).filter(|column| seen[(kv_head * m + row) * n + column]).collect();
            let gather = |from: &'_ [f64]| -> Vec<Vec<f64>> {
                own.iter().map(|column| from[(column * hkv + kv_head) * d..][..d].to_vec()).collect()
            };
            let (keys, values) = (gather(&k), gather(&v));
            if own.is_empty() {
                assert!(o[at * d..][..d].iter().all(|&x| x == 0.0) && lse[at] == f64::NEG_INFINITY, "{name} {row}");
                continue;
            }
            let keys: Vec<&[f64]> = keys.iter().map(Vec::as_slice).collect();
            let values: Vec<&[f64]> = values.iter().map(Vec::as_slice).collect();
            let (expected, total) = softmax(&q[at * d..][..d], &keys, &values, scale);
            near(&o[at * d..][..d], &expected, 5e-3, name);
            near(&lse[at..at + 1], &[total], 1e-6, name);
        }
    }
}

#[test]
fn a_cascade_is_attention_over_both_tables() {
    let (cascade, dims, inputs) = drawn("attention.cascade.bf16", "two_groups", 4);
    let flat = operation("attention.prefill.bf16").unwrap();
    let page = dims["page"];
    let (groups, own) = (ints(&inputs, "prefix_qo_indptr"), ints(&inputs, "qo_indptr"));
    let table =
        |prefix: &str| ["indptr", "indices", "last_page_len"].map(|port| ints(&inputs, &format!("{prefix}{port}")));
    let (shared, single) = (table("prefix_"), table(""));
    let positions = |[indptr, indices, last]: &[Vec<usize>; 3], request: usize| -> Vec<(usize, usize)> {
        let entries = &indices[indptr[request]..indptr[request + 1]];
        let end = |at: usize| if at + 1 == entries.len() { last[request] } else { page };
        entries.iter().enumerate().flat_map(|(at, &entry)| (0..end(at)).map(move |within| (entry, within))).collect()
    };
    // The same as pages of one position each.
    let line = dims["hkv"] * dims["d"];
    let kv = inputs.get("kv").unwrap().to_f64();
    let (mut pages, mut lengths) = (Vec::new(), vec![0i32]);
    for request in 0..dims["b"] {
        let group = groups.iter().rposition(|&begin| begin <= own[request]).unwrap().min(dims["groups"] - 1);
        for (entry, within) in positions(&shared, group).into_iter().chain(positions(&single, request)) {
            for side in 0..2 {
                pages.extend_from_slice(&kv[((entry * 2 + side) * page + within) * line..][..line]);
            }
        }
        lengths.push((pages.len() / line / 2) as i32);
    }
    let count = pages.len() / line / 2;
    let empty = operation("attention.prefill.bf16").unwrap().sample("no_requests", &flat.samples()[0].dims, 1).unwrap();
    let flattened = empty
        .with("q", inputs.get("q").unwrap().clone())
        .with("qo_indptr", inputs.get("qo_indptr").unwrap().clone())
        .with("scale", inputs.get("scale").unwrap().clone())
        .with(
            "kv",
            Tensor::from_f64(tandem_tensor::DType::BF16, [count, 2, 1, dims["hkv"], dims["d"]], &pages).unwrap(),
        )
        .with("indptr", Tensor::from_vec([lengths.len()], lengths).unwrap())
        .with("indices", Tensor::from_vec([count], (0..count as i32).collect()).unwrap())
        .with("last_page_len", Tensor::from_vec([dims["b"]], vec![1i32; dims["b"]]).unwrap());
    let mut choices = Dims::default();
    choices.set("mask", 1);
    let bound = accept(flat, &choices, &flattened).unwrap();
    let (found, expected) = (cascade.reference(&dims, &inputs).unwrap(), flat.reference(&bound, &flattened).unwrap());
    for port in ["o", "lse"] {
        let (found, expected) = (found.get(port).unwrap().to_f64(), expected.get(port).unwrap().to_f64());
        near(&found, &expected, 1e-6, port);
    }
    // The prefix is read once for all that share it.
    assert!(cascade.work(&dims, &inputs).dram_bytes < flat.work(&bound, &flattened).dram_bytes);
}

#[test]
fn work_follows_from_the_lengths_and_from_what_rows_see() {
    let (operation, dims, inputs) = drawn("attention.prefill.bf16", "whole_tiles", 1);
    let (rows, kv) = (128u64, 128u64);
    let full = operation.work(&dims, &inputs);
    assert_eq!(full.flops, 4 * 128 * 2 * rows * kv);
    let causal = operation.work(&dims.clone().with("mask", 1), &inputs);
    assert_eq!(causal.flops, 4 * 128 * 2 * (rows * (rows + 1) / 2));
    assert_eq!(causal.dram_bytes, full.dram_bytes);
    let window = operation.work(&dims.with("mask", 2).with("window", 10), &inputs);
    assert_eq!(window.flops, 4 * 128 * 2 * (45 + 10 * (rows - 9)));
}

#[test]
fn tables_that_are_wrong_are_refused_with_port_and_position() {
    let refused = |name: &str, sample: &str, port: &'static str, change: &dyn Fn(&mut Vec<i32>), expected: &str| {
        let (operation, dims, inputs) = drawn(name, sample, 1);
        let mut values = inputs.slice::<i32>(port).unwrap().to_vec();
        change(&mut values);
        let inputs = inputs.with(port, Tensor::from_vec([values.len()], values).unwrap());
        let error = operation.check(&dims, &inputs).expect_err(expected).to_string();
        assert!(error.contains(name) && error.contains(expected), "{error}");
    };
    for name in ["attention.decode.bf16", "attention.prefill.bf16"] {
        refused(name, "zipf", "indptr", &|all| all[0] = 1, "operand indptr at position 0 is 1");
        refused(name, "zipf", "indptr", &|all| all[3] = all[2] - 1, "operand indptr at position 3");
        refused(name, "zipf", "indptr", &|all| *all.last_mut().unwrap() += 1, "operand indptr at position 12");
        refused(name, "zipf", "indices", &|all| all[4] = -1, "operand indices at position 4 is -1");
        refused(name, "zipf", "indices", &|all| all[5] = i32::MAX, "operand indices at position 5");
        refused(name, "zipf", "last_page_len", &|all| all[2] = 0, "operand last_page_len at position 2 is 0");
        refused(name, "zipf", "last_page_len", &|all| all[7] = 17, "operand last_page_len at position 7 is 17");
        refused(name, "custom_mask", "mask_indptr", &|all| all[1] = -1, "operand mask_indptr at position 1");
        refused(name, "custom_mask", "mask_indptr", &|all| all[2] += 1, "operand mask_indptr at position 2");
    }
    refused("attention.prefill.bf16", "ragged", "qo_indptr", &|all| all[2] = 0, "operand qo_indptr at position 2");
    refused(
        "attention.ragged.bf16",
        "ragged",
        "kv_indptr",
        &|all| all[1] = -3,
        "operand kv_indptr at position 1 is -3",
    );
    let blocks = "attention.block_sparse.bf16";
    refused(blocks, "single", "indices", &|all| all[0] = 61, "operand indices at position 0 is 61");
    let append = "attention.append.bf16";
    refused(append, "one_each", "append_indptr", &|all| all[5] = 99, "operand append_indptr at position 5");
    refused(append, "across_pages", "indices", &|all| all[2] = all[4], "operand k at position");
    let (operation, dims, inputs) = drawn("attention.decode.bf16", "soft_cap", 1);
    let error = operation.check(&dims, &inputs.with("soft_cap", Tensor::scalar(0f32))).unwrap_err().to_string();
    assert!(error.contains("operand soft_cap is 0"), "{error}");
}

#[test]
fn maps_without_blocks_are_refused_with_their_axes() {
    let name = "attention.variable_block_sparse.bf16";
    let (operation, dims, inputs) = drawn(name, "no_rows", 1);
    for (axis, port, shape) in [("rb", "block_rows", [2, 0, dims["cb"]]), ("cb", "block_columns", [2, dims["rb"], 0])] {
        let dims = dims.clone().with(axis, 0);
        // Without rows and positions, the sizes of no blocks have the right sum.
        let empty = operation.sample("no_rows", &dims.clone().with("m", 0).with("n", 0), 1).unwrap_err().to_string();
        let inputs = inputs
            .clone()
            .with(port, Tensor::from_vec([2, 0], Vec::<i32>::new()).unwrap())
            .with("map", Tensor::from_vec(shape, Vec::<u8>::new()).unwrap());
        let bound = accept(operation, &dims, &inputs).unwrap_err().to_string();
        for error in [empty, bound] {
            assert!(error.contains("rb > 0 and cb > 0") && error.contains(&format!("{axis}=0")), "{error}");
        }
    }
}
