//! Manifests: those that are built in, and what is said of bad ones.

use std::fs;
use std::path::PathBuf;

use tandem_boards::{Board, Flow, Host, Memory, find, load, names, trial_design};
use tandem_isa::HwConfig;

/// A folder of a test's own with these files.
fn folder(name: &str, files: &[(&str, &str)]) -> PathBuf {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = fs::remove_dir_all(&path);
    fs::create_dir_all(&path).unwrap();
    for (name, text) in files {
        fs::write(path.join(name), text).unwrap();
    }
    path
}

const GOOD: &str = r#"inherits = "ice40-up5k"
name = "mine"
oscillator = { port = "clock_in", hz = 12_000_000 }
clock_hz = 24_000_000
host = { kind = "uart", baud = 1_000_000, via = "a cable" }
memory = { kind = "spram" }
leds = 1
hw = "tiny"
constraints = "pins.pcf"
"#;
const PINS: &str = "set_io clock_in 35\nset_io uart_rx 6\nset_io uart_tx 9\nset_io led[0] 11\n";

fn bad(name: &str, from: &str, to: &str, words: &[&str]) {
    assert!(GOOD.contains(from), "{from}");
    let path = folder(name, &[("board.toml", &GOOD.replace(from, to)), ("pins.pcf", PINS)]);
    let error = load(&path).unwrap_err().to_string();
    for word in words {
        assert!(error.contains(word), "'{word}' is not in: {error}");
    }
    assert_eq!(error.lines().count(), 1, "{error}");
}

#[test]
fn every_board_that_is_built_in_is_whole() {
    assert_eq!(names().len(), 10);
    for name in names() {
        let board = find(name).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(board.name, name, "a board has the name of its folder");
        assert!(board.budget.lut > 0 && board.budget.bram > 0, "{name}");
        assert_eq!(board.pll.is_some(), board.flow.is_open(), "{name}");
        // What the core can address is there, or it is told to address less.
        let reach = 1u64 << board.config.dram_bits();
        assert!(board.config.dram_bits() == 32 || reach <= board.memory.bytes(), "{name}");
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(name);
        assert!(folder.join("README.md").is_file(), "{name} has no README.md");
        assert_eq!(load(&folder).unwrap(), board, "built in and from the folder");
    }
}

#[test]
fn a_board_inherits_its_part_and_its_memory() {
    let board = find("tang-nano-20k").unwrap();
    assert_eq!((board.flow, board.part.as_str(), board.derate), (Flow::Gowin, "GW2AR-LV18QN88C8/I7", 0.6));
    let Memory::Sdram(sdram) = &board.memory else { panic!("{:?}", board.memory) };
    assert_eq!((sdram.data_bits, board.memory.bytes()), (32, 8 << 20));
    assert_eq!(find("ulx3s-85f").unwrap().memory.bytes(), 32 << 20);
    assert_eq!(find("icebreaker").unwrap().memory.bytes(), 128 << 10);
    assert!(matches!(find("pynq-z1").unwrap().host, Host::Axi { base: 0x43c0_0000, bytes: 65536 }));
}

#[test]
fn a_board_from_a_folder_may_name_a_configuration_of_its_own() {
    let good = folder("manifest-good", &[("board.toml", GOOD), ("pins.pcf", PINS)]);
    let board = load(&good).unwrap();
    assert_eq!((board.title.as_str(), board.clock_hz, board.config.name()), ("mine", 24_000_000, Some("tiny")));
    let own = HwConfig::preset("edge").unwrap().to_toml();
    let text = GOOD.replace("\"tiny\"", "\"own.toml\"");
    let path = folder("manifest-own", &[("board.toml", &text), ("pins.pcf", PINS), ("own.toml", &own)]);
    assert_eq!(load(&path).unwrap().config, HwConfig::preset("edge").unwrap());
    assert_eq!(Board::macs(&load(&path).unwrap().config), 64);
}

#[test]
fn bad_manifests_are_refused_with_the_key_and_the_remedy() {
    bad("m-unknown", "leds = 1", "lights = 1", &["board.toml", "line 7", "lights"]);
    bad("m-syntax", "leds = 1", "leds =", &["board.toml", "line 7"]);
    bad("m-base", "ice40-up5k", "ice41", &["inherits", "no base 'ice41'"]);
    bad("m-missing", "memory = { kind = \"spram\" }\n", "", &["says `memory`"]);
    bad("m-name", "\"mine\"", "\"My Board\"", &["name", "lower-case"]);
    bad("m-clock", "24_000_000", "240_000_000_000", &["clock_hz", "between 1 MHz and 1 GHz"]);
    bad("m-pll", "24_000_000", "400_000_000", &["SB_PLL40", "nearest that it makes", "change clock_hz"]);
    bad("m-baud", "1_000_000", "9_000_000", &["host.baud", "less than 4 cycles"]);
    bad("m-rate", "1_000_000", "3_700_000", &["host.baud", "not a part of the clock"]);
    bad("m-memory", "kind = \"spram\"", "kind = \"processor_ddr\", bytes = 4096", &["memory", "flow ice40"]);
    bad("m-kind", "kind = \"spram\"", "kind = \"tape\"", &["board.toml", "tape"]);
    bad("m-hw", "\"tiny\"", "\"huge\"", &["hw", "'huge' is neither a preset", "edge"]);
    bad("m-pins", "pins.pcf", "other.pcf", &["constraints", "no file other.pcf"]);
    bad("m-outside", "pins.pcf", "../m-pins/pins.pcf", &["constraints", "no file ../m-pins/pins.pcf"]);
    bad("m-port", "leds = 1", "leds = 2", &["pins.pcf of mine", "led[1] has no pin"]);
    bad("m-surplus", "leds = 1", "leds = 0", &["led[0] has a pin", "no such port"]);
    let twice = PINS.replace(" 11", " 9");
    let path = folder("m-twice", &[("board.toml", GOOD), ("pins.pcf", &twice)]);
    assert!(load(&path).unwrap_err().to_string().contains("the pin 9 is given to two ports"));
    assert!(load(&folder("m-empty", &[])).unwrap_err().to_string().contains("there is no board.toml in it"));
}

#[test]
fn an_unknown_key_of_a_memory_is_refused() {
    let sdram = fs::read_to_string(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("base/sdram-2m32.toml")).unwrap();
    let head = "inherits = \"lfe5u-25f\"\nname = \"mine\"\npart = \"x\"\nclock_hz = 60_000_000\nhw = \"tiny\"\n\
                oscillator = { port = \"c\", hz = 25_000_000 }\n\
                sdram_clock = { phase_degrees = 135, capture = \"falling\" }\nconstraints = \"x.lpf\"\n\
                host = { kind = \"uart\", baud = 1_000_000, via = \"x\" }\n";
    for (from, to, words) in [
        ("cas_latency", "cl = 2\ncas_latency", "cl"),
        ("data_bits = 32", "data_bits = 8", "data_bits = 8, which is neither 16 nor 32"),
        ("row_bits = 11", "row_bits = 20", "row_bits = 20, which is not from 11 to 13"),
        ("t_rcd_ps = 20_000", "t_rcd_ps = 2_000_000", "which is more than 1 us"),
        ("t_refi_ps = 15_625_000", "t_refi_ps = 15_625", "less than 128 cycles"),
    ] {
        assert!(sdram.contains(from), "{from}");
        let text = format!("{head}{}", sdram.replace(from, to));
        let error = load(&folder("m-sdram", &[("board.toml", &text), ("x.lpf", "")])).unwrap_err().to_string();
        assert!(error.contains(words), "'{words}' is not in: {error}");
    }
}

#[test]
fn the_design_of_a_board_has_the_ports_that_the_constraints_name() {
    for board in names().into_iter().map(|name| find(name).unwrap()).filter(|board| board.flow.is_open()) {
        let verilog = trial_design(&board, 1).unwrap();
        let top = &verilog[verilog.find("module top").unwrap()..];
        let head = &top[..top.find(';').unwrap()];
        for port in board.ports() {
            assert!(head.contains(&port.name), "{}: {} is not a port of {head}", board.name, port.name);
        }
    }
}
