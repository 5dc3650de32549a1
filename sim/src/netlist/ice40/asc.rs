//! The text form of an iCE40 bitstream, as `iceunpack` writes it.

use std::collections::HashMap;

use super::super::NetlistError;

/// The bits of a configuration, tile by tile.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bits {
    /// The chip, such as `5k`.
    pub device: String,
    /// The rows of each tile.
    pub tiles: HashMap<(u8, u8), Vec<Vec<bool>>>,
    /// The contents of each block RAM: sixteen words of 256 bits, each the highest bit first.
    pub ram: HashMap<(u8, u8), Vec<String>>,
    /// Bits outside of all tiles: bank and place.
    pub extra: Vec<[u32; 3]>,
}

impl Bits {
    /// Reads the text.
    ///
    /// # Errors
    /// [`NetlistError::Form`].
    pub fn parse(text: &str) -> Result<Bits, NetlistError> {
        let mut bits = Bits::default();
        let mut place = None;
        for (number, line) in text.lines().enumerate() {
            let wrong =
                |what: &str| NetlistError::Form(format!("line {} of the unpacked bitstream: {what}", number + 1));
            let mut words = line.split_whitespace();
            let Some(first) = words.next() else { continue };
            if let Some(section) = first.strip_prefix('.') {
                let numbers: Vec<u32> = words.clone().filter_map(|word| word.parse().ok()).collect();
                let tile = || match numbers[..] {
                    [x, y] => Ok((
                        u8::try_from(x).map_err(|_| wrong("no tile"))?,
                        u8::try_from(y).map_err(|_| wrong("no tile"))?,
                    )),
                    _ => Err(wrong("a tile has two numbers")),
                };
                place = match section {
                    "device" => {
                        bits.device = words.next().unwrap_or_default().to_owned();
                        None
                    }
                    "ram_data" => Some((true, tile()?)),
                    "extra_bit" => {
                        bits.extra.push(numbers[..].try_into().map_err(|_| wrong("an extra bit has three numbers"))?);
                        None
                    }
                    "comment" | "sym" | "warmboot" => None,
                    _ if section.ends_with("_tile") => Some((false, tile()?)),
                    _ => return Err(wrong("a section of no known kind")),
                };
                continue;
            }
            match place {
                None => {}
                Some((true, at)) => {
                    let digits = first.chars().map(|c| c.to_digit(16).map(|d| format!("{d:04b}")));
                    let word = digits
                        .collect::<Option<String>>()
                        .ok_or_else(|| wrong("a word of RAM in other than hex digits"))?;
                    bits.ram.entry(at).or_default().push(word);
                }
                Some((false, at)) => {
                    let row = first.bytes().map(|b| match b {
                        b'0' => Ok(false),
                        b'1' => Ok(true),
                        _ => Err(wrong("a row of other than 0 and 1")),
                    });
                    bits.tiles.entry(at).or_default().push(row.collect::<Result<_, _>>()?);
                }
            }
        }
        Ok(bits)
    }

    /// A bit of a tile.
    pub fn bit(&self, tile: (u8, u8), (row, column): (u8, u8)) -> bool {
        let row = self.tiles.get(&tile).and_then(|rows| rows.get(usize::from(row)));
        row.and_then(|row| row.get(usize::from(column))).copied().unwrap_or(false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiles_and_contents_are_read() {
        let text = ".comment x y\n\n.device 5k\n.io_tile 1 0\n010\n001\n\n.ram_data 6 1\n0a\n\n.extra_bit 0 330 143\n.sym 3 name\n";
        let bits = Bits::parse(text).unwrap();
        assert_eq!(bits.device, "5k");
        assert_eq!([(0, 1), (1, 2), (0, 0), (5, 5)].map(|at| bits.bit((1, 0), at)), [true, true, false, false]);
        assert_eq!(bits.ram[&(6, 1)], ["00001010"]);
        assert_eq!(bits.extra, [[0, 330, 143]]);
        for (text, part) in
            [(".io_tile 1", "line 1 of"), (".io_tile 1 0\n2", "other than 0 and 1"), (".what 1 2", "no known kind")]
        {
            assert!(Bits::parse(text).unwrap_err().to_string().contains(part));
        }
    }
}
