//! Warp instructions and tensor multiplications a second, on the kernels of the tests.

#[path = "../tests/kernels/device.rs"]
#[expect(dead_code, reason = "the tests use more of it")]
mod device;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use device::{Arg, Device, Shape, bf16, matrix_map, pattern};
use tandem_ptx::{Options, Stats, Swizzle};

const SIZE: usize = 256;

fn sum_of_squares() -> Stats {
    let mut device = Device::new(include_str!("../tests/kernels/reduce.ptx"));
    let (x, total) = (device.floats(&pattern(1 << 16, 9)), device.floats(&[0.0]));
    let args = [Arg::U64(x), Arg::U64(total), Arg::U32(1 << 16)];
    device.launch("sum_of_squares", Shape::new([4, 1, 1], 256), &args, &Options::default()).unwrap()
}

fn operands(device: &mut Device) -> (u64, u64, u64) {
    let values = bf16(&pattern(SIZE * SIZE, 3));
    (device.halves(&values), device.halves(&values), device.memory.alloc((4 * SIZE * SIZE) as u64))
}

fn mma() -> Stats {
    let mut device = Device::new(include_str!("../tests/kernels/mma.ptx"));
    let (a, b, c) = operands(&mut device);
    let size = || Arg::U32(SIZE as u32);
    let args = [Arg::U64(a), Arg::U64(b), Arg::U64(c), size(), size(), size()];
    device.launch("gemm", Shape::new([4, 4, 1], 128), &args, &Options::default()).unwrap()
}

fn wgmma() -> Stats {
    let mut device = Device::new(include_str!("../tests/kernels/wgmma.ptx"));
    let (a, b, c) = operands(&mut device);
    let args = [
        matrix_map(2, a, [SIZE, SIZE], [128, 64], Swizzle::B128),
        matrix_map(2, b, [SIZE, SIZE], [64, 64], Swizzle::B128),
        matrix_map(4, c, [SIZE, SIZE], [64, 64], Swizzle::None),
        Arg::U32(SIZE as u32),
    ];
    let shape = Shape { shared: 3 * 24576 + 32768, ..Shape::new([4, 2, 1], 384) };
    device.launch("gemm", shape, &args, &Options::default()).unwrap()
}

fn speed(c: &mut Criterion) {
    let mut group = c.benchmark_group("ptx");
    group.sample_size(10);
    group.throughput(Throughput::Elements(sum_of_squares().warp_instructions));
    group.bench_function("warp instructions of a reduction", |b| b.iter(sum_of_squares));
    group.throughput(Throughput::Elements(mma().tensor_multiplications));
    group.bench_function("multiplications of mma", |b| b.iter(mma));
    group.throughput(Throughput::Elements(wgmma().tensor_multiplications));
    group.bench_function("multiplications of wgmma", |b| b.iter(wgmma));
    group.finish();
}

criterion_group!(benches, speed);
criterion_main!(benches);
