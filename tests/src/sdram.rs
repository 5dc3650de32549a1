//! Chips of SDRAM for tests.

use tandem_hw::shell::Sdram;

/// The chip of ULX3S boards, but for a shorter time from power to the first command.
pub const NARROW: Sdram = Sdram {
    data_bits: 16,
    row_bits: 13,
    column_bits: 9,
    bank_bits: 2,
    cas_latency: 2,
    masks: true,
    t_rcd: 20_000,
    t_rp: 20_000,
    t_ras: 45_000,
    t_rc: 67_500,
    t_rfc: 70_000,
    t_wr: 15_000,
    t_mrd: 40_000,
    t_refi: 7_812_500,
    t_init: 10_000_000,
};
