//! Right kernels give right results, in every mode and with every seed.

use tandem_ptx::{FaultKind, Options, Swizzle};

use crate::device::{Arg, Device, Shape, bf16, late, matrix_map, modes, pattern};

pub const VECTOR: &str = include_str!("vector.ptx");
pub const REDUCE: &str = include_str!("reduce.ptx");
pub const MMA: &str = include_str!("mma.ptx");
pub const WGMMA: &str = include_str!("wgmma.ptx");
pub const CLUSTER: &str = include_str!("cluster.ptx");
const PLAIN: &str = include_str!("plain.ptx");

#[test]
fn a_vector_sum_is_exact_and_its_accesses_coalesced() {
    for options in modes(3) {
        let mut device = Device::new(VECTOR);
        let (x, y) = (pattern(1000, 1), pattern(1000, 2));
        let (a, b, c) = (device.floats(&x), device.floats(&y), device.memory.alloc(4000));
        let args = [Arg::U64(a), Arg::U64(b), Arg::U64(c), Arg::U32(1000)];
        let stats = device.launch("add", Shape::new([8, 1, 1], 128), &args, &options).unwrap();
        let want: Vec<f32> = x.iter().zip(&y).map(|(x, y)| x + y).collect();
        assert_eq!(device.read_floats(c, 1000), want);
        // 32 warps, of which the last has 8 threads: two loads and a store each, four sectors each but for the last.
        assert_eq!((stats.global_requests, stats.global_sectors), (96, 3 * (31 * 4 + 1)));
        assert_eq!(stats.opcodes["add.f32"], 32);
    }
}

#[test]
fn vector_loads_move_four_floats_a_lane() {
    let mut device = Device::new(VECTOR);
    let x = pattern(400, 5);
    let (a, b) = (device.floats(&x), device.memory.alloc(1600));
    let args = [Arg::U64(a), Arg::U64(b), Arg::F32(2.5), Arg::U32(100)];
    device.launch("scale4", Shape::new([1, 1, 1], 64), &args, &Options::default()).unwrap();
    assert_eq!(device.read_floats(b, 400), x.iter().map(|x| x * 2.5).collect::<Vec<_>>());
}

#[test]
fn a_step_past_the_end_names_block_warp_lane_and_line() {
    let mut device = Device::new(VECTOR);
    let values = pattern(999, 1);
    let (a, b, c) = (device.floats(&values), device.floats(&values), device.memory.alloc(4000));
    let args = [Arg::U64(a), Arg::U64(b), Arg::U64(c), Arg::U32(1000)];
    let fault = device.launch("add", Shape::new([11, 1, 1], 96), &args, &Options::default()).unwrap_err();
    assert_eq!(fault.kind, FaultKind::OutOfBounds);
    assert_eq!((fault.block, fault.warp, fault.lane), (Some([10, 0, 0]), Some(1), Some(7)));
    let line = VECTOR.lines().nth(fault.line as usize - 1).unwrap();
    assert!(
        line.contains("ld.global") && &*fault.instruction == "ld.global.nc.f32" || line.contains(&*fault.instruction)
    );
}

pub fn sum_of_squares(ptx: &str, options: &Options) -> Result<f32, tandem_ptx::Fault> {
    let mut device = Device::new(ptx);
    let (x, total) = (device.floats(&pattern(3000, 9)), device.floats(&[0.0]));
    let args = [Arg::U64(x), Arg::U64(total), Arg::U32(3000)];
    device.launch("sum_of_squares", Shape::new([5, 1, 1], 256), &args, options)?;
    Ok(device.read_floats(total, 1)[0])
}

#[test]
fn a_reduction_by_shuffles_agrees_with_double_precision() {
    let want: f64 = pattern(3000, 9).iter().map(|x| f64::from(*x).powi(2)).sum();
    for options in modes(10) {
        let have = f64::from(sum_of_squares(REDUCE, &options).unwrap());
        assert!((have - want).abs() < 1e-5 * want, "{have} is not {want}");
    }
}

#[test]
fn a_fault_names_the_line_of_the_source() {
    let mut device = Device::new(REDUCE);
    let (x, total) = (device.floats(&pattern(100, 9)), device.floats(&[0.0]));
    let args = [Arg::U64(x), Arg::U64(total), Arg::U32(300)];
    let shape = Shape::new([1, 1, 1], 256);
    let fault = device.launch("sum_of_squares", shape, &args, &Options::default()).unwrap_err();
    let (file, line) = fault.source_line.clone().unwrap();
    let source = include_str!("reduce.cu").lines().nth(line as usize - 1).unwrap();
    assert!(file.ends_with("reduce.cu") && source.contains("x[i]"), "{fault}");
}

/// C of both GEMM kernels in double precision.
fn product(a: &[f32], b: &[f32], [m, n, k]: [usize; 3]) -> Vec<f64> {
    let mut c = vec![0.0; m * n];
    for i in 0..m {
        for j in 0..n {
            c[i * n + j] = (0..k).map(|x| f64::from(a[i * k + x]) * f64::from(b[j * k + x])).sum();
        }
    }
    c
}

/// Whether results are those of [`product`]: the products are exact and their sums short, so nearly the last bit is.
pub fn close(have: &[f32], want: &[f64]) -> bool {
    have.iter().zip(want).all(|(h, w)| (f64::from(*h) - w).abs() <= 1e-6 * w.abs().max(1.0))
}

pub fn mma_gemm(ptx: &str, [m, n, k]: [usize; 3], options: &Options) -> Result<bool, tandem_ptx::Fault> {
    let mut device = Device::new(ptx);
    let (x, y) = (pattern(m * k, 3), pattern(n * k, 4));
    let (a, b) = (device.halves(&bf16(&x)), device.halves(&bf16(&y)));
    let c = device.memory.alloc((m * n * 4) as u64);
    let args = [Arg::U64(a), Arg::U64(b), Arg::U64(c), Arg::U32(m as u32), Arg::U32(n as u32), Arg::U32(k as u32)];
    let grid = [n.div_ceil(64) as u32, m.div_ceil(64) as u32, 1];
    device.launch("gemm", Shape::new(grid, 128), &args, options)?;
    Ok(close(&device.read_floats(c, m * n), &product(&x, &y, [m, n, k])))
}

#[test]
fn a_gemm_with_mma_and_cp_async_is_right_on_ragged_shapes() {
    for options in modes(4) {
        assert!(mma_gemm(MMA, [100, 72, 88], &options).unwrap());
    }
    assert!(mma_gemm(MMA, [64, 64, 8], &Options::default()).unwrap());
}

/// Bytes of dynamic shared memory of the `wgmma` kernel: three stages and the staged results.
const WGMMA_SHARED: u32 = 3 * (128 * 64 * 2 + 64 * 64 * 2) + 128 * 64 * 4;

pub fn wgmma_gemm(ptx: &str, [m, n, k]: [usize; 3], options: &Options) -> Result<bool, tandem_ptx::Fault> {
    let mut device = Device::new(ptx);
    let (x, y) = (pattern(m * k, 3), pattern(n * k, 4));
    let (a, b) = (device.halves(&bf16(&x)), device.halves(&bf16(&y)));
    let c = device.memory.alloc((m * n * 4) as u64);
    let args = [
        matrix_map(2, a, [m, k], [128, 64], Swizzle::B128),
        matrix_map(2, b, [n, k], [64, 64], Swizzle::B128),
        matrix_map(4, c, [m, n], [64, 64], Swizzle::None),
        Arg::U32(k as u32),
    ];
    let grid = [n.div_ceil(64) as u32, m.div_ceil(128) as u32, 1];
    let shape = Shape { shared: WGMMA_SHARED, ..Shape::new(grid, 384) };
    device.launch("gemm", shape, &args, options)?;
    Ok(close(&device.read_floats(c, m * n), &product(&x, &y, [m, n, k])))
}

#[test]
fn a_warp_specialised_gemm_with_tensor_copies_and_wgmma_is_right_on_ragged_shapes() {
    for options in modes(3) {
        assert!(wgmma_gemm(WGMMA, [136, 72, 328], &options).unwrap());
    }
}

pub fn row_sums(ptx: &str, options: &Options) -> Result<bool, tandem_ptx::Fault> {
    let mut device = Device::new(ptx);
    let values = pattern(3 * 256, 7);
    let (x, sums) = (device.floats(&values), device.memory.alloc(12));
    let args = [matrix_map(4, x, [3, 256], [1, 256], Swizzle::None), Arg::U64(sums)];
    let shape = Shape { cluster: 2, ..Shape::new([6, 1, 1], 128) };
    device.launch("row_sums", shape, &args, options)?;
    let want: Vec<f64> = values.chunks(256).map(|r| r.iter().map(|x| f64::from(*x)).sum()).collect();
    Ok(close(&device.read_floats(sums, 3), &want))
}

#[test]
fn blocks_of_a_cluster_share_a_multicast_copy_and_their_memory() {
    for options in modes(10) {
        assert!(row_sums(CLUSTER, &options).unwrap());
    }
}

/// `ordinary` of `plain.cu` in Rust.
fn ordinary(i: i32, p: [i32; 4]) -> i32 {
    let x: Vec<i32> = (0..24).map(|j| p[j % 4].wrapping_mul(i).wrapping_add(j as i32)).collect();
    let s: i32 = (0..(i & 15) as usize).map(|j| x[j * 7 % 24]).sum();
    let v = s + [3, 1, 4, 1][i as usize % 4] + [10, 20, 30][i as usize % 3];
    match i % 7 {
        0 => v + p[0] / (i + 1),
        1 => v - p[1] % (i + 3),
        2 => v ^ (i.count_ones() << 4) as i32,
        3 => (f64::from(v) * 1.5) as i32 + (i as f32).sqrt() as i32,
        4 => v + ((i64::from(v) * i64::from(i)) >> 3) as i32,
        5 => v.min(i) + i.leading_zeros() as i32,
        _ => !v,
    }
}

#[test]
fn calls_jump_tables_constants_and_local_arrays_work() {
    for options in modes(3) {
        let mut device = Device::new(PLAIN);
        let (p, out) = (device.words(&[7, 11, 13, 17]), device.memory.alloc(800));
        let args = [Arg::U64(p), Arg::U64(out), Arg::U32(200)];
        device.launch("ordinary", Shape::new([4, 1, 1], 64), &args, &options).unwrap();
        let want: Vec<u32> = (0..200).map(|i| ordinary(i, [7, 11, 13, 17]) as u32).collect();
        assert_eq!(device.read_words(out, 200), want);
    }
}

#[test]
fn atomics_on_shared_and_global_memory_count_all() {
    for options in modes(5) {
        let mut device = Device::new(PLAIN);
        let values: Vec<u32> = (0..5000u32).map(|i| i.wrapping_mul(2_654_435_761) >> 7).collect();
        let (x, bins) = (device.words(&values), device.words(&[0; 16]));
        let args = [Arg::U64(x), Arg::U64(bins), Arg::U32(5000)];
        device.launch("histogram", Shape::new([6, 1, 1], 96), &args, &options).unwrap();
        let mut want = vec![0; 16];
        values.iter().for_each(|v| want[*v as usize & 15] += 1);
        assert_eq!(device.read_words(bins, 16), want);
    }
}

#[test]
fn blocks_of_a_cooperative_launch_run_together() {
    for options in late(5) {
        let mut device = Device::new(PLAIN);
        let (counter, total, out) = (device.words(&[0]), device.words(&[0]), device.words(&[0; 20]));
        let args = [Arg::U64(counter), Arg::U64(total), Arg::U64(out)];
        let shape = Shape { cooperative: true, ..Shape::new([20, 1, 1], 32) };
        device.launch("everyone", shape, &args, &options).unwrap();
        assert_eq!(device.read_words(out, 20), [210; 20]);
    }
}
