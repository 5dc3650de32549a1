//! The Verilog of a board: the one place where a board and a configuration become a design.

use tandem_hw::shell::{self, Pins, SdramClock, Shell, ShellError, Vendor, board_verilog, wrapper_verilog};
use tandem_hw::{Multipliers, Target};
use tandem_isa::HwConfig;

use crate::board::{Host, Memory};
use crate::{Board, BoardError, Flow};

/// The whole design as one text; its top module is [`crate::TOP`], with the ports of [`Board::ports`].
///
/// # Errors
/// Where there is no design for this board and configuration.
pub fn design(board: &Board, config: &HwConfig) -> Result<String, BoardError> {
    let inside = inside(board, config)?;
    Ok(inside + "\n" + &wrapper(board)?)
}

/// What is around the module `board`: the top module [`crate::TOP`] with PLL, reset and pads.
pub(crate) fn wrapper(board: &Board) -> Result<String, BoardError> {
    let vendor = match board.flow {
        Flow::Ecp5 => Vendor::Ecp5,
        Flow::Ice40 => Vendor::Ice40,
        Flow::Gowin => Vendor::Gowin,
        Flow::Vivado => Vendor::Plain,
    };
    let late = board.sdram_clock.filter(SdramClock::is_late);
    let pll = board.pll.as_ref().map(|pll| {
        let late = late.map(|clock| pll.late_parameters(clock.phase_degrees)).unwrap_or_default();
        let parameters = pll.parameters().into_iter().chain(late);
        shell::Pll { parameters: parameters.map(|(name, value)| (name.to_owned(), value)).collect() }
    });
    let pins = Pins {
        clock: board.oscillator.as_ref().map_or_else(|| "clock_in".to_owned(), |oscillator| oscillator.port.clone()),
        leds_active_low: board.leds_active_low,
        absent: board.absent_ports.clone(),
        sdram_clock: board.sdram_clock.unwrap_or(SdramClock::INVERTED),
    };
    wrapper_verilog(vendor, pll.as_ref(), &shell(board)?, &pins).map_err(refused(board))
}

/// What is the same for every vendor: the module `board` with the core and its shell, on one clock, without PLL and pads. It is
/// what `tandem board sim` runs.
///
/// # Errors
/// As [`design`].
pub fn inside(board: &Board, config: &HwConfig) -> Result<String, BoardError> {
    board_verilog(config, &target(board, config), &shell(board)?).map_err(refused(board))
}

/// What multipliers and small memories are made of on the part of a board.
pub fn target(board: &Board, config: &HwConfig) -> Target {
    let dsps = u32::try_from(board.budget.dsp).unwrap_or(u32::MAX);
    // A lane of the tensor ALU multiplies 32 bits by 32.
    let array = dsps.saturating_sub(4 * config.alu_lanes() as u32);
    match board.flow {
        Flow::Ecp5 => Target {
            multipliers: Multipliers::DspPair { dsps: array },
            ripple_sums: true,
            operand_registers: true,
            ..Target::default()
        },
        Flow::Ice40 => Target { multipliers: Multipliers::Mac16 { dsps }, lut_ram: false, ..Target::default() },
        Flow::Gowin => Target { ripple_sums: true, operand_registers: true, ..Target::default() },
        // With those of the tensor ALU no more multipliers than there are MACs.
        Flow::Vivado => {
            let macs = u32::try_from(Board::macs(config)).unwrap_or(u32::MAX);
            let array = macs.saturating_sub(4 * config.alu_lanes() as u32).min(array);
            Target { multipliers: Multipliers::DspPair { dsps: array }, ..Target::default() }
        }
    }
}

/// The core alone, for a board whose processor is on the same chip; its top module is [`tandem_hw::TOP`].
///
/// # Errors
/// Where there is no design for this board and configuration.
pub fn core(board: &Board, config: &HwConfig) -> Result<String, BoardError> {
    Ok(tandem_hw::verilog_for(config, &target(board, config)))
}

/// The shell of a board that a host reaches over a serial line.
///
/// # Errors
/// For a board whose processor is on the same chip, and for numbers beyond what a shell has.
pub fn shell(board: &Board) -> Result<Shell, BoardError> {
    let Host::Uart { baud, .. } = &board.host else {
        return Err(board.refused("its processor is on the same chip, and it has no shell"));
    };
    let small =
        |value: u64| u32::try_from(value).map_err(|_| board.refused(format!("{value} is more than a shell has")));
    let memory = match &board.memory {
        Memory::Spram => shell::Memory::Spram,
        Memory::BlockRam { bytes } => shell::Memory::BlockRam { bytes: small(*bytes)? },
        Memory::Sdram(sdram) => shell::Memory::Sdram(sdram.chip(!board.absent_ports.contains("sdram_dqm"))),
        Memory::ProcessorDdr { .. } => return Err(board.refused("its memory belongs to a processor")),
    };
    Ok(Shell { clock_hz: small(board.clock_hz)?, baud: *baud, leds: board.leds, memory })
}

fn refused(board: &Board) -> impl Fn(ShellError) -> BoardError + '_ {
    |error| board.refused(error.to_string())
}
