//! What kernels move, as the simulator counts it: sectors of memory against operands and results once each.

mod place;

use std::sync::Arc;
use tandem_gpu::{Compiler, Device, Facts, Simulation, kernels};
use tandem_ops::def::{Sample, accept};

/// A kernel on operands of an ordinary sample with these extents, and how many times the bytes of operands and results it may move.
type Case = (&'static str, &'static [(&'static str, usize)], f64);

const PADDED: [(&str, usize); 4] = [("pad_top", 1), ("pad_bottom", 1), ("pad_left", 1), ("pad_right", 1)];

/// Bytes of sectors and bulk copies over those of operands and results.
fn excess(compiler: &Arc<Compiler>, name: &str, extents: &[(&'static str, usize)]) -> f64 {
    let simulation = Simulation { facts: Facts { multiprocessors: 2, ..Facts::h200() }, ..Simulation::default() };
    let device = Device::sim(Arc::clone(compiler), simulation);
    let all = kernels(&device);
    let kernel = all.iter().find(|kernel| kernel.operation().def().name == name);
    let operation = kernel.map_or_else(|| panic!("{name} has no CUDA kernel"), |kernel| kernel.operation());
    let sample = Sample::new(operation.def(), "random", extents);
    let inputs = operation.sample(sample.name, &sample.dims, 1).unwrap();
    let dims = accept(operation, &sample.dims, &inputs).unwrap();
    kernel.unwrap().run(&dims, &inputs).unwrap();
    let stats = device.take_stats().unwrap();
    let moved = (stats.global_sectors * 32 + stats.bulk_bytes) as f64;
    let needed = operation.work(&dims, &inputs).dram_bytes as f64;
    if std::env::var_os("SHOW").is_some() {
        let instr = stats.warp_instructions;
        eprintln!(
            "{name} {extents:?}\n  needed {needed} moved {moved} = {:.3}; requests {} sectors {} per {:.2}; bulk {}; shared {} wavefronts {} per {:.2}; instr {instr}; mults {}; blocks {}",
            moved / needed,
            stats.global_requests,
            stats.global_sectors,
            stats.global_sectors as f64 / stats.global_requests as f64,
            stats.bulk_bytes,
            stats.shared_requests,
            stats.shared_wavefronts,
            stats.shared_wavefronts as f64 / stats.shared_requests.max(1) as f64,
            stats.tensor_multiplications,
            stats.blocks
        );
    }
    if std::env::var_os("OPS").is_some() {
        let mut ops: Vec<_> = stats.opcodes.iter().collect();
        ops.sort_by_key(|(_, n)| std::cmp::Reverse(**n));
        eprintln!("   {:?}", &ops[..ops.len().min(40)]);
    }
    moved / needed
}

#[test]
fn kernels_that_memory_limits_move_each_operand_and_result_about_once() {
    let Some(compiler) = place::compiler() else { return };
    let cases: &[Case] = &[
        ("activation.bf16", &[("len", 65536)], 1.01),
        ("silu_mul.bf16", &[("m", 16), ("n", 2048)], 1.01),
        ("add.i8", &[("len", 65536)], 1.01),
        ("softmax.f32", &[("m", 16), ("n", 2048)], 1.01),
        ("softmax.bf16", &[("m", 16), ("n", 4096)], 1.01),
        ("softmax.bf16", &[("m", 2), ("n", 32768)], 1.6),
        ("rms_norm.bf16", &[("m", 64), ("n", 4096)], 2.0),
        ("add_rms_norm.bf16", &[("m", 64), ("n", 4096)], 2.0),
        ("layer_norm.bf16", &[("m", 64), ("n", 4096)], 2.0),
        ("rope.bf16", &[("m", 16), ("heads", 32), ("d", 128), ("rotary", 128)], 1.2),
        ("rope.bf16", &[("m", 16), ("heads", 32), ("d", 128), ("rotary", 128), ("pairs", 1)], 1.2),
        ("attention.merge", &[("states", 2), ("n", 16), ("heads", 32), ("d", 128)], 4.2),
        ("attention.append.bf16", &[("b", 16), ("hkv", 8), ("d", 128), ("page", 16), ("new", 64), ("kv", 64)], 9.0),
    ];
    for &(name, extents, most) in cases {
        let excess = excess(&compiler, name, extents);
        if std::env::var_os("SHOW").is_some() {
            continue;
        }
        assert!(excess <= most, "{name} {extents:?} moves {excess:.3} times what it has to");
    }
}

#[test]
fn windows_are_read_about_once_by_the_depthwise_kernel_and_from_the_caches_by_the_others() {
    let Some(compiler) = place::compiler() else { return };
    let of = |h: usize, c: usize, k: usize, s: usize| {
        [("h", h), ("w", h), ("c", c), ("kh", k), ("kw", k), ("stride_h", s), ("stride_w", s)]
    };
    for (name, extents, most) in [
        ("depthwise.i8", of(56, 32, 3, 1), 1.2),
        ("depthwise.i8", of(28, 128, 3, 1), 1.2),
        ("depthwise.i8", of(28, 64, 3, 2), 1.2),
        ("depthwise.i8", of(28, 96, 5, 1), 1.4),
        ("depthwise.i8", of(7, 480, 3, 1), 1.4),
        ("max_pool.i8", of(28, 64, 3, 2), 3.0),
        ("average_pool.i8", of(28, 64, 2, 2), 1.2),
        ("average_pool.i8", of(7, 512, 7, 7), 1.2),
        ("max_pool.i8", of(28, 64, 2, 2), 1.2),
    ] {
        let extents = [&extents[..], &PADDED].concat();
        let extents: Vec<_> = if extents[3].1 == 7 || extents[3].1 == 2 { extents[..7].to_vec() } else { extents };
        let excess = excess(&compiler, name, &extents);
        if std::env::var_os("SHOW").is_some() {
            continue;
        }
        assert!(excess <= most, "{name} {extents:?} moves {excess:.3} times what it has to");
    }
    for c in [64, 24, 20, 3, 30] {
        let extents = [&of(28, c, 3, 1)[..], &PADDED, &[("o", 64)]].concat();
        excess(&compiler, "conv2d.i8", &extents);
    }
    excess(&compiler, "conv2d.i8", &[&of(56, 3, 7, 2)[..], &PADDED, &[("o", 64)]].concat());
}
#[test]
fn products() {
    let Some(compiler) = place::compiler() else { return };
    for (name, m, n, k) in [
        ("gemm.bf16", 256, 512, 512),
        ("gemm.i8", 256, 512, 512),
        ("gemm.bf16", 250, 250, 252),
        ("gemm.bf16", 512, 510, 256),
        ("gemm.f32", 128, 128, 128),
    ] {
        excess(&compiler, name, &[("m", m), ("n", n), ("k", k)]);
    }
}
