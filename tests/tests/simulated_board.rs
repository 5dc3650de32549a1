//! The simulated board's own parts, on small boards written by hand: the line in both directions, the chip, and what stops it.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tandem_driver::ErrorClass;
use tandem_driver::serial::Port;
use tandem_sim::board::{
    BoardModel, BoardOptions, BoardPort, BoardSim, BoardSimError, Cable, CableFaults, Chip, ChipPins, Until,
};
use tandem_sim::netlist::Family;
use tandem_sim::tsim::{TsimError, Variant};
use tandem_tests::gates::Bench;
use tandem_tests::tool;

const ECHO: &str = include_str!("../boards/echo.v");
const CHIP: &str = include_str!("../boards/chip.v");
/// Divided by the bit rates below, it gives the divisors of the boards.
const CLOCK: u64 = 24_000_000;
/// Cycles in which anything that these boards do is over.
const LONG: u64 = 200_000;

fn model(verilog: &str) -> Option<Arc<BoardModel>> {
    let tools = tool::verilator()?;
    Some(
        BoardModel::build(verilog, "", &tools, &tool::cache().join("models"), Variant::default(), &mut |_| {}).unwrap(),
    )
}

/// The echo board whose bits take so many cycles.
fn echo(divisor: u64) -> Option<Arc<BoardModel>> {
    model(&ECHO.replace("DIVISOR = 8", &format!("DIVISOR = {divisor}")))
}

fn board(model: &Arc<BoardModel>, baud: u64) -> BoardSim {
    BoardSim::new(Arc::clone(model), BoardOptions::new(CLOCK, baud), None).unwrap()
}

/// Sends bytes and gives what comes back.
fn answer(board: &mut BoardSim, bytes: &[u8], count: usize) -> Vec<u8> {
    board.send(bytes);
    let (end, mut received) = (board.cycles() + LONG, Vec::new());
    while received.len() < count && board.cycles() < end {
        board.run_until(LONG, Until { received: true, ..Until::default() }).unwrap();
        received.extend(board.received());
    }
    received
}

#[test]
fn bytes_cross_the_line_both_ways_at_any_rate() {
    for (divisor, baud) in [(8, 3_000_000), (24, 1_000_000), (208, 115_200)] {
        let Some(model) = echo(divisor) else { return };
        let mut board = board(&model, baud);
        let all: Vec<u8> = (0..=255u8).filter(|byte| !b"RMFS".contains(byte)).collect();
        for bytes in all.chunks(14) {
            assert_eq!(answer(&mut board, bytes, bytes.len()), bytes, "{baud} bit/s");
        }
        assert_eq!((board.bytes_sent(), board.bytes_received()), (all.len() as u64, all.len() as u64));
        assert_eq!((board.framing_errors(), board.sending()), (0, 0));
        // Ten bits a byte and nothing between them.
        let line = board.options().line_cycles(all.len() as u64);
        assert!(board.cycles() > line && board.cycles() < 3 * line, "{} cycles for {line}", board.cycles());
    }
}

#[test]
fn a_netlist_of_a_board_is_a_board() {
    let Some(bench) = Bench::find() else { return };
    let tools = tool::verilator().unwrap();
    let without_stop = ECHO.replace("if (byte_in == \"S\") $stop;", "");
    for family in [Family::Ice40, Family::Ecp5] {
        let (_, netlist) = bench.synthesise(&family.source(&without_stop), "board", family.command()).unwrap();
        let (variant, cache) = (Variant { netlist: true, ..Variant::default() }, tool::cache().join("models"));
        let model =
            BoardModel::build(&netlist.verilog(), family.cells(), &tools, &cache, variant, &mut |_| {}).unwrap();
        let mut board = board(&model, 3_000_000);
        assert_eq!(answer(&mut board, b"gates", 5), b"gates", "{family}");
        assert_eq!(answer(&mut board, b"RM", 3), [b'R', 6, b'D'], "{family}");
    }
}

#[test]
fn a_rate_that_does_not_divide_the_clock_does_not_drift() {
    // 8.2 cycles a bit: a host that rounded to 8 would be two bits off after eighty bytes without a pause.
    let Some(model) = echo(8) else { return };
    let mut board = BoardSim::new(model, BoardOptions::new(8_200_000, 1_000_000), None).unwrap();
    board.send(&[0x55; 100]);
    assert!(board.run_until(LONG, Until { sent: true, ..Until::default() }).unwrap());
    let cycles = board.cycles() - 16;
    assert!((8200..=8202).contains(&cycles), "{cycles}");
}

#[test]
fn a_byte_without_a_stop_bit_is_counted_and_not_received() {
    let Some(model) = echo(8) else { return };
    let mut board = board(&model, 3_000_000);
    assert_eq!(answer(&mut board, b"aFb", 2), b"ab");
    assert_eq!((board.framing_errors(), board.bytes_received()), (1, 2));
    // A board at another rate than its host.
    let Some(model) = echo(11) else { return };
    let mut board = self::board(&model, 3_000_000);
    answer(&mut board, &[0], 1);
    board.run(LONG).unwrap();
    assert!(board.framing_errors() > 0);
}

#[test]
fn bytes_can_have_pauses_before_them_and_a_reset_forgets_them() {
    let Some(model) = echo(8) else { return };
    let mut board = board(&model, 3_000_000);
    let begin = board.cycles();
    board.send(b"a");
    board.send_after(100, b"b");
    assert!(board.run_until(LONG, Until { sent: true, ..Until::default() }).unwrap());
    assert_eq!((board.cycles() - begin) / 8, 120);
    board.run(LONG).unwrap();
    assert_eq!(board.received(), b"ab");
    assert_eq!(answer(&mut board, b"M", 1), [2]);
    board.send(b"cd");
    board.run(40).unwrap();
    board.reset();
    board.run(LONG).unwrap();
    assert_eq!(board.received(), b"");
    assert_eq!(answer(&mut board, b"M", 1), [0]);
}

#[test]
fn lights_are_seen_and_the_ports_time_is_the_boards() {
    let Some(model) = echo(8) else { return };
    let mut port = BoardPort::new(Cable::new(board(&model, 3_000_000)));
    let cable = port.cable();
    let mut bytes = [0; 8];
    port.send(b"R", Duration::ZERO).unwrap();
    assert_eq!(port.receive(&mut bytes, Duration::from_secs(1)).unwrap(), 1);
    let begin = port.now();
    assert_eq!(cable.lock().unwrap().board().leds() & 2, 2);
    assert_eq!(port.receive(&mut bytes, Duration::from_secs(1)).unwrap(), 1);
    assert_eq!(bytes[0], b'D');
    // 5000 cycles of the program and the ten bits, in cycles of 41.7 nanoseconds.
    let took = (port.now() - begin).as_nanos() / 41;
    assert!((4900..5200).contains(&took), "{took}");
    // Waiting for what never comes takes the host as long as it says, and the board next to nothing.
    let (begin, cycles) = (port.now(), cable.lock().unwrap().board().cycles());
    assert_eq!(port.receive(&mut bytes, Duration::from_secs(100)).unwrap(), 0);
    let took = port.now() - begin;
    assert!(took > Duration::from_millis(99_999) && took <= Duration::from_millis(100_001), "{took:?}");
    assert!(cable.lock().unwrap().board().cycles() - cycles < 100_000);
}

#[test]
fn a_bad_cable_does_what_it_counts_and_a_seed_repeats_it() {
    let Some(model) = echo(8) else { return };
    let run = |seed| {
        let faults = CableFaults { per_million: 100_000, seed };
        let mut port = BoardPort::new(Cable::with_faults(board(&model, 3_000_000), faults));
        let (mut all, mut bytes) = (Vec::new(), [0; 64]);
        for _ in 0..40 {
            port.send(b"0123456789012345678901234", Duration::ZERO).unwrap();
            loop {
                let count = port.receive(&mut bytes, Duration::from_secs(1)).unwrap();
                if count == 0 {
                    break;
                }
                all.extend_from_slice(&bytes[..count]);
            }
        }
        let cable = port.cable();
        let cable = cable.lock().unwrap();
        (all, cable.to_board(), cable.to_host(), cable.board().bytes_sent())
    };
    let (all, to_board, to_host, crossed) = run(1);
    assert_eq!(to_board.bytes, 1000);
    assert_eq!(crossed, 1000 - to_board.lost + to_board.doubled);
    assert_eq!(to_host.bytes, crossed);
    assert_eq!(all.len() as u64, to_host.bytes - to_host.lost + to_host.doubled);
    for counts in [to_board, to_host] {
        for count in [counts.lost, counts.changed, counts.doubled, counts.late] {
            assert!((10..60).contains(&count), "{counts:?}");
        }
    }
    assert_eq!(run(1), (all, to_board, to_host, crossed));
    assert_ne!(run(2).1, to_board);
}

#[test]
fn a_board_that_stops_itself_stops_the_simulation_with_a_sentence() {
    let Some(model) = echo(8) else { return };
    let mut board = board(&model, 3_000_000);
    board.send(b"S");
    let error = board.run(LONG).unwrap_err();
    assert!(error.to_string().starts_with("the board stopped itself in cycle "), "{error}");
    assert_eq!(error.class(), ErrorClass::Fault);
    assert_eq!(board.run(1).unwrap_err(), error);
}

/// Answers a row with its number and one, and will not have row 0x99.
struct Rows(Arc<Mutex<Vec<ChipPins>>>);

impl Chip for Rows {
    fn edge(&mut self, pins: &ChipPins) -> Result<u32, String> {
        if pins.cs_n || !pins.cke {
            return Ok(0);
        }
        self.0.lock().unwrap().push(*pins);
        if pins.a == 0x99 { Err("row 0x99 is no good".to_owned()) } else { Ok(pins.a + 1) }
    }
}

#[test]
fn a_chip_sees_its_pins_and_what_it_refuses_stops_the_board() {
    let Some(model) = model(CHIP) else { return };
    let seen = Arc::default();
    let options = BoardOptions::new(CLOCK, 3_000_000);
    let mut board =
        BoardSim::new(Arc::clone(&model), options.clone(), Some(Box::new(Rows(Arc::clone(&seen))))).unwrap();
    assert_eq!(answer(&mut board, &[7], 1), [8]);
    let expected = ChipPins { cke: true, cas_n: true, we_n: true, ba: 2, a: 7, dqm: 3, ..ChipPins::default() };
    assert_eq!(*seen.lock().unwrap(), [expected]);
    board.send(&[0x99]);
    assert_eq!(board.run(LONG).unwrap_err().to_string(), "row 0x99 is no good");
    let error = BoardSim::new(model, options.clone(), None).unwrap_err();
    assert_eq!(error, BoardSimError::Chip { board: true });
    let Some(model) = echo(8) else { return };
    let error = BoardSim::new(model, options, Some(Box::new(Rows(seen)))).unwrap_err();
    assert_eq!(error.to_string(), "the board has no pins for the memory chip that was given");
}

#[test]
fn what_cannot_be_simulated_is_refused() {
    let Some(model) = echo(8) else { return };
    let error = BoardSim::new(Arc::clone(&model), BoardOptions::new(CLOCK, 7_000_000), None).unwrap_err();
    assert_eq!(error, BoardSimError::Baud { clock_hz: CLOCK, baud: 7_000_000 });
    let options = BoardOptions { waves: Some("waves.fst".into()), ..BoardOptions::new(CLOCK, 3_000_000) };
    assert_eq!(BoardSim::new(model, options, None).unwrap_err(), TsimError::NoWaves.into());
    let tools = tool::verilator().unwrap();
    let cache = tool::cache().join("models");
    let text = ECHO.replace("module board", "module plank");
    let error = BoardModel::build(&text, "", &tools, &cache, Variant::default(), &mut |_| {}).unwrap_err();
    assert!(error.to_string().contains("board"), "{error}");
}
