//! Throughput of the functional simulator: GEMM per preset and kernel, and the other instructions at preset `vta`.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use tandem_isa::{
    Alu, AluOpcode, Finish, Gemm, HwConfig, Insn, Lane, Load, MemoryType, Requant, RequantMode, Store, Uop,
};
use tandem_sim::{Dram, Kernel, Machine, Options};

const IMAGE: u64 = 1 << 20;

/// A machine, its memory, and a program that loads 9 micro-ops for a 3x3 convolution row by row and runs `insn` `times` times.
fn program(config: &HwConfig, insn: Insn, times: usize) -> (Dram, Vec<Insn>) {
    let mut dram = Dram::default();
    dram.map(0, IMAGE);
    for tap in 0..9 {
        let uop = Uop { dst: 0, src: tap % 3 + tap / 3 * 10, wgt: tap }.encode(config).expect("small indices");
        let at = 4 * u64::from(tap);
        dram.slice_mut(at, 4).expect("mapped").copy_from_slice(&uop.to_le_bytes());
    }
    let load = |memory_type, dram_base, x_size| {
        Insn::Load(Load { memory_type, dram_base, y_size: 1, x_size, x_stride: x_size, ..Load::default() })
    };
    let mut insns = vec![load(MemoryType::Uop, 0, 9), load(MemoryType::Inp, 64, 64), load(MemoryType::Wgt, 64, 16)];
    insns.push(load(MemoryType::Acc, 64, 64));
    insns.extend(std::iter::repeat_n(insn, times));
    insns.push(Insn::Finish(Finish::default()));
    (dram, insns)
}

fn gemm(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("gemm");
    for name in HwConfig::presets() {
        let config = HwConfig::preset(name).expect("a preset");
        for kernel in Kernel::available() {
            for iter_in in [8, 16] {
                let insn = Gemm {
                    uop_end: 9,
                    iter_out: 2,
                    iter_in,
                    dst_factor_out: 16,
                    dst_factor_in: 1,
                    src_factor_out: 8,
                    src_factor_in: 1,
                    ..Gemm::default()
                };
                let (mut dram, insns) = program(&config, insn.into(), 100);
                let mut machine = Machine::new(&config, Options { kernel, ..Options::default() });
                let macs = machine.run_insns(&mut dram, &insns).expect("a legal program").macs;
                group.throughput(Throughput::Elements(macs));
                group.bench_function(format!("{name}/{kernel:?}/iter_in={iter_in}"), |bencher| {
                    bencher.iter(|| machine.run_insns(&mut dram, &insns));
                });
            }
        }
    }
    group.finish();
}

fn lanes(criterion: &mut Criterion) {
    let config = HwConfig::preset("vta").expect("a preset");
    let mut group = criterion.benchmark_group("lanes");
    let loops = Gemm { uop_end: 9, iter_out: 2, iter_in: 16, ..Gemm::default() };
    let Gemm { uop_end, iter_out, iter_in, .. } = loops;
    let alu = Alu { uop_end, iter_out, iter_in, dst_factor_in: 1, src_factor_in: 1, ..Alu::default() };
    let requant = Requant { uop_end, iter_out, iter_in, dst_factor_in: 1, saturate: true, ..Requant::default() };
    let lane = Lane { uop_end, iter_out, iter_in, dst_factor_in: 1, src_factor_in: 1, ..Lane::default() };
    let cases: [(&str, Insn); 6] = [
        ("alu add", Alu { alu_opcode: AluOpcode::Add, ..alu }.into()),
        ("alu max imm", Alu { alu_opcode: AluOpcode::Max, use_imm: true, ..alu }.into()),
        ("requant double", requant.into()),
        ("requant single", Requant { mode: RequantMode::SingleRounding, ..requant }.into()),
        ("requant float", Requant { mode: RequantMode::Float, ..requant }.into()),
        ("lane", lane.into()),
    ];
    for (name, insn) in cases {
        let (mut dram, insns) = program(&config, insn, 100);
        let mut machine = Machine::new(&config, Options::default());
        let uops = machine.run_insns(&mut dram, &insns).expect("a legal program").uops();
        group.throughput(Throughput::Elements(uops * config.out_elem_bytes() as u64));
        group.bench_function(name, |bencher| bencher.iter(|| machine.run_insns(&mut dram, &insns)));
    }
    group.finish();
}

fn transfers(criterion: &mut Criterion) {
    let config = HwConfig::preset("vta").expect("a preset");
    let mut group = criterion.benchmark_group("transfers");
    let rows = Load { dram_base: 64, y_size: 16, x_size: 32, x_stride: 40, ..Load::default() };
    let store =
        Store { memory_type: MemoryType::Out, dram_base: 64, y_size: 16, x_size: 32, x_stride: 40, ..Store::default() };
    let cases: [(&str, Insn); 5] = [
        ("load inp", Load { memory_type: MemoryType::Inp, ..rows }.into()),
        ("load inp, padded", Load { memory_type: MemoryType::Inp, x_pad_0: 1, x_pad_1: 1, y_pad_0: 1, ..rows }.into()),
        ("load wgt", Load { memory_type: MemoryType::Wgt, ..rows }.into()),
        ("load acc8", Load { memory_type: MemoryType::Acc8, ..rows }.into()),
        ("store out", store.into()),
    ];
    for (name, insn) in cases {
        let (mut dram, insns) = program(&config, insn, 100);
        let mut machine = Machine::new(&config, Options::default());
        let counters = machine.run_insns(&mut dram, &insns).expect("a legal program");
        group.throughput(Throughput::Bytes(counters.bytes_loaded() + counters.out_bytes));
        group.bench_function(name, |bencher| bencher.iter(|| machine.run_insns(&mut dram, &insns)));
    }
    group.finish();
}

criterion_group!(benches, gemm, lanes, transfers);
criterion_main!(benches);
