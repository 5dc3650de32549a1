//! Programs and networks on a simulated board, byte by byte over its serial line: core, memory, bridge and driver together.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tandem_driver::{Bus, Device, SerialBus};
use tandem_graph::Graph;
use tandem_hw::Target;
use tandem_hw::shell::{Memory, Sdram, Shell, board_cells, board_verilog};
use tandem_import::{ImportOptions, import};
use tandem_isa::{HwConfig, parse};
use tandem_ops::Arith;
use tandem_plan::{Device as Placed, partition};
use tandem_runtime::{Backend, CpuBackend, Executor, VtaBackend};
use tandem_sim::FsimBus;
use tandem_sim::board::{BoardModel, BoardOptions, BoardPort, BoardSim, Cable, CableFaults, chip_of};
use tandem_sim::tsim::Variant;
use tandem_tensor::Tensor;
use tandem_tests::sdram::NARROW;
use tandem_tests::{models, tool};

const DIGITS: &[u8] = include_bytes!("../../models/digits/digits_int8.tflite");
const DIGITS_INPUTS: &[u8] = include_bytes!("../../models/digits/inputs_i8.bin");
const DIGITS_EXPECTED: &[u8] = include_bytes!("../../models/digits/expected_prob_i8_tflref.bin");
/// Of simulated time.
const LIMIT: Duration = Duration::from_secs(60);
const CLOCK: u32 = 24_000_000;
const BAUD: u32 = 3_000_000;
/// As small as it gets: 16 multipliers, one lane of the ALU, and no queues.
const SMALL: &str = "\
    name = \"small\"\nbatch = 1\nblock_in = 4\nblock_out = 4\nuop_buffer_bytes = 1024\ninp_buffer_bytes = 4096\n\
    wgt_buffer_bytes = 4096\nacc_buffer_bytes = 8192\nbus_bits = 64\ndram_bits = 18\ninsn_queue_depth = 0\n\
    alu_lanes = 1\nfloat_requant = false\ncounters = false\n";

/// Adds one to sixteen bytes.
const ADDER: &str = "\
    .section uops uop 0 4\n.hex 00000000\n\
    .section in input 64 16\n\
    .section out output 4096 16\n\
    load.uop sram=0 dram=0 size=1x1 stride=1\n\
    load.acc8 sram=0 dram=0x10 size=1x4 stride=4\n\
    alu.add uop=0..1 loop=1x4 dst=0,1 src=0,1 imm=1 push_next\n\
    store.out sram=0 dram=0x400 size=1x4 stride=4 pop_prev push_prev\n\
    nop.compute pop_next\n\
    finish\n";

fn config() -> HwConfig {
    HwConfig::from_toml(SMALL).unwrap()
}

/// The same with room for a memory chip.
fn config_with_chip() -> HwConfig {
    HwConfig::from_toml(&SMALL.replace("dram_bits = 18", "dram_bits = 25")).unwrap()
}

/// 32 MB in words of 16 bits.
fn chip() -> Sdram {
    Sdram { cas_latency: 3, t_init: 200_000_000, ..NARROW }
}

/// A board whose registers hold random values at first, or zeros without a seed; `None` where the tools are absent.
fn board_with(config: &HwConfig, memory: Memory, scramble: Option<u64>, faults: CableFaults) -> Option<BoardPort> {
    let shell = Shell { clock_hz: CLOCK, baud: BAUD, leds: 4, memory };
    simulated(config, &Target::default(), &shell, scramble, faults)
}

/// The same with any target and shell.
fn simulated(
    config: &HwConfig,
    target: &Target,
    shell: &Shell,
    scramble: Option<u64>,
    faults: CableFaults,
) -> Option<BoardPort> {
    let tools = tool::verilator()?;
    let verilog = board_verilog(config, target, shell).unwrap();
    let (cells, cache) = (board_cells(target, shell), tool::cache().join("models"));
    let model = BoardModel::build(&verilog, cells, &tools, &cache, Variant::default(), &mut |_| {}).unwrap();
    let options = BoardOptions { scramble, ..BoardOptions::new(shell.clock_hz.into(), shell.baud.into()) };
    let board = BoardSim::new(model, options, chip_of(shell)).unwrap();
    Some(BoardPort::new(Cable::with_faults(board, faults)))
}

/// The smallest board.
fn board(faults: CableFaults) -> Option<BoardPort> {
    board_with(&config(), Memory::BlockRam { bytes: 1 << 18 }, Some(1), faults)
}

const QUIET: CableFaults = CableFaults { per_million: 0, seed: 0 };

/// Nothing but a clean line and good frames was seen.
fn clean(cable: &Arc<Mutex<Cable>>) {
    let cable = cable.lock().unwrap();
    assert_eq!((cable.board().framing_errors(), cable.board().violation()), (0, None));
}

#[test]
fn a_program_runs_over_the_line_and_again_without_a_reset() {
    let Some(port) = board(QUIET) else { return };
    let cable = port.cable();
    let config = config();
    let bus = SerialBus::open(port).unwrap();
    assert_eq!((bus.facts().memory.bytes.0, bus.facts().clock_hz, bus.facts().baud), (1 << 18, CLOCK, BAUD));
    let mut devices = [
        Device::open(Box::new(bus), &config).unwrap(),
        Device::open(Box::new(FsimBus::new(&config)), &config).unwrap(),
    ];
    let facts = SMALL.trim_end().replace('\n', ", ");
    let program = parse(&format!(".config {{ {facts} }}\n{ADDER}")).unwrap();
    let loaded = devices.each_mut().map(|device| device.load(&program).unwrap());
    for round in 0..3 {
        let input: Vec<u8> = (0..16).map(|at| (at * 9 + round) as u8).collect();
        let expected: Vec<u8> = input.iter().map(|value| value.wrapping_add(1)).collect();
        for (device, loaded) in devices.iter_mut().zip(&loaded) {
            device.write(loaded, 1, 0, &input).unwrap();
            device.run(loaded, LIMIT).unwrap();
            assert_eq!(device.read(loaded, 2, 0, 16).unwrap(), expected);
        }
    }
    clean(&cable);
}

#[test]
fn a_device_for_another_configuration_is_refused_with_both_digests() {
    let Some(port) = board(QUIET) else { return };
    let tiny = HwConfig::preset("tiny").unwrap();
    let error = Device::open(Box::new(SerialBus::open(port).unwrap()), &tiny).unwrap_err().to_string();
    for digest in [config().digest(), tiny.digest()] {
        assert!(error.contains(&format!("{digest:#010x}")), "{error}");
    }
}

/// The codes of samples on a bus.
fn run(graph: &Graph, config: &HwConfig, bus: Box<dyn Bus + Send>, samples: &[Vec<Tensor>]) -> Vec<u8> {
    let plan = partition(graph, Placed::Vta(0), |node| tandem_jit::supports(graph, node, config));
    let device = Device::open(bus, config).unwrap();
    let mut backends: Vec<Box<dyn Backend>> = vec![Box::new(VtaBackend::new(device)), Box::new(CpuBackend)];
    let mut executor = Executor::new(graph, &plan, &mut backends).unwrap();
    let outputs = executor.run(samples).unwrap();
    outputs.iter().flatten().flat_map(Tensor::to_le_bytes).collect()
}

/// Runs a network twice on one board, without a reset in between.
fn compare(model: &[u8], inputs: &[u8], expected: &[u8], config: &HwConfig, port: BoardPort) {
    let graph = import(model, &ImportOptions { arith: Some(Arith::TfliteRef), ..ImportOptions::default() }).unwrap();
    let ty = graph.ty(graph.inputs[0]);
    let tensor = |bytes: &[u8]| vec![Tensor::from_le_bytes(ty.dtype, ty.shape.clone(), bytes).unwrap()];
    let samples: Vec<Vec<Tensor>> = inputs.chunks_exact(ty.bytes()).map(tensor).collect();
    let cable = port.cable();
    for port in [port, BoardPort::shared(Arc::clone(&cable))] {
        let bus = SerialBus::open(port).unwrap();
        assert!(run(&graph, config, Box::new(bus), &samples) == expected, "{}", graph.name);
    }
    clean(&cable);
}

#[test]
fn the_digits_network_is_bit_exact_over_the_line() {
    let Some(port) = board(QUIET) else { return };
    compare(DIGITS, &DIGITS_INPUTS[..2 * 64], &DIGITS_EXPECTED[..2 * 10], &config(), port);
}

#[test]
fn keyword_spotting_is_bit_exact_whatever_the_memory_is_and_holds_at_first() {
    let Some(folder) = models() else { return };
    let read = |file: &str| std::fs::read(folder.join("mlperf-tiny").join(file)).unwrap();
    let (inputs, expected) = (read("kws01/inputs_i8.bin"), read("kws01/expected_prob_i8_tflref.bin"));
    let model = read("models/kws_ref_model.tflite");
    for (memory, config, seed) in [
        (Memory::BlockRam { bytes: 1 << 18 }, config(), None),
        (Memory::Spram, config(), Some(2)),
        (Memory::Sdram(chip()), config_with_chip(), Some(3)),
    ] {
        let Some(port) = board_with(&config, memory, seed, QUIET) else { return };
        compare(&model, &inputs[..490], &expected[..12], &config, port);
    }
}

/// A board of ours as its manifest has it, and the configuration of its accelerator.
fn named(name: &str) -> Option<(HwConfig, BoardPort)> {
    let board = tandem_boards::find(name).unwrap();
    let (config, shell) = (board.config.clone(), tandem_boards::shell(&board).unwrap());
    let port = simulated(&config, &tandem_boards::target(&board, &config), &shell, Some(5), QUIET)?;
    Some((config, port))
}

#[test]
fn keyword_spotting_is_bit_exact_on_the_simulated_icebreaker() {
    let Some(folder) = models() else { return };
    let read = |file: &str| std::fs::read(folder.join("mlperf-tiny").join(file)).unwrap();
    let (inputs, expected) = (read("kws01/inputs_i8.bin"), read("kws01/expected_prob_i8_tflref.bin"));
    let Some((config, port)) = named("icebreaker") else { return };
    compare(&read("models/kws_ref_model.tflite"), &inputs[..2 * 490], &expected[..2 * 12], &config, port);
}

#[test]
fn resnet_8_is_bit_exact_on_the_simulated_ulx3s() {
    let Some(folder) = models() else { return };
    let read = |file: &str| std::fs::read(folder.join("mlperf-tiny").join(file)).unwrap();
    // Pixels; their codes are 128 less.
    let inputs: Vec<u8> = read("ic01/inputs_u8.bin").iter().take(3072).map(|pixel| pixel ^ 0x80).collect();
    let expected = read("ic01/expected_prob_i8_tflref.bin");
    let Some((config, port)) = named("ulx3s-85f") else { return };
    compare(&read("models/pretrainedResnet_quant.tflite"), &inputs, &expected[..10], &config, port);
}

#[test]
fn a_network_is_bit_exact_over_a_line_that_loses_one_byte_in_a_hundred() {
    let faults = CableFaults { per_million: 10_000, seed: 3 };
    let Some(port) = board(faults) else { return };
    let cable = port.cable();
    compare(DIGITS, &DIGITS_INPUTS[..64], &DIGITS_EXPECTED[..10], &config(), port);
    let cable = cable.lock().unwrap();
    let (to_board, to_host) = (cable.to_board(), cable.to_host());
    for counts in [to_board, to_host] {
        assert!(counts.lost > 5 && counts.changed > 5 && counts.doubled > 5 && counts.late > 0, "{counts:?}");
    }
}
