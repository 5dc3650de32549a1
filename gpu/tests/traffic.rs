//! What kernels move, as the simulator counts it, against operands and results once each.

mod place;

use std::sync::Arc;
use tandem_gpu::{Compiler, Device, Facts, Simulation, kernels};
use tandem_ops::def::{Sample, accept};

/// A kernel on operands of an ordinary sample with these extents, and how many times the bytes of operands and results it may move.
type Case = (&'static str, Vec<(&'static str, usize)>, f64);

/// Bytes of sectors and of bulk copies over those of operands and results, on a device of two multiprocessors.
fn excess(compiler: &Arc<Compiler>, name: &str, extents: &[(&'static str, usize)]) -> f64 {
    let simulation = Simulation { facts: Facts { multiprocessors: 2, ..Facts::h200() }, ..Simulation::default() };
    let device = Device::sim(Arc::clone(compiler), simulation);
    let all = kernels(&device);
    let kernel = all.iter().find(|kernel| kernel.operation().def().name == name);
    let kernel = kernel.unwrap_or_else(|| panic!("{name} has no CUDA kernel"));
    let operation = kernel.operation();
    let sample = Sample::new(operation.def(), "random", extents);
    let inputs = operation.sample(sample.name, &sample.dims, 1).unwrap();
    let dims = accept(operation, &sample.dims, &inputs).unwrap();
    kernel.run(&dims, &inputs).unwrap();
    let stats = device.take_stats().unwrap();
    (stats.global_sectors * 32 + stats.bulk_bytes) as f64 / operation.work(&dims, &inputs).dram_bytes as f64
}

fn hold(cases: impl IntoIterator<Item = Case>) {
    let Some(compiler) = place::compiler() else { return };
    for (name, extents, most) in cases {
        let excess = excess(&compiler, name, &extents);
        assert!(excess <= most, "{name} {extents:?} moves {excess:.3} times the bytes of operands and results");
    }
}

#[test]
fn elements_move_once() {
    hold([
        ("activation.bf16", vec![("len", 65536)], 1.0),
        ("silu_mul.bf16", vec![("m", 16), ("n", 2048)], 1.0),
        ("add.i8", vec![("len", 65536)], 1.0),
    ]);
}

#[test]
fn packed_rows_move_once() {
    hold([
        ("ibp_unpack.u32", vec![("rows", 64), ("columns", 1000), ("fetch", 1024)], 1.2),
        ("ibp_unpack.u64", vec![("rows", 64), ("columns", 500), ("clusters", 2), ("fetch", 1024)], 1.35),
    ]);
}

#[test]
fn weights_of_four_bits_move_once_for_rows_of_a_block() {
    let extents = |m, k| vec![("m", m), ("n", 256), ("k", k), ("group", 128), ("outliers", 128)];
    hold([
        ("gemm.w4a4", extents(1, 4096), 1.22),
        ("gemm.w4a8", extents(1, 4096), 1.39),
        ("gemm.w4a16", extents(1, 4096), 1.6),
        ("rms_norm_quantize.bf16", vec![("m", 4), ("k", 4096), ("group", 128), ("outliers", 128)], 4.62),
    ]);
}

#[test]
fn keys_and_values_of_four_bits_move_once() {
    let decode = |hq, d| vec![("b", 4), ("hq", hq), ("hkv", 8), ("d", d), ("kv", 512)];
    hold([
        // Every warp of a block reads for itself where a position goes, and a scale is a sector.
        ("attention.append_kv4.bf16", vec![("b", 8), ("new", 16), ("kv", 64)], 1.3),
        ("attention.decode_kv4.bf16", decode(32, 128), 1.15),
        ("attention.decode_kv4.bf16", decode(8, 64), 1.15),
    ]);
}

#[test]
fn states_move_once() {
    hold([("attention.merge", vec![("states", 4), ("n", 16), ("heads", 8), ("d", 128)], 1.11)]);
}

#[test]
fn weights_of_distinct_adapters_move_once() {
    let batch = |s, rows| vec![("s", s), ("rows", rows), ("adapters", s), ("rank", 16), ("h1", 2048), ("page", 2048)];
    let both = |s, rows| [batch(s, rows), vec![("h2", 2048)]].concat();
    let expand = [("s", 8), ("rows", 1), ("adapters", 8), ("rank", 16), ("h2", 2048), ("page", 2048)];
    hold([
        ("sgmv.bf16", both(8, 1), 1.08),
        ("sgmv.shrink.bf16", batch(8, 1), 1.03),
        ("sgmv.expand.bf16", expand.to_vec(), 1.13),
        // Weights are read for each 16 of the 64 rows, the second time from the first-level cache.
        ("sgmv.bf16", both(1, 64), 2.1),
    ]);
}

#[test]
fn rows_move_once_and_with_them_their_weights() {
    hold([
        ("softmax.f32", vec![("m", 16), ("n", 2048)], 1.0),
        ("softmax.bf16", vec![("m", 16), ("n", 4096)], 1.0),
        // Too long for registers: read twice, written once.
        ("softmax.bf16", vec![("m", 2), ("n", 32768)], 1.5),
        ("rms_norm.bf16", vec![("m", 64), ("n", 4096)], 1.5),
        ("add_rms_norm.bf16", vec![("m", 64), ("n", 4096)], 1.25),
        ("layer_norm.bf16", vec![("m", 64), ("n", 4096)], 2.0),
        ("rope.bf16", vec![("m", 16), ("heads", 32), ("d", 128), ("rotary", 128)], 1.05),
    ]);
}

#[test]
fn a_database_moves_once_for_a_batch_of_requests() {
    let scan = |queries, buckets, words| vec![("queries", queries), ("buckets", buckets), ("words", words)];
    hold([
        ("pir_scan.u64", scan(1, 4096, 128), 1.01),
        ("pir_scan.u64", scan(8, 4096, 128), 1.1),
        ("pir_scan.u64", scan(14, 4096, 128), 1.3),
        ("pir_scan.u64", scan(32, 8192, 64), 1.07),
        ("pir_scan.u64", scan(64, 8192, 64), 1.13),
    ]);
}

#[test]
fn logits_move_once_where_they_are_kept_and_drafts_are_read_at_one_position() {
    hold([
        ("sample.f32", vec![("m", 2), ("n", 32768)], 1.05),
        ("speculative_verify.f32", vec![("m", 2), ("draft", 4), ("n", 32768)], 1.05),
    ]);
}

/// A square image of `side` pixels a side, and a square window.
fn window(side: usize, channels: usize, kernel: usize, stride: usize, pad: usize) -> Vec<(&'static str, usize)> {
    let pads = ["pad_top", "pad_bottom", "pad_left", "pad_right"].map(|axis| (axis, pad));
    let extents = [("h", side), ("w", side), ("c", channels), ("kh", kernel), ("kw", kernel)];
    extents.into_iter().chain([("stride_h", stride), ("stride_w", stride)]).chain(pads).collect()
}

#[test]
fn the_depthwise_kernel_reads_every_sector_about_once_and_pools_do_where_windows_do_not_overlap() {
    hold([
        ("depthwise.i8", window(112, 32, 3, 1, 1), 1.04),
        ("depthwise.i8", window(56, 128, 3, 1, 1), 1.1),
        ("depthwise.i8", window(28, 64, 3, 2, 1), 1.15),
        ("depthwise.i8", window(28, 96, 5, 1, 2), 1.15),
        ("depthwise.i8", window(7, 480, 3, 1, 1), 1.0),
        ("max_pool.i8", window(28, 64, 2, 2, 0), 1.0),
        ("max_pool.i8", window(28, 64, 3, 2, 1), 2.0),
        ("average_pool.i8", window(28, 64, 2, 2, 0), 1.0),
        ("average_pool.i8", window(7, 512, 7, 7, 0), 1.0),
    ]);
}

#[test]
fn convolutions_of_ragged_channels_move_little_more_than_those_of_whole_pieces() {
    let convolution = |channels, kernel, stride| [window(28, channels, kernel, stride, 1), vec![("o", 64)]].concat();
    hold([
        ("conv2d.i8", convolution(64, 3, 1), 5.0),
        ("conv2d.i8", convolution(24, 3, 1), 6.2),
        ("conv2d.i8", convolution(20, 3, 1), 10.2),
        ("conv2d.i8", convolution(30, 3, 1), 6.6),
        ("conv2d.i8", convolution(3, 3, 1), 4.3),
    ]);
}

#[test]
fn products_move_as_much_as_their_tiles_share() {
    let product = |m, n, k| vec![("m", m), ("n", n), ("k", k)];
    hold([
        ("gemm.bf16", product(256, 512, 512), 1.9),
        ("gemm.i8", product(256, 512, 512), 2.3),
        // Rows of a and b that are not aligned.
        ("gemm.bf16", product(250, 250, 252), 8.9),
        ("gemm.f32", product(128, 128, 128), 1.9),
    ]);
}

#[test]
fn scans_read_the_lists_that_are_probed_once_and_more_queries_read_them_again() {
    let scan = |d, q| vec![("n", 3000), ("d", d), ("lists", 16), ("q", q), ("nprobe", 16)];
    hold([
        ("ivf_scan.i8", scan(768, 1), 1.05),
        ("ivf_scan.bf16", scan(768, 1), 1.05),
        ("ivf_scan.bf16", scan(768, 3), 1.05),
        ("ivf_scan.bf16", scan(768, 5), 2.1),
        ("ivf_scan.f32", scan(384, 1), 1.05),
        // Entries of a part begin where they will, so that warps read a sector more.
        ("topk_merge.i32", vec![("parts", 16), ("q", 8), ("m", 100), ("k", 10)], 1.17),
    ]);
}
