//! Blocks between streams give what their references say, at a word a cycle, however the streams are held up.

use std::collections::BTreeSet;
use std::sync::Arc;

use tandem_hw::stream::{IbpUnpack, PirXor};
use tandem_hw::{Module, Target};
use tandem_sim::stream::{
    Drive, IbpRow, IbpSample, Pattern, PirScan, StreamFault, StreamModel, StreamReport, pack, run_ibp, run_pir,
};
use tandem_sim::tsim::Tools;
use tandem_tests::block::Verilator;
use tandem_tests::proof::Sby;
use tandem_tests::random::Random;
use tandem_tests::synthesis::{cells, count};
use tandem_tests::tool;

/// Of 32-bit words and 64 columns.
const UNPACK_FAULTS: &[(&str, &str)] = &[
    ("uses_a = takes & (bits_end[5] | (take_last & ends_inside))", "uses_a = takes & bits_end[5]"),
    ("uses_b = ((takes & bits_end[5]) & take_last) & ends_inside", "uses_b = 1'h0"),
    ("(~(bits_end[5] & ends_inside)) | b_full", "1'h1"),
    ("(last_column | (&column[4:0]))", "(&column[4:0])"),
    ("rows_done = walks & last_column", "rows_done = walks"),
    ("controls_1 <= all_controls_1[take_column]", "controls_1 <= all_controls_1[width_column]"),
    ("{32{late_participates}}", "{32{1'h1}}"),
    ("(stage_4 & (~mask)) | bitval", "stage_4 | bitval"),
    ("out_room = (~leaving) | out_ready", "out_room = 1'h1"),
    ("in_room = loaded & room", "in_room = loaded"),
];

/// Of three queries and four words.
const SCAN_FAULTS: &[(&str, &str)] = &[
    ("& (~(busy & (at == index)))", ""),
    ("((phase == 2'h1) & (~busy))", "(phase == 2'h1)"),
    ("opening <= requests_out_data[3]", "opening <= 1'h0"),
    ("first <= opening", "first <= 1'h0"),
    ("bits <= requests_out_data[2:0]", "bits <= {requests_out_data[1:0], requests_out_data[2]}"),
];

/// Nothing held up, the sink, a source, both, and long stretches.
const PATTERNS: [(Pattern, Pattern); 5] = [
    (Pattern::Free, Pattern::Free),
    (Pattern::Free, Pattern::Random(0.5)),
    (Pattern::Random(0.4), Pattern::Free),
    (Pattern::Random(0.25), Pattern::Random(0.3)),
    (Pattern::Bursts(50), Pattern::Bursts(40)),
];

fn build(tools: &Tools, module: &Module, verilog: &str) -> Arc<StreamModel> {
    StreamModel::build_from(module, verilog, tools, &tool::cache().join("streams"), &mut |_| ()).unwrap()
}

fn drives(seed: u64) -> impl Iterator<Item = Drive> {
    PATTERNS.into_iter().map(move |(source, sink)| Drive { source, sink, seed, watchdog: 2000 })
}

/// Everything was equal, and the block lost hardly a cycle of its own.
fn good(report: &StreamReport, what: &str) {
    assert_eq!((report.mismatches, report.first), (0, None), "{what}");
    assert!(report.net() > 0.99, "{what}: {} words a cycle, {report:?}", report.net());
}

fn ibp(tools: &Tools, word_bits: u32, room: u32) -> (IbpUnpack, Arc<StreamModel>) {
    let block = IbpUnpack::new(word_bits, room).unwrap();
    let module = block.module(&Target::default());
    (block, build(tools, &module, &module.verilog()))
}

#[test]
fn random_rows_are_unpacked_at_a_word_a_cycle_in_every_width() {
    let Some(tools) = tool::verilator() else { return };
    // A queue of participation bits in look-up tables and one in block RAM; a row that fills its participation bits, or not.
    for (word_bits, room, columns) in [(32, 64, 64), (64, 64, 50), (32, 1100, 1090), (64, 1, 1), (64, 130, 65)] {
        let (block, model) = ibp(&tools, word_bits, room);
        let sample = IbpSample::random(&block, columns, 6000, u64::from(columns));
        let rows = sample.packed(word_bits);
        for drive in drives(7) {
            let report = run_ibp(&model, &block, &sample.columns, &rows, &sample.rows, &drive).unwrap();
            good(&report, &format!("{word_bits} bits, {columns} of {room} columns, {drive:?}"));
        }
    }
}

#[test]
fn masks_of_all_and_of_no_bits_and_rows_of_every_kind_follow_one_another() {
    let Some(tools) = tool::verilator() else { return };
    for word_bits in [32, 64] {
        let (block, model) = ibp(&tools, word_bits, 100);
        let all = u64::MAX >> (64 - word_bits);
        let mut random = Random::new(word_bits.into());
        let mut word = move || (u64::from(random.bits()) << 32 | u64::from(random.bits())) & all;
        let bits = move |mask: u64, value: u64| (mask & all, value & mask & all);
        let (a, b, c) = (word(), word(), word());
        // All columns without a bit, all with every bit, one bit less than a word, ends of words.
        let kinds: [Vec<(u64, u64)>; 5] = [
            vec![bits(all, a); 40],
            vec![bits(0, 0); 3],
            (0..100).map(|at| bits(1 << (at % word_bits), b)).collect(),
            (0..70).map(|at| bits(if at % 3 == 0 { all } else { 0xffff }, a ^ at as u64)).collect(),
            (0..33).map(|at| if at == 32 { bits(0, 0) } else { bits(all, c) }).collect(),
        ];
        for columns in kinds {
            let fitting = |word: u64, (mask, bitval): (u64, u64)| word & !mask | bitval;
            let rows: Vec<Vec<u64>> = (0..60)
                .map(|row| {
                    let column = |column: &(u64, u64)| match row % 5 {
                        // Packed as far as it goes; nothing participates; a mixture.
                        0 | 1 => fitting(word(), *column),
                        2 => fitting(word(), *column) ^ (column.0 & column.0.wrapping_neg()),
                        _ if row % 2 == 0 => word(),
                        _ => fitting(word(), *column),
                    };
                    columns.iter().map(column).collect()
                })
                .collect();
            let packed: Vec<IbpRow> = rows.iter().map(|row| pack(row, &columns, word_bits)).collect();
            for drive in drives(3) {
                let report = run_ibp(&model, &block, &columns, &packed, &rows, &drive).unwrap();
                assert_eq!((report.mismatches, report.first), (0, None), "{word_bits}, {:x?}, {drive:?}", columns[0]);
                let own = report.cycles - report.held - report.words;
                assert!(own <= 2, "{word_bits}, {:x?}, {drive:?}: {own} cycles lost", columns[0]);
            }
        }
    }
}

#[test]
fn a_row_that_is_too_long_or_too_short_is_called_malformed() {
    let Some(tools) = tool::verilator() else { return };
    let (block, model) = ibp(&tools, 32, 64);
    let columns = vec![(0xffff_0000, 0); 12];
    let rows = vec![vec![5; 12]; 4];
    let good: Vec<IbpRow> = rows.iter().map(|row| pack(row, &columns, 32)).collect();
    let run = |beats: &dyn Fn(&mut Vec<u64>)| {
        let mut bad = good.clone();
        beats(&mut bad[1].beats);
        run_ibp(&model, &block, &columns, &bad, &rows, &Drive { watchdog: 1000, ..Drive::default() })
    };
    assert_eq!(run(&|_| ()).unwrap().mismatches, 0);
    let malformed = |result| matches!(result, Err(StreamFault::Malformed(_)));
    assert!(malformed(run(&|beats| beats.push(0))), "a word too many");
    assert!(malformed(run(&|beats| _ = beats.pop())), "a word too few");
    // It takes those of the next row, until there is none.
    assert!(run(&|beats| beats.truncate(1)).is_err(), "no bits at all");
}

fn pir(tools: &Tools, queries: u32, word_bits: u32, words: u32) -> (PirXor, Arc<StreamModel>) {
    let block = PirXor::new(queries, word_bits, words).unwrap();
    let module = block.module(&Target::default());
    (block, build(tools, &module, &module.verilog()))
}

#[test]
fn scans_one_after_another_are_what_a_plain_scan_gives() {
    let Some(tools) = tool::verilator() else { return };
    for (queries, word_bits, words) in [(1, 32, 1), (5, 64, 1), (3, 32, 2), (33, 64, 17), (128, 32, 40)] {
        let (block, model) = pir(&tools, queries, word_bits, words);
        let scan = |(seed, words): (usize, u64)| PirScan::random(&block, words, seed as u64);
        let scans: Vec<PirScan> = [3000, 1, 500, 2 * u64::from(words)].into_iter().enumerate().map(scan).collect();
        for drive in drives(5) {
            let report = run_pir(&model, &block, &scans, &drive).unwrap();
            let what = format!("{queries} queries of {words} {word_bits}-bit words, {drive:?}");
            assert_eq!((report.mismatches, report.first), (0, None), "{what}");
            // Between the last word of a scan and its first result, and until words enter again.
            let own = report.cycles - report.held;
            let turns = 8 * scans.len() as u64;
            assert!(own <= report.words + report.left + turns, "{what}: {own} cycles, {report:?}");
        }
    }
}

#[test]
fn a_scan_of_buckets_with_less_words_than_there_is_room_for_is_the_same() {
    let Some(tools) = tool::verilator() else { return };
    let (block, model) = pir(&tools, 9, 32, 64);
    for words in [1, 2, 3, 63] {
        let small = PirXor::new(9, 32, words).unwrap();
        let scans = [PirScan::random(&small, 400, 1), PirScan::random(&block, 300, 2), PirScan::random(&small, 9, 3)];
        for drive in drives(2) {
            let report = run_pir(&model, &block, &scans, &drive).unwrap();
            assert_eq!((report.mismatches, report.first), (0, None), "{words} words, {drive:?}");
        }
    }
}

#[test]
fn the_cycles_of_a_scan_do_not_depend_on_what_is_asked_for() {
    let Some(tools) = tool::verilator() else { return };
    let (block, model) = pir(&tools, 20, 64, 8);
    let random = PirScan::random(&block, 800, 1);
    let asking = |request: u128| PirScan { requests: vec![request; random.requests.len()], ..random.clone() };
    let scans = [random.clone(), asking(0), asking((1 << 20) - 1), asking(1)];
    for drive in drives(9) {
        let shape = |scan: &PirScan| run_pir(&model, &block, std::slice::from_ref(scan), &drive).unwrap().shape;
        let shapes: BTreeSet<u64> = scans.iter().map(shape).collect();
        assert_eq!(shapes.len(), 1, "{drive:?}");
    }
}

/// Faults in the Verilog, each of which a run has to find.
fn planted(tools: &Tools, module: &Module, faults: &[(&str, &str)], run: impl Fn(&Arc<StreamModel>) -> bool) {
    let verilog = module.verilog();
    assert!(run(&build(tools, module, &verilog)), "the block without a fault");
    for (from, to) in faults {
        assert_eq!(verilog.matches(from).count(), 1, "`{from}` stands once in\n{verilog}");
        assert!(!run(&build(tools, module, &verilog.replace(from, to))), "`{to}` for `{from}` shows");
    }
}

#[test]
fn planted_faults_of_the_unpacker_show() {
    let Some(tools) = tool::verilator() else { return };
    let block = IbpUnpack::new(32, 64).unwrap();
    let sample = IbpSample::random(&block, 41, 4000, 4);
    let rows = sample.packed(32);
    let run = |model: &Arc<StreamModel>| {
        drives(6).all(|drive| {
            let report = run_ibp(model, &block, &sample.columns, &rows, &sample.rows, &drive);
            report.is_ok_and(|report| report.mismatches == 0)
        })
    };
    planted(&tools, &block.module(&Target::default()), UNPACK_FAULTS, run);
}

#[test]
fn planted_faults_of_the_scan_show() {
    let Some(tools) = tool::verilator() else { return };
    let block = PirXor::new(3, 32, 4).unwrap();
    let short = PirXor::new(3, 32, 1).unwrap();
    let scans = [PirScan::random(&block, 300, 1), PirScan::random(&short, 40, 2), PirScan::random(&block, 30, 3)];
    let run = |model: &Arc<StreamModel>| {
        drives(6).all(|drive| run_pir(model, &block, &scans, &drive).is_ok_and(|report| report.mismatches == 0))
    };
    planted(&tools, &block.module(&Target::default()), SCAN_FAULTS, run);
}

#[test]
fn blocks_between_streams_pass_the_linter() {
    let Some(verilator) = Verilator::find() else { return };
    let small_memories = Target { lut_ram: false, ..Target::default() };
    let lint = |module: Module| assert_eq!(verilator.lint(module.name(), &module.verilog(), &[]).unwrap(), "");
    for target in [Target::default(), small_memories] {
        for (word_bits, columns) in [(32, 1), (64, 64), (32, 5000)] {
            lint(IbpUnpack::new(word_bits, columns).unwrap().module(&target));
        }
        for (queries, word_bits, words) in [(1, 32, 1), (7, 64, 3), (16, 32, 512)] {
            lint(PirXor::new(queries, word_bits, words).unwrap().module(&target));
        }
    }
}

#[test]
fn ecp5_takes_block_ram_for_columns_and_accumulators_and_few_look_up_tables() {
    let Some(tools) = Sby::find() else { return };
    let synthesise = |name: &str, module: Module| {
        let top = module.name();
        let cells = cells(&tools, name, &module.verilog(), top, "synth_ecp5").unwrap();
        let within = |kinds: &[&str]| count(&cells, top, kinds);
        let found = [within(&["LUT4"]), within(&["TRELLIS_FF"]), within(&["DP16KD"]), within(&["TRELLIS_DPR16X4"])];
        println!("{name}: {} LUT4, {} registers, {} DP16KD, {} LUT RAMs", found[0], found[1], found[2], found[3]);
        found
    };
    let target = Target::default();
    let [luts, _, rams, _] = synthesise("stream_ibp_32", IbpUnpack::new(32, 256).unwrap().module(&target));
    assert_eq!(rams, 6, "a block RAM a field of a column");
    assert!(luts < 1500, "{luts} LUT4");
    let [luts, registers, rams, _] = synthesise("stream_pir_16", PirXor::new(16, 32, 512).unwrap().module(&target));
    assert_eq!(rams, 16, "a block RAM a query");
    assert!(luts < 1300, "{luts} LUT4");
    assert!(registers < 250, "{registers} registers");
}
