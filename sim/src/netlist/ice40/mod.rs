//! From the bits of an iCE40 back to a netlist.
//!
//! ```text
//! .bin --iceunpack--> .asc --Bits--.
//!      chip database of nextpnr --Chip--+--> Netlist over hw/cells/ice40.v
//!              names of the pins --pcf--'
//! ```
//!
//! Nothing that place-and-route knew is used but the database of the chip: which wires are joined, what a look-up table holds and
//! how a block is set is read from the configuration alone.

mod asc;
mod chipdb;
mod rebuild;

use super::{Netlist, NetlistError};

pub use asc::Bits;
pub use chipdb::Chip;

/// Rebuilds the netlist from an unpacked bitstream.
///
/// `chipdb` is the file of nextpnr's chip database, `package` the name of the package, and `pcf` the pins' names.
///
/// # Errors
/// [`NetlistError::Form`], and [`NetlistError::Cell`] for what is set up in a way that there is no model of.
pub fn netlist_of_bits(
    asc: &str,
    chipdb: &[u8],
    package: &str,
    pcf: &str,
    name: &str,
) -> Result<Netlist, NetlistError> {
    rebuild::rebuild(&Bits::parse(asc)?, &Chip::parse(chipdb)?, package, pcf, name)
}
