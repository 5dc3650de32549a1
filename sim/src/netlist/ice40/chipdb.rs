//! The chip database of nextpnr-ice40: what lies where on a chip, which bits of the configuration switch what.
//!
//! The file is a picture of nextpnr's memory: little-endian words, references relative to where they stand. Only what is needed to
//! read a bitstream is taken from it. Types and pins are numbers whose order is nextpnr's list of names.

use std::collections::HashMap;

use super::super::NetlistError;

/// A chip.
#[derive(Clone, Debug)]
pub struct Chip {
    /// Tiles in a row.
    pub width: usize,
    /// Blocks that compute or store something.
    pub blocks: Vec<Block>,
    /// Switches between wires.
    pub pips: Vec<Pip>,
    /// What switches are set by.
    pub switches: Vec<Switch>,
    /// The kind of each tile, row by row.
    pub grid: Vec<u32>,
    /// For each kind of tile, the names of groups of its bits.
    pub groups: Vec<HashMap<String, Vec<(u8, u8)>>>,
    /// Parameters of blocks that lie in several tiles: block, parameter, tile, name of the bit.
    pub parameters: Vec<(usize, String, (u8, u8), String)>,
    /// Where pads have their input enables: pad, tile of the enable, number there.
    pub input_enables: Vec<(Place, Place)>,
    /// Packages, and the block of each of their pins.
    pub packages: HashMap<String, HashMap<String, usize>>,
}

/// A tile, and a number within it.
pub type Place = (u8, u8, u8);

/// A block.
#[derive(Clone, Debug)]
pub struct Block {
    /// What it is, as nextpnr calls it.
    pub kind: &'static str,
    /// Tile and number within it.
    pub at: Place,
    /// Its pins and the wires they are on.
    pub pins: Vec<(String, u32)>,
}

/// A switch between two wires.
#[derive(Clone, Copy, Debug)]
pub struct Pip {
    /// From.
    pub from: u32,
    /// To.
    pub to: u32,
    /// The bits that close it, the first one highest.
    pub mask: u16,
    /// Which switch.
    pub switch: u32,
    /// The number of the physical input, where this stands for an input of a look-up table that nextpnr permutes.
    pub input: Option<u8>,
}

/// What sets some pips.
#[derive(Clone, Debug)]
pub struct Switch {
    /// Whether a look-up table takes its place.
    pub is_lut: bool,
    /// The tile.
    pub at: (u8, u8),
    /// Row and column of its bits.
    pub bits: Vec<(u8, u8)>,
}

/// Bytes and where one reads.
struct Picture<'a>(&'a [u8]);

const BLOCK: usize = 20;
const BLOCK_PIN: usize = 12;
const PIP: usize = 32;
const SWITCH: usize = 20;
const TILE: usize = 12;
const GROUP: usize = 12;

/// The first number of a list of names in nextpnr, and the names.
const KINDS: (u32, &[&str]) = (
    404,
    &[
        "ICESTORM_LC",
        "ICESTORM_RAM",
        "SB_IO",
        "SB_GB",
        "ICESTORM_PLL",
        "SB_WARMBOOT",
        "ICESTORM_DSP",
        "ICESTORM_HFOSC",
        "ICESTORM_LFOSC",
        "SMCCLK",
        "SB_I2C",
        "SB_SPI",
        "IO_I3C",
        "SB_LEDDA_IP",
        "SB_RGBA_DRV",
        "ICESTORM_SPRAM",
    ],
);

impl Chip {
    /// Reads a database.
    ///
    /// # Errors
    /// [`NetlistError::Form`] where the file has another form than that of nextpnr 0.11.
    pub fn parse(bytes: &[u8]) -> Result<Chip, NetlistError> {
        read(&Picture(bytes)).ok_or_else(|| {
            NetlistError::Form(
                "the chip database is not of the form that nextpnr-ice40 0.11 has; run `cargo x setup`".into(),
            )
        })
    }

    /// The kind of a tile.
    pub fn tile(&self, (x, y): (u8, u8)) -> Option<u32> {
        self.grid.get(usize::from(y) * self.width + usize::from(x)).copied()
    }

    /// Row and column of a group of bits of a tile.
    pub fn group(&self, at: (u8, u8), name: &str) -> Option<&[(u8, u8)]> {
        self.groups.get(self.tile(at)? as usize)?.get(name).map(Vec::as_slice)
    }
}

fn read(file: &Picture<'_>) -> Option<Chip> {
    let info = file.reference(0)?;
    let width = file.word(info)?.try_into().ok()?;
    let list = |field: usize| file.list(info + field);
    let (blocks, block_count) = list(12)?;
    let (pips, pip_count) = list(28)?;
    let (grid, grid_count) = list(36)?;
    let bits = file.reference(info + 44)?;
    let (configs, config_count) = list(48)?;
    let (packages, package_count) = list(56)?;
    let (names, name_count) = list(80)?;
    let (tiles, tile_count) = file.list(bits)?;
    let (switches, switch_count) = file.list(bits + 8)?;
    let (enables, enable_count) = file.list(bits + 16)?;
    // Numbers of wires within a tile that are the physical inputs of look-up tables.
    let mut inputs = HashMap::new();
    for at in 0..name_count {
        let name = file.text(names + 4 * at)?;
        let number =
            name.strip_prefix("TILE_WIRE_LUTFF_").and_then(|rest| rest.split_once("_IN_")).map(|(_, number)| number);
        if let Some(number) = number.and_then(|number| number.parse::<u8>().ok()) {
            inputs.insert(at as u16, number);
        }
    }
    let mut chip = Chip {
        width,
        blocks: Vec::with_capacity(block_count),
        pips: Vec::with_capacity(pip_count),
        switches: Vec::with_capacity(switch_count),
        grid: (0..grid_count).map(|at| file.word(grid + 4 * at)).collect::<Option<_>>()?,
        groups: Vec::new(),
        parameters: Vec::new(),
        input_enables: Vec::new(),
        packages: HashMap::new(),
    };
    for at in 0..block_count {
        let at = blocks + BLOCK * at;
        let number = file.word(at + 4)?.checked_sub(KINDS.0)?;
        let kind = KINDS.1.get(number as usize)?;
        let (pins, count) = file.list(at + 8)?;
        let pin = |at: usize| Some((pin_name(file.word(at)?)?, file.word(at + 8)?));
        let pins = (0..count).map(|n| pin(pins + BLOCK_PIN * n)).collect::<Option<_>>()?;
        chip.blocks.push(Block { kind, at: (file.byte(at + 16)?, file.byte(at + 17)?, file.byte(at + 18)?), pins });
    }
    for at in 0..switch_count {
        let at = switches + SWITCH * at;
        let bits = (0..file.word(at)?.min(5) as usize).map(|n| file.pair(at + 10 + 2 * n)).collect::<Option<_>>()?;
        let is_lut = file.word(at + 4)? as i32 >= 0;
        chip.switches.push(Switch { is_lut, at: file.pair(at + 8)?, bits });
    }
    for at in 0..pip_count {
        let at = pips + PIP * at;
        let (switch, segment) = (file.word(at + 24)?, file.half(at + 18)?);
        let is_lut = chip.switches.get(switch as usize)?.is_lut;
        let input = inputs.get(&segment).copied().filter(|_| is_lut);
        let (from, to) = (file.word(at)?, file.word(at + 4)?);
        chip.pips.push(Pip { from, to, mask: file.half(at + 22)?, switch, input });
    }
    for at in 0..tile_count {
        let (groups, count) = file.list(tiles + TILE * at + 4)?;
        let group = |at: usize| {
            let (bits, count) = file.list(at + 4)?;
            Some((file.text(at)?, (0..count).map(|n| file.pair(bits + 2 * n)).collect::<Option<_>>()?))
        };
        chip.groups.push((0..count).map(|n| group(groups + GROUP * n)).collect::<Option<_>>()?);
    }
    for at in 0..config_count {
        let at = configs + 12 * at;
        let (block, (entries, count)) = (file.word(at)? as usize, file.list(at + 4)?);
        for n in 0..count {
            let entry = entries + 12 * n;
            chip.parameters.push((block, file.text(entry)?, file.pair(entry + 8)?, file.text(entry + 4)?));
        }
    }
    for at in 0..enable_count {
        let at = enables + 6 * at;
        let three = |at: usize| Some((file.byte(at)?, file.byte(at + 1)?, file.byte(at + 2)?));
        chip.input_enables.push((three(at)?, three(at + 3)?));
    }
    for at in 0..package_count {
        let at = packages + 12 * at;
        let (pins, count) = file.list(at + 4)?;
        let pin = |at: usize| Some((file.text(at)?, file.word(at + 4)? as usize));
        chip.packages.insert(file.text(at)?, (0..count).map(|n| pin(pins + 8 * n)).collect::<Option<_>>()?);
    }
    Some(chip)
}

impl Picture<'_> {
    fn byte(&self, at: usize) -> Option<u8> {
        self.0.get(at).copied()
    }

    fn pair(&self, at: usize) -> Option<(u8, u8)> {
        Some((self.byte(at)?, self.byte(at + 1)?))
    }

    fn half(&self, at: usize) -> Option<u16> {
        Some(u16::from_le_bytes(self.0.get(at..at + 2)?.try_into().ok()?))
    }

    fn word(&self, at: usize) -> Option<u32> {
        Some(u32::from_le_bytes(self.0.get(at..at + 4)?.try_into().ok()?))
    }

    fn reference(&self, at: usize) -> Option<usize> {
        at.checked_add_signed(self.word(at)? as i32 as isize)
    }

    /// Where a list begins, and how many entries it has. None of a file has more entries than the file has bytes.
    fn list(&self, at: usize) -> Option<(usize, usize)> {
        match self.word(at + 4)? as usize {
            // There is nothing that it could refer to.
            0 => Some((0, 0)),
            count => (count <= self.0.len()).then_some((self.reference(at)?, count)),
        }
    }

    fn text(&self, at: usize) -> Option<String> {
        let rest = self.0.get(self.reference(at)?..)?;
        let end = rest.iter().take(256).position(|&byte| byte == 0)?;
        Some(String::from_utf8_lossy(&rest[..end]).into_owned())
    }
}

/// The name of a pin of a block by its number. Pins of blocks that there is no model of have a number for a name.
fn pin_name(number: u32) -> Option<String> {
    let mut first = 1;
    for name in PINS {
        let (base, range) = match name.split_once(':') {
            Some((base, count)) => (base, Some(count.parse::<u32>().ok()?)),
            None => (*name, None),
        };
        let count = range.unwrap_or(1);
        if number < first + count {
            return Some(match range {
                Some(count) if base.ends_with('*') => {
                    format!("{}{}", base.trim_end_matches('*'), alphabetical(count).get((number - first) as usize)?)
                }
                Some(_) => format!("{base}{}", number - first),
                None => base.to_owned(),
            });
        }
        first += count;
    }
    Some(number.to_string())
}

/// The numbers below `count` in the order of their digits as text.
fn alphabetical(count: u32) -> Vec<u32> {
    let mut numbers: Vec<u32> = (0..count).collect();
    numbers.sort_by_key(u32::to_string);
    numbers
}

/// The pins in the order of nextpnr. `NAME:16` stands for sixteen of them; with an asterisk they are sorted as text.
const PINS: &[&str] = &[
    "I0",
    "I1",
    "I2",
    "I3",
    "O",
    "LO",
    "CIN",
    "COUT",
    "CEN",
    "CLK",
    "SR",
    "MASK_:16",
    "RDATA_:16",
    "WDATA_:16",
    "WADDR_:11",
    "RADDR_:11",
    "WCLK",
    "WCLKE",
    "WE",
    "RCLK",
    "RCLKE",
    "RE",
    "PACKAGE_PIN",
    "LATCH_INPUT_VALUE",
    "CLOCK_ENABLE",
    "INPUT_CLK",
    "OUTPUT_CLK",
    "OUTPUT_ENABLE",
    "D_OUT_0",
    "D_OUT_1",
    "D_IN_0",
    "D_IN_1",
    "USER_SIGNAL_TO_GLOBAL_BUFFER",
    "GLOBAL_BUFFER_OUTPUT",
    "REFERENCECLK",
    "EXTFEEDBACK",
    "DYNAMICDELAY_:8",
    "LOCK",
    "PLLOUT_A",
    "PLLOUT_B",
    "PLLOUT_A_GLOBAL",
    "PLLOUT_B_GLOBAL",
    "BYPASS",
    "RESETB",
    "LATCHINPUTVALUE",
    "SDO",
    "SDI",
    "SCLK",
    "BOOT",
    "S0",
    "S1",
    "ADDSUBBOT",
    "ADDSUBTOP",
    "AHOLD",
    "A_*:16",
    "BHOLD",
    "B_*:16",
    "CE",
    "CHOLD",
    "CI",
    "CO",
    "C_*:16",
    "DHOLD",
    "D_*:16",
    "IRSTBOT",
    "IRSTTOP",
    "OHOLDBOT",
    "OHOLDTOP",
    "OLOADBOT",
    "OLOADTOP",
    "ORSTBOT",
    "ORSTTOP",
    "O_*:32",
    "SIGNEXTIN",
    "SIGNEXTOUT",
    "ACCUMCI",
    "ACCUMCO",
    "CLKHF",
    "CLKHFEN",
    "CLKHFPU",
    "CLKHF_FABRIC",
    "TRIM:10",
    "CLKLF",
    "CLKLFEN",
    "CLKLFPU",
    "CLKLF_FABRIC",
    // Of the blocks for I2C, SPI and LEDs, which there are no models of.
    "?:89",
    "ADDRESS_*:14",
    "CHIPSELECT",
    "CLOCK",
    "DATAIN_*:16",
    "DATAOUT_*:16",
    "MASKWREN_:4",
    "POWEROFF",
    "SLEEP",
    "STANDBY",
    "WREN",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pins_are_numbered_as_in_nextpnr() {
        let known = [
            (1, "I0"),
            (11, "SR"),
            (12, "MASK_0"),
            (27, "MASK_15"),
            (96, "D_IN_0"),
            (99, "GLOBAL_BUFFER_OUTPUT"),
            (108, "DYNAMICDELAY_6"),
        ];
        for (number, name) in known {
            assert_eq!(pin_name(number).as_deref(), Some(name));
        }
        assert_eq!(alphabetical(12), [0, 1, 10, 11, 2, 3, 4, 5, 6, 7, 8, 9]);
        assert_eq!(pin_name(348).as_deref(), Some("ADDRESS_0"));
        assert_eq!(pin_name(403).as_deref(), Some("WREN"));
    }

    #[test]
    fn what_is_no_database_is_refused() {
        for bytes in [&[][..], &[0; 64], &[0xff; 4096]] {
            let error = Chip::parse(bytes).unwrap_err().to_string();
            assert!(error.contains("chip database"), "{error}");
        }
    }
}
