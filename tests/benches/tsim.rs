//! Cycles of the Verilated hardware per second, for every preset: a GEMM that multiplies in every cycle, and waiting for memory.

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use tandem_driver::{Device, Loaded};
use tandem_isa::{HwConfig, MemoryType, Program, Role, Section, parse};
use tandem_sim::tsim::{DramModel, Model, TsimBus, TsimMonitor, TsimOptions, Variant};
use tandem_tests::tool;

const LIMIT: Duration = Duration::from_secs(600);

/// A program of this preset whose image is one page of zeros.
fn program(config: &HwConfig, insns: &str) -> Program {
    let preset = config.name().unwrap();
    let insns = parse(&format!(".preset {preset}\n{insns}finish\n")).unwrap().insns;
    let zeros = Section { name: "zeros".into(), role: Role::Input, offset: 0, size: 1 << 16, data: vec![0; 1 << 16] };
    Program { config: config.clone(), sections: vec![zeros], insns }
}

/// Multiplies in every cycle: no accumulator is written twice in a row.
fn gemm(config: &HwConfig) -> Program {
    let depths = [MemoryType::Inp, MemoryType::Wgt, MemoryType::Acc].map(|memory| config.depth(memory));
    let inner = depths.into_iter().min().unwrap().min(256);
    program(
        config,
        &format!(
            "load.uop sram=0 dram=0 size=1x1 stride=1\n\
             gemm uop=0..1 loop=400x{inner} dst=0,1 src=0,1 wgt=0,1\n"
        ),
    )
}

/// Adds to a vector in every cycle: every stage of the tensor ALU holds something.
fn alu(config: &HwConfig) -> Program {
    let inner = config.depth(MemoryType::Acc).min(256);
    program(
        config,
        &format!(
            "load.uop sram=0 dram=0 size=1x1 stride=1\n\
             alu.add uop=0..1 loop=400x{inner} dst=0,1 src=0,1 imm=3\n"
        ),
    )
}

/// Loads one element at a time.
fn loads(config: &HwConfig) -> Program {
    program(config, &"load.inp sram=0 dram=0 size=1x1 stride=1\n".repeat(400))
}

fn run(device: &mut Device, loaded: &Loaded) -> u64 {
    device.run(loaded, LIMIT).unwrap().cycles
}

/// Nanoseconds that this thread has been on a processor, where the system tells: on a shared machine the figure to compare.
fn on_cpu_ns() -> Option<u64> {
    std::fs::read_to_string("/proc/thread-self/schedstat").ok()?.split_whitespace().next()?.parse().ok()
}

fn bench(c: &mut Criterion) {
    let Some(tools) = tool::verilator() else { return };
    let cache = tool::cache().join("models");
    for preset in HwConfig::presets() {
        let config = HwConfig::preset(preset).unwrap();
        let begun = Instant::now();
        let model = Model::build(&config, &tools, &cache, Variant::default(), &mut |_| {}).unwrap();
        eprintln!("{preset}: model after {:.1} s", begun.elapsed().as_secs_f64());
        for (name, program) in [("gemm", gemm(&config)), ("alu", alu(&config)), ("loads", loads(&config))] {
            let options = TsimOptions { dram: DramModel::zynq(), ..TsimOptions::default() };
            let bus = TsimBus::new(model.clone(), options).unwrap();
            let monitor: TsimMonitor = bus.monitor();
            let mut device = Device::open(Box::new(bus), &config).unwrap();
            let loaded = device.load(&program).unwrap();
            let cycles = run(&mut device, &loaded);
            assert_eq!(monitor.activity().cycles, cycles);
            if let (Some(begun), runs) = (on_cpu_ns(), 5) {
                let cycles: u64 = (0..runs).map(|_| run(&mut device, &loaded)).sum();
                let seconds = (on_cpu_ns().unwrap_or(begun) - begun) as f64 * 1e-9;
                eprintln!("{preset}/{name}: {:.2} M cycles per CPU second", cycles as f64 * 1e-6 / seconds);
            }
            let mut group = c.benchmark_group(format!("tsim/{preset}"));
            group.sample_size(10).measurement_time(Duration::from_secs(3)).warm_up_time(Duration::from_millis(500));
            group.throughput(Throughput::Elements(cycles));
            group.bench_function(name, |b| b.iter(|| black_box(run(&mut device, &loaded))));
            group.finish();
            device.unload(loaded).unwrap();
        }
    }
}

criterion_group!(benches, bench);
criterion_main!(benches);
