//! The harness around Verilated hardware, tested with a toy in place of the accelerator: `tests/tsim/toy.v`.

use std::sync::Arc;
use std::time::Duration;

use tandem_driver::{Bus, Bytes, DmaBuf, Waited};
use tandem_isa::{ErrorCode, HwConfig, Queue, Reg, control, encode_all, parse};
use tandem_sim::tsim::{
    BuildStep, DramModel, Model, Timeline, TsimBus, TsimError, TsimMonitor, TsimOptions, UnitCycles, UnitState, Variant,
};
use tandem_tests::tool;

const TOY: &str = include_str!("../tsim/toy.v");
/// The toy's mutants, as it numbers them.
const NO_TOKEN: u32 = 1;
const WRONG_SUM: u32 = 2;
const UNSTABLE_W: u32 = 3;
const STROBE_HOLE: u32 = 4;
const EARLY_LAST: u32 = 5;
const CROSS_PAGE: u32 = 6;
const STOPS: u32 = 7;
const DEAF: u32 = 8;
const DEADLOCK: u32 = 9;

const LIMIT: Duration = Duration::from_secs(60);

fn config() -> HwConfig {
    HwConfig::preset("tiny").unwrap()
}

fn verilog() -> String {
    format!("`define DIGEST 32'h{:08x}\n{TOY}", config().digest())
}

/// The toy; `None` where the tools are absent.
fn toy() -> Option<Arc<Model>> {
    toy_variant(Variant { mutants: true, ..Variant::default() })
}

fn toy_variant(variant: Variant) -> Option<Arc<Model>> {
    let (tools, verilog) = (tool::verilator()?, verilog());
    let mut steps = Vec::new();
    let cache = tool::cache().join("models");
    let model = Model::build_from(&verilog, &config(), &tools, &cache, variant, &mut |step| steps.push(step)).unwrap();
    assert_eq!(steps.last(), Some(&BuildStep::Ready));
    Some(model)
}

/// A toy with its program in memory.
struct Bench {
    bus: TsimBus,
    monitor: TsimMonitor,
    input: DmaBuf,
    output: DmaBuf,
}

const PROGRAM: &str = ".preset tiny\n\
    load.inp sram=0 dram=0 size=1x8 stride=8 push_next\n\
    nop.compute pop_prev push_next\n\
    store.out sram=0 dram=0 size=2x4 stride=4 pop_prev\n\
    finish\n";

fn bench(model: Arc<Model>, options: TsimOptions) -> Bench {
    bench_with(model, options, PROGRAM)
}

fn bench_with(model: Arc<Model>, options: TsimOptions, program: &str) -> Bench {
    let mut bus = TsimBus::new(model, options).unwrap();
    let monitor = bus.monitor();
    let code = bus.alloc(Bytes(4096)).unwrap();
    let input = bus.alloc(Bytes(4096)).unwrap();
    let output = bus.alloc(Bytes(4096)).unwrap();
    let insns = parse(program).unwrap().insns;
    bus.copy_in(code.addr, &encode_all(&insns, &config()).unwrap()).unwrap();
    bus.write32(Reg::InsnCount, insns.len() as u32).unwrap();
    bus.write32(Reg::InsnAddr, code.addr.0).unwrap();
    bus.write32(Reg::InpBase, input.addr.0).unwrap();
    bus.write32(Reg::OutBase, output.addr.0).unwrap();
    Bench { bus, monitor, input, output }
}

impl Bench {
    fn launch(&mut self, input: &[u8; 32]) {
        self.bus.copy_in(self.input.addr, input).unwrap();
        self.bus.write32(Reg::Control, control::LAUNCH).unwrap();
    }

    /// Runs the program to its end and checks what it wrote.
    fn run(&mut self, round: u8) {
        let input: [u8; 32] = std::array::from_fn(|at| (at as u8).wrapping_mul(7).wrapping_add(round));
        self.launch(&input);
        assert_eq!(self.bus.wait(LIMIT).unwrap(), Waited::Signalled);
        assert_eq!(self.bus.read32(Reg::Control).unwrap(), control::DONE);
        let mut output = [0; 32];
        self.bus.copy_out(self.output.addr, &mut output).unwrap();
        for (word, (input, output)) in input.chunks(8).zip(output.chunks(8)).enumerate() {
            let (input, output) =
                (u64::from_le_bytes(input.try_into().unwrap()), u64::from_le_bytes(output.try_into().unwrap()));
            assert_eq!(output, input.wrapping_add(1), "word {word}");
        }
    }

    /// Runs the program into an error of the hardware.
    fn fail(&mut self) -> TsimError {
        self.launch(&[0; 32]);
        let error = self.bus.wait(LIMIT).unwrap_err().to_string();
        let cause = self.monitor.error().unwrap();
        assert!(error.contains(&cause.to_string()), "{error}");
        assert_eq!(self.bus.diagnosis(), Some(cause.to_string()));
        // A device that hangs answers nothing but a reset, which brings it back.
        assert!(self.bus.read32(Reg::Control).is_err());
        self.bus.write32(Reg::Control, control::RESET).unwrap();
        assert_eq!(self.bus.read32(Reg::Control).unwrap(), 0);
        cause
    }
}

fn options() -> TsimOptions {
    TsimOptions { dram: DramModel::ideal(), ..TsimOptions::default() }
}

#[test]
fn programs_run_one_after_the_other_without_reset() {
    let Some(model) = toy() else { return };
    let mut bench = bench(model, options());
    assert_eq!(bench.bus.read32(Reg::ConfigDigest).unwrap(), config().digest());
    assert_eq!(bench.bus.wait(Duration::MAX).unwrap(), Waited::Elapsed);
    for round in 0..5 {
        bench.run(round);
    }
    let activity = bench.monitor.activity();
    assert_eq!((activity.read_bytes, activity.read_bursts), (64 + 32, 2));
    assert_eq!((activity.write_bytes, activity.write_bursts), (32, 1));
    assert_eq!(u64::from(bench.bus.read32(Reg::Cycles).unwrap()), activity.cycles);
    for cycles in activity.units.iter().chain([&activity.fetch]) {
        assert_eq!(cycles.total(), activity.cycles);
    }
    assert_eq!(bench.monitor.total_activity().cycles, 5 * activity.cycles);
    assert_eq!((activity.tokens[0].max, activity.tokens[0].sum), (1, 1));
}

#[test]
fn stress_changes_cycles_and_nothing_else() {
    let Some(model) = toy() else { return };
    let mut cycles = std::collections::BTreeSet::new();
    for seed in 0..20 {
        let options = TsimOptions { stress: Some(seed), scramble: true, ..options() };
        let mut bench = bench(Arc::clone(&model), options);
        for round in 0..10 {
            bench.run(round);
            cycles.insert(bench.monitor.activity().cycles);
        }
    }
    assert!(cycles.len() > 20, "{cycles:?}");
}

#[test]
fn memory_is_as_slow_as_its_model_says() {
    let Some(model) = toy() else { return };
    let cycles = |dram: DramModel| {
        let mut bench = bench(Arc::clone(&model), TsimOptions { dram, ..options() });
        bench.run(1);
        bench.monitor.activity().cycles
    };
    let ideal = cycles(DramModel::ideal());
    // Two reads and a write, one after the other.
    assert_eq!(cycles(DramModel { latency: 101, ..DramModel::ideal() }), ideal + 300);
    assert_eq!(cycles(DramModel::zynq()), ideal + 3 * 39);
    // A quarter of a beat a cycle: each of the 8 + 4 + 4 beats takes three cycles more, and the first of a burst may be saved up.
    let slow = cycles(DramModel { bits_per_cycle: 16, ..DramModel::ideal() });
    assert!((ideal + 3 * 13..=ideal + 3 * 16).contains(&slow), "{slow} against {ideal}");
}

#[test]
fn events_are_told_as_the_functional_simulator_tells_them() {
    let Some(model) = toy() else { return };
    let mut bench = bench(model, TsimOptions { trace: true, stress: Some(1), ..options() });
    bench.run(0);
    let mut output = [0; 32];
    bench.bus.copy_out(bench.output.addr, &mut output).unwrap();
    let digest = |bytes| tandem_isa::Event::digest(bytes);
    let (first, second) = (digest(&output[..16]), digest(&output[16..]));
    let addr = bench.output.addr.0;
    let expected = format!(
        "load 0 begin\nload 0 finish\nload 0 push compute\ncompute 1 pop load\ncompute 1 begin\ncompute 1 finish\n\
         compute 1 push store\nstore 2 pop compute\nstore 2 begin\nstore 2 write {addr:#x} 16 {first:#010x}\n\
         store 2 write {:#x} 16 {second:#010x}\nstore 2 finish\ncompute 3 begin\ncompute 3 finish\n",
        addr + 16
    );
    assert_eq!(bench.monitor.trace().to_string(), expected);
    bench.monitor.set_trace(false);
    bench.run(0);
    assert!(bench.monitor.trace().events.is_empty());
}

#[test]
fn the_slices_of_a_timeline_add_up_to_the_counters() {
    let Some(model) = toy() else { return };
    let dram = DramModel::zynq();
    let mut bench = bench(model, TsimOptions { timeline: true, dram, stress: Some(3), ..options() });
    for round in 0..7 {
        bench.run(round);
    }
    let (timeline, activity) = (bench.monitor.timeline(), bench.monitor.total_activity());
    for unit in Queue::ALL {
        assert_eq!(timeline.cycles(Some(unit)), *activity.unit(unit), "{unit}");
        let by_instruction = timeline.by_instruction(unit);
        let covered: u64 = by_instruction.values().map(UnitCycles::total).sum();
        assert_eq!(covered + activity.unit(unit).of(UnitState::Idle), activity.cycles, "{unit}: {by_instruction:?}");
    }
    assert_eq!(timeline.cycles(None), activity.fetch);
    assert_eq!(timeline.activity(), &activity);
    check_json(&timeline);
}

/// Adds the slices up once more, from the file alone.
fn check_json(timeline: &Timeline) {
    let mut text = Vec::new();
    timeline.write(&mut text).unwrap();
    let json: serde_json::Value = serde_json::from_slice(&text).unwrap();
    let events = json["traceEvents"].as_array().unwrap();
    let total = json["otherData"]["cycles"].as_u64().unwrap();
    for (tid, unit) in ["load", "compute", "store", "fetch"].iter().enumerate() {
        let slices = events.iter().filter(|e| e["ph"] == "X" && e["tid"] == tid);
        let slices: Vec<_> = slices.collect();
        let mut covered = 0;
        for state in UnitState::ALL {
            let sum: u64 = slices.iter().filter_map(|e| e["args"][state.name()].as_u64()).sum();
            covered += sum;
            if state != UnitState::Idle {
                assert_eq!(json["otherData"][unit][state.name()], sum, "{unit} {}", state.name());
            }
        }
        let durations: u64 = slices.iter().map(|e| e["dur"].as_u64().unwrap()).sum();
        assert_eq!(durations, covered, "{unit}");
        assert_eq!(json["otherData"][unit]["idle"], total - covered, "{unit}");
        let mut spans: Vec<_> =
            slices.iter().map(|e| (e["ts"].as_u64().unwrap(), e["dur"].as_u64().unwrap())).collect();
        spans.sort();
        assert!(spans.windows(2).all(|pair| pair[0].0 + pair[0].1 <= pair[1].0), "{unit}: {spans:?}");
    }
    let named = |name: &str| events.iter().any(|e| e["name"] == name);
    assert!(named("load.inp sram=0 dram=0x0 size=1x8 stride=8 push_next"));
    assert!(named("wait token from load") && named("wait token from compute") && named("launch 7"));
}

#[test]
fn broken_rules_of_the_bus_are_named() {
    let slow = DramModel { bits_per_cycle: 16, ..DramModel::ideal() };
    let cases = [
        (UNSTABLE_W, "protocol violation: the write data channel changed its data in cycle "),
        (STROBE_HOLE, "protocol violation: the strobes of the write burst at 0x3000 have a hole before byte 6 "),
        (EARLY_LAST, "protocol violation: WLAST is 1 in beat 3 of 4 of the write burst at 0x3000 "),
        (CROSS_PAGE, " of 32 bytes crosses a 4 KiB boundary"),
        (STOPS, "protocol violation: the design stopped itself in cycle "),
    ];
    let Some(model) = toy() else { return };
    for (mutant, expected) in cases {
        let mut bench = bench(Arc::clone(&model), TsimOptions { dram: slow, mutant, ..options() });
        let error = bench.fail();
        assert!(matches!(error, TsimError::Violation(_)), "{error}");
        assert!(error.to_string().contains(expected) && error.to_string().contains("cycle "), "{error}");
    }
}

#[test]
fn hardware_that_does_not_answer_its_registers_is_an_error() {
    let Some(model) = toy() else { return };
    let mut bus = TsimBus::new(model, TsimOptions { mutant: DEAF, ..options() }).unwrap();
    let error = bus.read32(Reg::ConfigDigest).unwrap_err().to_string();
    assert!(error.ends_with("the hardware does not answer the access of register CONFIG_DIGEST"), "{error}");
}

#[test]
fn a_hang_names_unit_queue_and_instruction() {
    let Some(model) = toy() else { return };
    let mut bench = bench(model, TsimOptions { mutant: NO_TOKEN, watchdog_cycles: 1000, timeline: true, ..options() });
    let error = bench.fail();
    assert_eq!(
        error.to_string(),
        "the hardware hangs: nothing has moved for 1001 cycles; \
         compute waits for a token from load (queue load->compute) at instruction 1 (`nop.compute pop_prev push_next`); \
         store waits for a token from compute (queue compute->store) at instruction 2 \
         (`store.out sram=0 dram=0x0 size=2x4 stride=4 pop_prev`)"
    );
    let timeline = bench.monitor.timeline();
    assert_eq!(timeline.cycles(Some(Queue::Compute)), *bench.monitor.total_activity().unit(Queue::Compute));
}

#[test]
fn a_mutant_is_chosen_when_the_device_is_made() {
    let Some(model) = toy() else { return };
    for (mutant, expected) in [(0, 1), (WRONG_SUM, 2)] {
        let mut bench = bench(Arc::clone(&model), TsimOptions { mutant, ..options() });
        bench.launch(&[0; 32]);
        bench.bus.wait(LIMIT).unwrap();
        let mut last = [0; 1];
        bench.bus.copy_out(bench.output.addr.offset(24).unwrap(), &mut last).unwrap();
        assert_eq!(last, [expected]);
    }
}

#[test]
fn an_error_that_hardware_reports_names_the_instruction() {
    let Some(model) = toy() else { return };
    let mut bench = bench(model, options());
    bench.bus.write32(Reg::InpBase, 0x80_0000).unwrap();
    for _ in 0..2 {
        bench.launch(&[0; 32]);
        assert_eq!(bench.bus.wait(LIMIT).unwrap(), Waited::Signalled);
        assert_eq!(bench.bus.read32(Reg::Control).unwrap(), control::ERROR);
        assert_eq!(bench.bus.read32(Reg::ErrorCode).unwrap(), ErrorCode::BusFault.code());
        let diagnosis = bench.bus.diagnosis().unwrap();
        assert!(
            diagnosis.starts_with("instruction 0 (`load.inp ") && diagnosis.ends_with("): the bus reported an error")
        );
        bench.bus.write32(Reg::Control, control::RESET).unwrap();
    }
    let input = bench.input.addr.0;
    bench.bus.write32(Reg::InpBase, input).unwrap();
    bench.run(9);
    assert_eq!(bench.monitor.error(), None);
}

#[test]
fn a_deadlock_that_hardware_reports_says_who_waits() {
    let Some(model) = toy() else { return };
    let mut bench = bench(model, TsimOptions { mutant: DEADLOCK, ..options() });
    bench.launch(&[0; 32]);
    assert_eq!(bench.bus.wait(LIMIT).unwrap(), Waited::Signalled);
    let diagnosis = bench.bus.diagnosis().unwrap();
    assert!(
        diagnosis.starts_with("deadlock: compute waits for a token from load (queue load->compute) at "),
        "{diagnosis}"
    );
}

#[test]
fn an_illegal_program_is_refused_before_the_hardware_sees_it() {
    let Some(model) = toy() else { return };
    let illegal = PROGRAM.replace("push_next\nnop", "\nnop");
    let mut bench = bench_with(Arc::clone(&model), TsimOptions { check: true, trace: true, ..options() }, &illegal);
    bench.launch(&[0; 32]);
    assert_eq!(bench.bus.wait(LIMIT).unwrap(), Waited::Signalled);
    assert_eq!(bench.bus.read32(Reg::Control).unwrap(), control::ERROR);
    assert_eq!(bench.bus.read32(Reg::ErrorCode).unwrap(), ErrorCode::Deadlock.code());
    assert_eq!(bench.bus.read32(Reg::ErrorInsn).unwrap(), 1);
    let diagnosis = bench.bus.diagnosis().unwrap();
    assert!(
        diagnosis.starts_with("deadlock: compute waits at instruction 1 (`nop.compute pop_prev push_next`)"),
        "{diagnosis}"
    );
    assert_eq!(bench.monitor.activity().cycles, 0);
    bench.bus.write32(Reg::Control, control::RESET).unwrap();
    assert_eq!(bench.bus.read32(Reg::Control).unwrap(), 0);
    let mut legal = self::bench(model, TsimOptions { check: true, ..options() });
    for round in 0..3 {
        legal.run(round);
    }
}

#[test]
fn waveforms_go_into_an_fst_file() {
    let Some(model) = toy_variant(Variant { waves: true, mutants: true, ..Variant::default() }) else { return };
    let folder = std::path::PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    let path = folder.join("toy.fst");
    let mut bench = bench(model, TsimOptions { waves: Some(path.clone()), ..options() });
    bench.run(0);
    bench.monitor.finish_waves().unwrap();
    let bytes = std::fs::read(&path).unwrap();
    // The first block of an FST file is its header, which begins with its type and its length.
    assert_eq!(bytes[..9], [0, 0, 0, 0, 0, 0, 0, 1, 0x49]);
    assert!(bytes.len() > 1000, "{}", bytes.len());
    let plain = toy().unwrap();
    let refused = TsimBus::new(plain, TsimOptions { waves: Some(path), ..options() }).unwrap_err();
    assert_eq!(refused, TsimError::NoWaves);
}

#[test]
fn a_build_that_fails_keeps_its_log_and_says_where() {
    let Some(tools) = tool::verilator() else { return };
    let cache = std::path::PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("failing");
    let build = |verilog: &str| {
        Model::build_from(verilog, &config(), &tools, &cache, Variant::default(), &mut |_| {}).unwrap_err()
    };
    // Verilator refuses the first, the harness does not compile against the second, which lacks the ports.
    for (verilog, tool) in [
        ("module tandem(input clock; endmodule", "Verilator"),
        ("module tandem(input clock); endmodule", "the C++ compiler"),
    ] {
        let error = build(verilog);
        let TsimError::Build { tool: failed, first, log } = &error else { panic!("{error}") };
        assert_eq!(failed, tool);
        let text = std::fs::read_to_string(log).unwrap();
        assert!(text.contains(first), "{error}");
        assert!(error.to_string().contains(&log.display().to_string()), "{error}");
    }
}

#[test]
fn builders_at_the_same_time_do_not_disturb_each_other() {
    let Some(tools) = tool::verilator() else { return };
    let cache = std::path::PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("racing");
    let _ = std::fs::remove_dir_all(&cache);
    let verilog = verilog();
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let model =
                    Model::build_from(&verilog, &config(), &tools, &cache, Variant::default(), &mut |_| {}).unwrap();
                bench(model, options()).run(3);
            });
        }
    });
}
