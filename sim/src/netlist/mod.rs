//! Netlists: what synthesis and place-and-route made of the hardware, read back and simulated in the hardware's place.
//!
//! ```text
//! Verilog --yosys--> JSON --Netlist--> Verilog over the family's cells --Model--> TsimBus
//!                      '--nextpnr--> JSON of what was placed --Netlist--'
//! ```
//!
//! The JSON is the very file that place-and-route reads, or that it writes, so that nothing stands between what is proven and
//! what goes on.
//!
//! | what | where |
//! |---|---|
//! | families, their commands and their cells | `family.rs` |
//! | running yosys and its companions | `wheels.rs`, `synthesis.rs` |
//! | netlists as values | `json.rs` |
//! | netlists as Verilog | `verilog.rs` |
//! | what nextpnr-ecp5 leaves unsaid after routing | `routed.rs` |
//! | the core on a chip of its own; the chip of a board | `chip.rs`, `board.rs` |
//! | place and route, round trips through bits | `route.rs` |
//! | iCE40: from the bits back to a netlist | `ice40/` |
//! | faults to find | `plant.rs` |

mod board;
mod chip;
mod error;
mod family;
pub mod ice40;
mod json;
mod plant;
mod route;
mod routed;
mod synthesis;
mod verilog;
mod wheels;

pub use board::board_of;
pub use chip::{CHIP, chip_shim, chip_verilog};
pub use error::NetlistError;
pub use family::Family;
pub use json::{Bit, Cell, Direction, Netlist, Parameter, Pin, Port};
pub use plant::{Fault, Plant};
pub use route::{
    ECP5_LARGEST, ECP5_SMALLEST, Found, RoutedEcp5, bits_ice40, rebuild_ice40, round_trip_ecp5, route_ecp5,
    structure_gowin, unpack_ice40,
};
pub use routed::{complete, routed_verilog};
pub use synthesis::{synthesise, synthesise_with};
pub use wheels::Wheels;
