//! Programs that must be stopped: out of range, races, stale reads. They are written as assembly text.

use tandem_isa::{ErrorCode, parse};
use tandem_sim::{Checks, Dram, Machine, Options, SimCounters, SimError};

/// Runs the instructions on a preset; DRAM is 64 KiB of zeros from address 0.
fn run_with(preset: &str, options: Options, text: &str) -> Result<SimCounters, SimError> {
    let program = parse(&format!(".preset {preset}\n{text}finish\n")).unwrap_or_else(|error| panic!("{error}"));
    let mut dram = Dram::default();
    assert!(dram.map(0, 1 << 16));
    dram.slice_mut(0, 1 << 16).unwrap().fill(0);
    Machine::new(&program.config, options).run_insns(&mut dram, &program.insns)
}

fn stopped(text: &str) -> (String, ErrorCode) {
    let error = run_with("tiny", Options::default(), text).unwrap_err();
    (error.to_string(), error.code())
}

fn checked(checks: Checks, text: &str) -> Result<SimCounters, SimError> {
    let results: Vec<_> =
        (0..8).map(|seed| run_with("tiny", Options { seed, checks, ..Options::default() }, text)).collect();
    // Which of the two instructions is met first depends on the seed; whether there is a race does not.
    assert!(results.iter().all(|result| result.is_ok() == results[0].is_ok()), "{results:?}");
    results.into_iter().next().unwrap()
}

const RACES: Checks = Checks { races: true, uninitialised: false };
const STALE: Checks = Checks { races: false, uninitialised: true };

#[test]
fn scratchpad_indices_out_of_range_are_refused_with_element_and_depth() {
    // `tiny` has 2048 INP, 1024 WGT, 2048 ACC elements and 1024 micro-ops.
    let cases = [
        (
            "load.inp sram=2040 dram=0x100 size=3x3 stride=3\n",
            "instruction 0 (`load.inp sram=2040 dram=0x100 size=3x3 stride=3`) reaches INP element 2048, but there are 2048",
        ),
        (
            "load.inp sram=2040 dram=0x100 size=1x3 stride=3 pad=0,1,2,0\n",
            "instruction 0 (`load.inp sram=2040 dram=0x100 size=1x3 stride=3 pad=0,1,2,0`) reaches INP element 2049, \
             but there are 2048",
        ),
        (
            "store.out sram=2047 dram=0 size=1x2 stride=2\n",
            "instruction 0 (`store.out sram=2047 dram=0x0 size=1x2 stride=2`) reaches ACC element 2048, but there are 2048",
        ),
        (
            "gemm uop=0..1 loop=2x1025 dst=0,2 src=0,0 wgt=0,0\n",
            "instruction 0 (`gemm uop=0..1 loop=2x1025 dst=0,2 src=0,0 wgt=0,0`) reaches ACC element 2048, \
             but there are 2048",
        ),
        (
            "gemm uop=0..1 loop=3x1 dst=0,0 src=1024,0 wgt=0,0\n",
            "instruction 0 (`gemm uop=0..1 loop=3x1 dst=0,0 src=1024,0 wgt=0,0`) reaches INP element 2048, \
             but there are 2048",
        ),
        (
            "gemm uop=0..1 loop=2x2 dst=0,0 src=0,0 wgt=1,1023\n",
            "instruction 0 (`gemm uop=0..1 loop=2x2 dst=0,0 src=0,0 wgt=1,1023`) reaches WGT element 1024, \
             but there are 1024",
        ),
        (
            "gemm uop=1023..1025 loop=1x1 dst=0,0 src=0,0 wgt=0,0\n",
            "instruction 0 (`gemm uop=1023..1025 loop=1x1 dst=0,0 src=0,0 wgt=0,0`) reaches UOP element 1024, \
             but there are 1024",
        ),
        (
            "requant.double uop=0..1 loop=2x2 dst=0,0 src=2044,1\n",
            "instruction 0 (`requant.double uop=0..1 loop=2x2 dst=0,0 src=2044,1`) reaches ACC element 2048, \
             but there are 2048",
        ),
        (
            "lane uop=0..1 loop=5x2 dst=0,0 src=0,0 wgt=1023,4\n",
            "instruction 0 (`lane uop=0..1 loop=5x2 dst=0,0 src=0,0 wgt=1023,4`) reaches WGT vector 4096, \
             but there are 4096",
        ),
    ];
    for (text, message) in cases {
        assert_eq!(stopped(text), (message.to_owned(), ErrorCode::SramRange));
    }
}

#[test]
fn what_does_not_run_is_not_checked() {
    let text = "gemm uop=0..1 loop=0x9999 dst=2047,2047 src=2047,2047 wgt=1023,1023\n\
                gemm uop=5..5 loop=9999x9999 dst=2047,2047 src=2047,2047 wgt=1023,1023\n\
                gemm uop=9..5 loop=9999x9999 dst=2047,2047 src=2047,2047 wgt=1023,1023\n\
                gemm reset uop=0..1 loop=2x1 dst=0,0 src=2047,2047 wgt=1023,1023\n\
                alu.add uop=0..1 loop=3x1 dst=0,0 src=2047,0 imm=1\n\
                lane max uop=0..1 loop=100x1 dst=0,0 src=0,0 wgt=1023,0\n\
                load.inp sram=65535 dram=0xffffffff size=9x0 stride=0 pad=1,1,1,1\n";
    run_with("tiny", Options::default(), text).unwrap();
}

#[test]
fn a_maximum_of_lanes_runs_whatever_the_weight_that_it_does_not_read() {
    let program = parse(
        ".preset tiny\n\
         load.uop sram=0 dram=0 size=1x1 stride=1\n\
         load.inp sram=0 dram=0x10 size=1x8 stride=8 push_next\n\
         lane max overwrite uop=0..1 loop=1x8 dst=0,1 src=0,1 wgt=0,1023 pop_prev\n\
         finish\n",
    )
    .unwrap();
    let mut dram = Dram::default();
    assert!(dram.map(0, 4096));
    dram.slice_mut(0, 4096).unwrap().fill(0);
    dram.slice_mut(64, 32).unwrap().fill(7);
    let mut machine = Machine::new(&program.config, Options::default());
    machine.run_insns(&mut dram, &program.insns).unwrap();
    assert_eq!(machine.scratchpads().acc()[..33], [[7; 32].as_slice(), &[0]].concat());
}

#[test]
fn dram_out_of_reach_is_refused_with_address_and_length() {
    assert_eq!(
        stopped("load.inp sram=0 dram=0x3ffe size=2x4 stride=4\n"),
        (
            "instruction 0 (`load.inp sram=0 dram=0x3ffe size=2x4 stride=4`) touches 32 bytes at address 0xfff8, \
             which are not in device memory"
                .to_owned(),
            ErrorCode::DramRange
        )
    );
    let (message, code) = stopped("store.out sram=0 dram=0xffffffff size=1x1 stride=1\n");
    assert!(message.contains("touches 4 bytes at address 0x3fffffffc"), "{message}");
    assert_eq!(code, ErrorCode::DramRange);
}

#[test]
fn rows_that_are_not_whole_inp_elements_and_micro_ops_with_reserved_bits_are_refused() {
    let config = ".config { batch = 2, block_in = 16, block_out = 8, uop_buffer_bytes = 4096, inp_buffer_bytes = 2048, \
                  wgt_buffer_bytes = 8192, acc_buffer_bytes = 8192, bus_bits = 64 }\n";
    let run = |text: &str| {
        let program = parse(&format!("{config}{text}finish\n")).unwrap();
        let mut dram = Dram::default();
        assert!(dram.map(0, 1 << 16));
        Machine::new(&program.config, Options::default()).run_insns(&mut dram, &program.insns)
    };
    let error = run("store.outinp sram=0 dram=0 size=1x3 stride=4\n").unwrap_err();
    assert!(error.to_string().ends_with("outinp permutes 2 at a time: x_size must be a multiple"), "{error}");
    assert_eq!(error.code(), ErrorCode::IllegalInsn);
    run("store.outinp sram=0 dram=0 size=1x4 stride=4\n").unwrap();
    // Fresh memory holds 0xa5 in every byte, and the micro-op has 7 + 7 + 6 bits.
    let error = run("load.uop sram=3 dram=0 size=1x1 stride=1\ngemm uop=3..4 loop=1x1 dst=0,0 src=0,0 wgt=0,0\n");
    let error = error.unwrap_err();
    assert!(
        error.to_string().contains("runs micro-op 3, which does not decode: uop word 0xa5a5a5a5 has reserved bits"),
        "{error}"
    );
}

#[test]
fn a_load_that_compute_does_not_wait_for_is_a_race() {
    let text = "load.uop sram=0 dram=0 size=1x1 stride=1\n\
                load.inp sram=0 dram=0x100 size=1x4 stride=4\n\
                gemm uop=0..1 loop=1x4 dst=0,1 src=0,1 wgt=0,0\n";
    // Without the check the program just runs.
    run_with("tiny", Options::default(), text).unwrap();
    let error = checked(RACES, text).unwrap_err();
    assert_eq!(
        error.to_string(),
        "race on INP 0x0: instruction 1 (`load.inp sram=0 dram=0x100 size=1x4 stride=4`) writes it and instruction 2 \
         (`gemm uop=0..1 loop=1x4 dst=0,1 src=0,1 wgt=0,0`) reads it, and no token orders them"
    );
    let ordered = text.replace("stride=4\n", "stride=4 push_next\n").replace("wgt=0,0\n", "wgt=0,0 pop_prev\n");
    checked(RACES, &ordered).unwrap();
}

/// Two tiles through one INP buffer: the second load must wait for the first GEMM.
#[test]
fn a_buffer_that_is_loaded_again_too_early_is_a_race() {
    let text = |back_push: &str, back_pop: &str| {
        format!(
            "load.uop sram=0 dram=0 size=1x1 stride=1\n\
             load.inp sram=0 dram=0x100 size=1x4 stride=4 push_next\n\
             gemm uop=0..1 loop=1x4 dst=0,1 src=0,1 wgt=0,0 pop_prev {back_push}\n\
             load.inp sram=3 dram=0x110 size=1x4 stride=4 {back_pop} push_next\n\
             gemm uop=0..1 loop=1x4 dst=0,1 src=0,1 wgt=0,0 pop_prev\n"
        )
    };
    let error = checked(RACES, &text("", "")).unwrap_err();
    assert!(matches!(error, SimError::Race { memory: "INP", index: 3, .. }), "{error}");
    assert_eq!(error.code(), ErrorCode::Deadlock);
    checked(RACES, &text("push_prev", "pop_next")).unwrap();
}

#[test]
fn stores_and_arithmetic_on_one_accumulator_need_tokens_both_ways() {
    let text = |first: &str, push: &str, back: &str, pop: &str| {
        format!(
            "load.uop sram=0 dram=0 size=1x1 stride=1\n\
             alu.add uop=0..1 loop=1x4 dst=0,1 src=0,0 imm=1 {first}\n\
             store.out sram=0 dram=0x1000 size=1x4 stride=4 {push} {back}\n\
             alu.add uop=0..1 loop=1x4 dst=0,1 src=0,0 imm=1 {pop}\n"
        )
    };
    for (case, wanted) in [
        (text("", "", "push_prev", "pop_next"), true),
        (text("push_next", "pop_prev", "", ""), true),
        (text("push_next", "pop_prev", "push_prev", "pop_next"), false),
    ] {
        let outcome = checked(RACES, &case);
        assert_eq!(matches!(outcome, Err(SimError::Race { memory: "ACC", .. })), wanted, "{outcome:?}");
    }
}

/// One layer's output is the next layer's input, in DRAM.
#[test]
fn a_load_of_what_a_store_wrote_must_be_ordered_through_compute() {
    let text = |flags: [&str; 4]| {
        let [store, nop, compute, load] = flags;
        format!(
            "load.uop sram=0 dram=0 size=1x1 stride=1\n\
             alu.add uop=0..1 loop=1x4 dst=0,1 src=0,0 imm=1 push_next\n\
             store.out sram=0 dram=0x1000 size=1x4 stride=4 pop_prev {store}\n\
             nop.compute {nop} {compute}\n\
             load.inp sram=0 dram=0x1000 size=1x4 stride=4 {load} push_next\n\
             nop.compute pop_prev\n"
        )
    };
    let error = checked(RACES, &text(["push_prev", "pop_next", "", ""])).unwrap_err();
    assert!(matches!(error, SimError::Race { memory: "DRAM address", index: 0x4000, .. }), "{error}");
    checked(RACES, &text(["push_prev", "pop_next", "push_prev", "pop_next"])).unwrap();
    // The same address read by a load of the compute queue.
    let acc = "load.uop sram=0 dram=0 size=1x1 stride=1\n\
               alu.add uop=0..1 loop=1x4 dst=0,1 src=0,0 imm=1 push_next\n\
               store.out sram=0 dram=0x1000 size=1x4 stride=4 pop_prev push_prev\n\
               load.acc8 sram=9 dram=0x1003 size=1x1 stride=1 pop_next\n";
    checked(RACES, acc).unwrap();
    let early = acc.replace(" pop_next\n", "\nnop.compute pop_next\n");
    let error = checked(RACES, &early).unwrap_err();
    assert!(matches!(error, SimError::Race { memory: "DRAM address", index: 0x400c, .. }), "{error}");
}

#[test]
fn a_finish_that_does_not_wait_for_a_store_or_a_load_is_found() {
    let store = "load.uop sram=0 dram=0 size=1x1 stride=1\n\
                 alu.add uop=0..1 loop=1x4 dst=0,1 src=0,0 imm=1 push_next\n\
                 store.out sram=0 dram=0x1000 size=1x4 stride=4 pop_prev\n";
    let error = checked(RACES, store).unwrap_err();
    assert_eq!(
        error.to_string(),
        "instruction 3 (`finish`) does not wait for instruction 2 (`store.out sram=0 dram=0x1000 size=1x4 stride=4 \
         pop_prev`): push a token to compute and pop it before FINISH"
    );
    assert_eq!(error.code(), ErrorCode::NoFinish);
    let error = checked(RACES, "load.wgt sram=0 dram=0 size=1x1 stride=1\n").unwrap_err();
    assert!(matches!(error, SimError::Unfinished { .. }));
}

#[test]
fn reads_of_what_nothing_wrote_are_found_for_every_scratchpad() {
    let uop = "load.uop sram=0 dram=0 size=1x1 stride=1\n";
    let inp = "load.inp sram=0 dram=0x100 size=1x4 stride=4 push_next\nnop.compute pop_prev\n";
    let wgt = "load.wgt sram=0 dram=0 size=1x1 stride=1 push_next\nnop.compute pop_prev\n";
    let reset = "gemm reset uop=0..1 loop=1x4 dst=0,1 src=0,0 wgt=0,0\n";
    let gemm = "gemm uop=0..1 loop=1x4 dst=0,1 src=0,1 wgt=0,0\n";
    let all = [uop, inp, wgt, reset, gemm];
    checked(STALE, &all.concat()).unwrap();
    for (left_out, memory) in [(0, "UOP"), (1, "INP"), (2, "WGT"), (3, "ACC")] {
        let text: String = all.iter().enumerate().filter(|(at, _)| *at != left_out).map(|(_, text)| *text).collect();
        let error = checked(STALE, &text).unwrap_err();
        assert!(matches!(&error, SimError::Uninitialised { memory: found, .. } if *found == memory), "{error}");
    }
    // What overwrites reads nothing.
    let overwrite = "lane overwrite uop=0..1 loop=1x4 dst=0,1 src=0,1 wgt=0,0\n";
    checked(STALE, &[uop, inp, wgt, overwrite].concat()).unwrap();
    let mov = "alu.mov uop=0..1 loop=1x1 dst=9,1 src=0,0 imm=3 push_next\n\
               store.out sram=0 dram=0x1000 size=1x1 stride=1 pop_prev\n";
    checked(STALE, &[uop, mov].concat()).unwrap();
    let store = "store.out sram=5 dram=0x1000 size=1x1 stride=1\n";
    assert!(
        checked(STALE, store).unwrap_err().to_string().contains("reads ACC element 0x5, which nothing has written")
    );
}

#[test]
fn a_long_instruction_runs_in_slices_to_the_same_result() {
    // 8192 * 1024 executions, twice as many as a slice has; every one adds to the same accumulator.
    let program = parse(
        ".preset tiny\nload.uop sram=0 dram=0 size=1x1 stride=1\nalu.add uop=0..1 loop=8192x1024 dst=0,0 src=0,0 imm=1\nfinish\n",
    )
    .unwrap();
    let mut dram = Dram::default();
    assert!(dram.map(0, 4096));
    dram.slice_mut(0, 4).unwrap().fill(0);
    let mut machine = Machine::new(&program.config, Options::default());
    let counters = machine.run_insns(&mut dram, &program.insns).unwrap();
    assert_eq!(machine.scratchpads().acc()[..5], [8192 * 1024, 8192 * 1024, 8192 * 1024, 8192 * 1024, 0]);
    assert_eq!(counters.alu_uops, 8192 * 1024);
}
