//! The kernels of the processor beside what the processor can do at most and beside other libraries.
//!
//! All figures of a table come from one run in which the things compared take turns, so that whatever else the machine does meets
//! all of them; each is the best of its turns.

use criterion::{Criterion, Throughput};
use std::hint::black_box;
use std::time::{Duration, Instant};
use tandem_ops::cpu::peak::Peak;
use tandem_ops::cpu::{self, Level};
use tandem_ops::def::{Dims, Random, Size, Tensors, accept};
use tandem_ops::{Act, Arith, Conv, Op, Operand, Prepared, infer, operation};
use tandem_tensor::{DType, QuantParams, Tensor, TensorType};

/// The words that choose cases.
struct Words(Vec<String>);

impl Words {
    fn of_command_line() -> Words {
        Words(std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect())
    }

    fn choose(&self, table: &str, name: &str) -> bool {
        self.0.is_empty() || self.0.iter().any(|word| table.contains(word.as_str()) || name.contains(word.as_str()))
    }
}

/// Something that is timed.
struct Case {
    name: String,
    /// Operations of a run.
    work: f64,
    run: Box<dyn FnMut()>,
}

fn codes(random: &mut Random, shape: &[usize]) -> (Tensor, TensorType) {
    let quant = QuantParams::per_tensor(0.05, 0);
    (random.codes(shape), TensorType::new(DType::I8, shape).with_quant(quant))
}

/// A prepared operator on codes: weights are packed once, as for a layer of a model.
fn prepared(name: &str, op: Op, x: &[usize], w: &[usize], work: usize) -> Case {
    let mut random = Random::new(1);
    let ((x, x_type), (w, mut w_type)) = (codes(&mut random, x), codes(&mut random, w));
    let scale = vec![0.002; w.shape()[0]];
    w_type.quant = Some(QuantParams { zero_point: vec![0; scale.len()], scale, axis: Some(0) });
    let shape = infer(&op, &[&x_type, &w_type]).expect("a legal operator").remove(0);
    let y_type = TensorType::new(DType::I8, shape).with_quant(QuantParams::per_tensor(0.1, 3));
    let weights = [Operand { tensor: &w, ty: &w_type }];
    let kernel = Prepared::new(&op, Arith::Xnnpack, &x_type, &weights, &y_type).expect("a kernel on codes");
    Case {
        name: name.into(),
        work: work as f64,
        run: Box::new(move || {
            black_box(kernel.run(&[&x]).expect("the type prepared for"));
        }),
    }
}

fn dense(m: usize, n: usize, k: usize) -> Case {
    prepared(&format!("dense {m}x{n}x{k}"), Op::Dense { act: Act::None }, &[m, k], &[n, k], 2 * m * n * k)
}

fn conv(name: &str, [h, w, c, o]: [usize; 4], kernel: usize, stride: usize) -> Case {
    let pad = (kernel / 2, kernel / 2);
    let op =
        Op::Conv(Conv { stride: vec![stride; 2], dilation: vec![1; 2], pad: vec![pad; 2], groups: 1, act: Act::None });
    let (oh, ow) = ((h + 2 * pad.0 - kernel) / stride + 1, (w + 2 * pad.0 - kernel) / stride + 1);
    prepared(name, op, &[1, h, w, c], &[o, kernel, kernel, c], 2 * oh * ow * o * kernel * kernel * c)
}

/// A kernel of a definition as it is called: weights are packed in every run.
fn defined(name: &str, level: Level, dims: &[(&'static str, usize)]) -> Case {
    let operation = operation(name).expect("a definition");
    let mut all = Dims::defaults(operation.def().axes);
    dims.iter().for_each(|&(axis, extent)| all.set(axis, extent));
    let inputs: Tensors = operation.sample("bench", &all, 1).expect("legal extents");
    let work = operation.work(&all, &inputs);
    let kernel = cpu::kernel(name, level).expect("a kernel at a level that is there");
    Case {
        name: format!("{name} {all} {level}"),
        work: (work.int_ops + work.flops) as f64,
        run: Box::new(move || {
            black_box(kernel.run(&all, &inputs).expect("a sample"));
        }),
    }
}

/// Lets the cases take turns and gives the best rate of each, in operations a second, after the peak's.
fn rates(peak: Peak, threads: usize, cases: &mut [Case], turns: usize) -> (f64, Vec<f64>) {
    let mut best = vec![0f64; cases.len()];
    let mut most = 0f64;
    for case in cases.iter_mut() {
        (case.run)();
    }
    for _ in 0..turns {
        most = most.max(peak.measure(Level::best(), threads, Duration::ZERO).unwrap_or(0.0));
        for (case, best) in cases.iter_mut().zip(&mut best) {
            let begin = Instant::now();
            let mut runs = 0;
            while runs == 0 || begin.elapsed() < Duration::from_millis(4) {
                let start = Instant::now();
                (case.run)();
                *best = best.max(case.work / start.elapsed().as_secs_f64());
                runs += 1;
            }
        }
    }
    (most, best)
}

fn int8(threads: usize, words: &Words) {
    let mut cases = vec![
        dense(512, 512, 512),
        dense(1024, 1024, 1024),
        dense(128, 768, 768),
        conv("stem 224x224x3 7x7/2 64", [224, 224, 3, 64], 7, 2),
        conv("56x56x64 3x3", [56, 56, 64, 64], 3, 1),
        conv("56x56x64 3x3/2 128", [56, 56, 64, 128], 3, 2),
        conv("56x56x64 1x1/2 128", [56, 56, 64, 128], 1, 2),
        conv("28x28x128 3x3", [28, 28, 128, 128], 3, 1),
        conv("28x28x128 3x3/2 256", [28, 28, 128, 256], 3, 2),
        conv("28x28x128 1x1/2 256", [28, 28, 128, 256], 1, 2),
        conv("14x14x256 3x3", [14, 14, 256, 256], 3, 1),
        conv("14x14x256 3x3/2 512", [14, 14, 256, 512], 3, 2),
        conv("14x14x256 1x1/2 512", [14, 14, 256, 512], 1, 2),
        conv("7x7x512 3x3", [7, 7, 512, 512], 3, 1),
        conv("mobile 56x56x64 1x1 128", [56, 56, 64, 128], 1, 1),
        defined("gemm.i8", Level::best(), &[("m", 512), ("n", 512), ("k", 512)]),
    ];
    cases.retain(|case| words.choose("int8", &case.name));
    if cases.is_empty() {
        return;
    }
    let (peak, rates) = rates(Peak::Int8, threads, &mut cases, 60);
    println!("\nint8, {threads} thread(s): peak {:.0} Gop/s", peak / 1e9);
    for (case, rate) in cases.iter().zip(rates) {
        println!("  {:<44} {:>7.0} Gop/s  {:>5.1} % of the peak", case.name, rate / 1e9, 100.0 * rate / peak);
    }
}

/// A product of f32 by each library, weights as rows of an output; all of them pack what they pack in every run.
fn products(threads: usize, [m, n, k]: [usize; 3]) -> Vec<Case> {
    let mut random = Random::new(1);
    let mut values = |len: usize| -> Vec<f32> { (0..len).map(|_| random.normal() as f32).collect() };
    let (a, b, bias) = (values(m * k), values(n * k), vec![0f32; n]);
    let work = (2 * m * n * k) as f64;
    let case = |name: &str, run: Box<dyn FnMut()>| Case { name: format!("{name} {m}x{n}x{k}"), work, run };
    let mut cases = vec![case("ours", {
        let (a, b, mut out) = (a.clone(), b.clone(), vec![0f32; m * n]);
        Box::new(move || cpu::gemm::f32(Level::best(), [m, n, k], &a, &b, &bias, 0, black_box(&mut out)))
    })];
    cases.push(case("gemm", {
        let (a, b, mut out) = (a.clone(), b.clone(), vec![0f32; m * n]);
        let threads = if threads == 1 { gemm::Parallelism::None } else { gemm::Parallelism::Rayon(threads) };
        let (n_step, k_step) = (n as isize, k as isize);
        Box::new(move || {
            let (a, b, out) = (a.as_ptr(), b.as_ptr(), black_box(out.as_mut_ptr()));
            // SAFETY: the matrices have the extents and steps that are named.
            unsafe {
                gemm::gemm(
                    m, n, k, out, 1, n_step, false, a, 1, k_step, b, k_step, 1, 0f32, 1f32, false, false, false,
                    threads,
                );
            }
        })
    }));
    if threads == 1 {
        let mut out = vec![0f32; m * n];
        let (n_step, k_step) = (n as isize, k as isize);
        let run = move || {
            let (a, b, out) = (a.as_ptr(), b.as_ptr(), black_box(out.as_mut_ptr()));
            // SAFETY: as above.
            unsafe { matrixmultiply::sgemm(m, k, n, 1.0, a, k_step, 1, b, 1, k_step, 0.0, out, n_step, 1) };
        };
        cases.push(case("matrixmultiply", Box::new(run)));
    }
    cases
}

fn f32(threads: usize, words: &Words) {
    println!("\nf32, {threads} thread(s)");
    for extents in [[512; 3], [1024; 3], [200, 136, 200], [67, 1000, 333], [1536, 96, 384]] {
        let [m, n, k] = extents;
        if !words.choose("f32", &format!("{m}x{n}x{k}")) {
            continue;
        }
        let mut cases = products(threads, extents);
        let (peak, rates) = rates(Peak::F32, threads, &mut cases, 20);
        for (case, rate) in cases.iter().zip(&rates) {
            println!(
                "  {:<32} {:>6.1} Gflop/s  {:>5.1} % of the peak of {:.0}, ours is {:.2} of it",
                case.name,
                rate / 1e9,
                100.0 * rate / peak,
                peak / 1e9,
                rates[0] / rate,
            );
        }
    }
}

fn bf16(threads: usize, words: &Words) {
    let mut cases = [[512; 3], [1024; 3]]
        .map(|[m, n, k]| defined("gemm.bf16", Level::best(), &[("m", m), ("n", n), ("k", k)]))
        .into_iter()
        .filter(|case| words.choose("bf16", &case.name))
        .collect::<Vec<_>>();
    if cases.is_empty() {
        return;
    }
    let (peak, rates) = rates(Peak::Bf16, threads, &mut cases, 6);
    println!("\nbf16, {threads} thread(s): the peak of the instructions for it is {:.0} Gflop/s", peak / 1e9);
    for (case, rate) in cases.iter().zip(rates) {
        println!("  {:<48} {:>7.1} Gflop/s", case.name, rate / 1e9);
    }
}

/// Products with low-rank adapters: bytes of operands and results once each, of which distinct adapters are most.
fn sgmv(threads: usize, words: &Words) {
    let operation = operation("sgmv.bf16").expect("a definition");
    for sample in operation.workloads(Size::Processor).into_iter().filter(|sample| words.choose("sgmv", sample.name)) {
        let inputs = operation.sample(sample.name, &sample.dims, 1).expect("legal extents");
        let dims = accept(operation, &sample.dims, &inputs).expect("a sample");
        let (work, kernel) = (operation.work(&dims, &inputs), cpu::kernel("sgmv.bf16", Level::best()));
        let kernel = kernel.expect("a kernel at a level that is there");
        let run = Box::new(move || {
            black_box(kernel.run(&dims, &inputs).expect("a sample"));
        });
        let case = Case { name: format!("sgmv.bf16 {}", sample.name), work: work.dram_bytes as f64, run };
        let (name, (peak, rates)) = (case.name.clone(), rates(Peak::Memory, threads, &mut [case], 20));
        println!(
            "  {name:<32} {:>6.1} GB/s  {:>5.1} % of the {:.1} GB/s of memory  {:>6.1} Gflop/s, {threads} thread(s)",
            rates[0] / 1e9,
            100.0 * rates[0] / peak,
            peak / 1e9,
            rates[0] * work.flops as f64 / work.dram_bytes as f64 / 1e9,
        );
    }
}

/// Scans of a database of 128 MiB beside reading it.
fn scans(threads: usize, words: &Words) {
    let scan = |level, queries| {
        let case = defined("pir_scan.u64", level, &[("buckets", 1 << 17), ("words", 128), ("queries", queries)]);
        Case { work: (1u64 << 27) as f64, ..case }
    };
    let levels = Level::ALL.into_iter().filter(|level| level.available());
    let mut cases: Vec<Case> =
        levels.flat_map(|level| [1, 4, 8, 16, 32, 64].map(|queries| scan(level, queries))).collect();
    cases.retain(|case| words.choose("pir", &case.name));
    if cases.is_empty() {
        return;
    }
    let (peak, rates) = rates(Peak::Memory, threads, &mut cases, 6);
    println!("\npir, {threads} thread(s): memory is read at {:.1} GB/s", peak / 1e9);
    for (case, rate) in cases.iter().zip(rates) {
        println!("  {:<60} {:>6.2} GB/s  {:>5.1} % of that", case.name, rate / 1e9, 100.0 * rate / peak);
    }
}

/// Scans of the lists of an inverted file: by one query, which the memory limits, and by several that share lists.
fn lists(threads: usize, words: &Words) {
    let scan = |name: &str, q, nprobe| {
        let dims = [("n", 1 << 17), ("d", 768), ("lists", 256), ("q", q), ("nprobe", nprobe)];
        let operation = operation(name).expect("a definition");
        let all = dims.iter().fold(Dims::defaults(operation.def().axes), |all, &(axis, extent)| all.with(axis, extent));
        let inputs: Tensors = operation.sample("bench", &all, 1).expect("legal extents");
        let kernel = cpu::kernel(name, Level::best()).expect("a kernel at a level that is there");
        let name = format!("{name} q={q} nprobe={nprobe}");
        let work = operation.work(&all, &inputs);
        let run = move || _ = black_box(kernel.run(&all, &inputs).expect("a sample"));
        (Case { name, work: work.dram_bytes as f64, run: Box::new(run) }, (work.int_ops + work.flops) as f64)
    };
    let names = ["ivf_scan.i8", "ivf_scan.bf16", "ivf_scan.f32"].into_iter();
    let chosen = names.flat_map(|name| [(name, 1, 256), (name, 8, 64)]).filter(|(name, ..)| words.choose("ivf", name));
    let (mut cases, works): (Vec<Case>, Vec<f64>) = chosen.map(|(name, q, nprobe)| scan(name, q, nprobe)).unzip();
    if cases.is_empty() {
        return;
    }
    let (peak, rates) = rates(Peak::Memory, threads, &mut cases, 6);
    println!("\nivf, {threads} thread(s): memory is read at {:.1} GB/s", peak / 1e9);
    for ((case, rate), work) in cases.iter().zip(rates).zip(works) {
        let operations = rate / case.work * work;
        println!("  {:<30} {:>5.1} GB/s  {:>6.1} Gop/s", case.name, rate / 1e9, operations / 1e9);
    }
}

/// Name of the processor, as far as the system tells.
fn processor() -> String {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = text.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    name.map_or_else(|| "unknown processor".into(), |(_, name)| name.trim().into())
}

/// Means and deviations of a few of the cases.
fn statistics(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("cpu");
    group.sample_size(20).warm_up_time(Duration::from_millis(200)).measurement_time(Duration::from_secs(1));
    let [m, n, k] = [512; 3];
    let cases = [
        dense(m, n, k),
        conv("56x56x64 3x3", [56, 56, 64, 64], 3, 1),
        defined("gemm.f32", Level::best(), &[("m", m), ("n", n), ("k", k)]),
    ];
    for mut case in cases {
        group.throughput(Throughput::Elements(case.work as u64));
        group.bench_function(&case.name, |bencher| bencher.iter(|| (case.run)()));
    }
    group.finish();
}

fn main() {
    let words = Words::of_command_line();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    println!("{}, {cores} core(s), level {}", processor(), Level::best());
    for threads in if cores > 1 { vec![1, cores] } else { vec![1] } {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads");
        pool.install(|| {
            int8(threads, &words);
            f32(threads, &words);
            bf16(threads, &words);
            sgmv(threads, &words);
            scans(threads, &words);
            lists(threads, &words);
        });
    }
    if !words.0.is_empty() {
        return;
    }
    let mut criterion = Criterion::default().configure_from_args();
    statistics(&mut criterion);
    criterion.final_summary();
}
