//! A packed matrix as a file that is checked before anything of it is believed.
//!
//! # Format, version 1
//! All numbers are little-endian.
//!
//! ```text
//! 0    8 bytes  89 49 42 50 0d 0a 1a 0a
//! 8    u16      version: 1
//! 10   u8       bytes of a word: 1, 2, 4 or 8
//! 11   u8       0
//! 12   u32      clusters: sets of masks; 0 where no row is packed
//! 16   u64      rows
//! 24   u64      words of a row
//! 32   u64      bytes before the rows
//! 40   u64      bytes behind the rows
//! 48   u32      rows of a block
//! 52   u32      CRC of the bytes so far
//! 56   tables   masks: clusters x columns words; their values: as many; cluster of each row as u16, where there is more than one;
//!               words of each row, as u16 where there are less than 65536, else as u32: as many as a row has, if it is not packed
//!      u32      CRC of the tables
//!      bytes    before the rows, behind the rows; u32 CRC of both
//!      blocks   the rows, one after the other; behind each block its u32 CRC
//! ```
//!
//! CRC is that of zip and Ethernet (CRC-32). The length of the file follows from header and tables and has to be that.

use super::{FreeBits, Layout, Masks, Trained, Training, Word, pack_row, packed_words, train};
use crate::OpError;
use crate::cpu::Level;
use crate::cpu::ibp::Unpacker;
use rayon::prelude::*;
use std::ops::Range;

const MAGIC: [u8; 8] = [0x89, b'I', b'B', b'P', b'\r', b'\n', 0x1a, b'\n'];
const VERSION: u16 = 1;
const HEADER: usize = 56;
/// Bytes of the rows of a block, about: what is checked and unpacked at a time.
const BLOCK: usize = 1 << 17;

/// Packs the rows of a file; what is before and behind them is kept as it is.
///
/// # Errors
/// Invalid: rows that are not in the file, or not of whole words.
pub fn pack(bytes: &[u8], layout: Layout, training: Training) -> Result<Vec<u8>, OpError> {
    let end = layout.rows.checked_mul(layout.row).and_then(|rows| rows.checked_add(layout.begin));
    if end.is_none_or(|end| end > bytes.len()) {
        return Err(OpError::invalid(format!("{layout:?} does not lie within {} bytes", bytes.len())));
    }
    if ![1, 2, 4, 8].contains(&layout.word) || !layout.row.is_multiple_of(layout.word) {
        let text = format!(
            "rows of {} bytes are not of whole words of {} bytes, which may have 1, 2, 4 or 8",
            layout.row, layout.word
        );
        return Err(OpError::Invalid(text));
    }
    if layout.row / layout.word > u32::MAX as usize {
        return Err(OpError::unsupported("a row has more than 2^32 - 1 words"));
    }
    Ok(match layout.word {
        1 => pack_words::<u8>(bytes, layout, training),
        2 => pack_words::<u16>(bytes, layout, training),
        4 => pack_words::<u32>(bytes, layout, training),
        _ => pack_words::<u64>(bytes, layout, training),
    })
}

fn pack_words<T: Word>(bytes: &[u8], layout: Layout, training: Training) -> Vec<u8> {
    let words = T::list(&bytes[layout.begin..layout.end()]);
    let columns = layout.row / T::BYTES;
    let Trained { mut masks, mut cluster } = train(&words, columns, training);
    let mut packed = packed_rows(&words, &masks, &cluster);
    let saved: usize = packed.iter().flatten().map(|row| columns - row.len()).sum();
    if saved <= masks.mask.len() + masks.bitval.len() {
        // The masks would take more than they save.
        (masks, cluster) = (Masks::default(), Vec::new());
        packed.fill(None);
    }
    let lengths: Vec<usize> = packed.iter().map(|row| row.as_ref().map_or(columns, Vec::len)).collect();
    let clusters = masks.clusters();
    let per_block = (BLOCK / layout.row.max(1)).max(1);
    let mut file = MAGIC.to_vec();
    file.extend(VERSION.to_le_bytes());
    file.extend([layout.word as u8, 0]);
    file.extend((clusters as u32).to_le_bytes());
    let (before, behind) = (&bytes[..layout.begin], &bytes[layout.end()..]);
    for number in [layout.rows, columns, before.len(), behind.len()] {
        file.extend((number as u64).to_le_bytes());
    }
    file.extend((per_block as u32).to_le_bytes());
    seal(&mut file, 0);
    masks.mask.iter().chain(&masks.bitval).for_each(|word| push(&mut file, *word));
    if clusters > 1 {
        cluster.iter().for_each(|cluster| file.extend(cluster.to_le_bytes()));
    }
    lengths.iter().for_each(|&length| file.extend(&(length as u32).to_le_bytes()[..length_bytes(columns)]));
    seal(&mut file, HEADER);
    let extra = file.len();
    file.extend(before);
    file.extend(behind);
    seal(&mut file, extra);
    for (block, rows) in packed.chunks(per_block).enumerate() {
        let begin = file.len();
        for (at, row) in rows.iter().enumerate() {
            let plain = (block * per_block + at) * columns;
            row.as_deref().unwrap_or(&words[plain..plain + columns]).iter().for_each(|word| push(&mut file, *word));
        }
        seal(&mut file, begin);
    }
    file
}

/// Every row, packed; `None` for one that would not be shorter.
fn packed_rows<T: Word>(words: &[T], masks: &Masks<T>, cluster: &[u16]) -> Vec<Option<Vec<T>>> {
    let columns = masks.columns;
    let free: Vec<FreeBits<T>> = masks.mask.par_iter().map(|&mask| FreeBits::outside(mask)).collect();
    let pack = |(row, &cluster): (&[T], &u16)| {
        let own = usize::from(cluster) * columns..(usize::from(cluster) + 1) * columns;
        let mut packed = Vec::new();
        pack_row(row, (&free[own.clone()], &masks.bitval[own]), &mut packed).then_some(packed)
    };
    words.par_chunks_exact(columns.max(1)).zip(cluster).map(pack).collect()
}

/// Bytes that the length of a row takes.
fn length_bytes(columns: usize) -> usize {
    if columns < 1 << 16 { 2 } else { 4 }
}

fn push<T: Word>(file: &mut Vec<u8>, word: T) {
    file.extend(&word.wide().to_le_bytes()[..T::BYTES]);
}

/// Appends the CRC of everything from `begin` on.
fn seal(file: &mut Vec<u8>, begin: usize) {
    let crc = crc32fast::hash(&file[begin..]);
    file.extend(crc.to_le_bytes());
}

/// An archive whose header and tables have been checked.
pub struct Archive<'a> {
    /// Where the rows lie in the file that was packed.
    pub layout: Layout,
    /// Sets of masks; 0 where no row is packed.
    pub clusters: usize,
    /// Rows that are packed.
    pub packed: usize,
    before: &'a [u8],
    behind: &'a [u8],
    masks: &'a [u8],
    cluster: &'a [u8],
    per_block: usize,
    /// Where each row begins in words, as if blocks had no CRC; one more than rows.
    places: Vec<u64>,
    blocks: &'a [u8],
}

/// The file, as far as it has been read.
struct Cursor<'a> {
    file: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    fn take(&mut self, bytes: usize, what: &str) -> Result<&'a [u8], OpError> {
        let rest = &self.file[self.at..];
        let Some(taken) = rest.get(..bytes) else {
            let text = format!(
                "it is cut off: {what} take {bytes} bytes from byte {} on, and {} are there",
                self.at,
                rest.len()
            );
            return Err(OpError::Invalid(text));
        };
        self.at += bytes;
        Ok(taken)
    }

    fn number<const N: usize>(&mut self, what: &str) -> Result<u64, OpError> {
        let mut wide = [0; 8];
        wide[..N].copy_from_slice(self.take(N, what)?);
        Ok(u64::from_le_bytes(wide))
    }

    /// A number of things that fit the memory of this machine.
    fn count<const N: usize>(&mut self, what: &str) -> Result<usize, OpError> {
        let number = self.number::<N>(what)?;
        usize::try_from(number)
            .map_err(|_| OpError::Invalid(format!("it has {number} {what}, more than can be addressed")))
    }

    /// Compares the CRC that follows with that of everything from `begin` on.
    fn sealed(&mut self, begin: usize, what: &str) -> Result<(), OpError> {
        let (found, at) = (crc32fast::hash(&self.file[begin..self.at]), self.at);
        if self.number::<4>("checksums")? != u64::from(found) {
            return Err(corrupt(what, begin..at));
        }
        Ok(())
    }
}

fn corrupt(what: &str, bytes: Range<usize>) -> OpError {
    OpError::Invalid(format!("its {what} are damaged: the checksum of bytes {} to {} differs", bytes.start, bytes.end))
}

impl<'a> Archive<'a> {
    /// Reads and checks header and tables.
    ///
    /// # Errors
    /// Invalid: no archive, another version, or one that is cut off or damaged.
    pub fn open(file: &'a [u8]) -> Result<Archive<'a>, OpError> {
        if !file.starts_with(&MAGIC) {
            let whole = file.len() >= MAGIC.len() || !MAGIC.starts_with(file);
            return Err(OpError::invalid(if whole {
                "it is no archive of tandem ibp"
            } else {
                "it is cut off within its first bytes"
            }));
        }
        let mut cursor = Cursor { file, at: MAGIC.len() };
        let version = cursor.number::<2>("versions")?;
        let word = cursor.count::<1>("bytes of a word")?;
        let reserved = cursor.number::<1>("flags")?;
        let clusters = cursor.count::<4>("clusters")?;
        let [rows, columns, before, behind] = [
            cursor.count::<8>("rows"),
            cursor.count::<8>("columns"),
            cursor.count::<8>("bytes"),
            cursor.count::<8>("bytes"),
        ];
        let (rows, columns, before, behind) = (rows?, columns?, before?, behind?);
        let per_block = cursor.count::<4>("rows of a block")?;
        cursor.sealed(0, "header")?;
        if version != u64::from(VERSION) {
            return Err(OpError::Unsupported(format!(
                "it is of version {version}; this program reads version {VERSION}"
            )));
        }
        let known = [1, 2, 4, 8].contains(&word) && reserved == 0 && per_block > 0 && clusters <= usize::from(u16::MAX);
        let row = columns.checked_mul(word).filter(|_| known && columns <= u32::MAX as usize);
        let plain =
            row.and_then(|row| row.checked_mul(rows)).and_then(|bytes| bytes.checked_add(before.checked_add(behind)?));
        let (Some(row), Some(_)) = (row, plain) else {
            return Err(OpError::invalid("its header names sizes that no archive has"));
        };
        let tables = cursor.at;
        let masks = cursor.take(clusters.saturating_mul(row).saturating_mul(2), "masks")?;
        let cluster = cursor.take(if clusters > 1 { rows.saturating_mul(2) } else { 0 }, "clusters of rows")?;
        let lengths = cursor.take(rows.saturating_mul(length_bytes(columns)), "lengths of rows")?;
        cursor.sealed(tables, "tables")?;
        let extra = cursor.at;
        let (before, behind) =
            (cursor.take(before, "bytes before the rows")?, cursor.take(behind, "bytes behind the rows")?);
        cursor.sealed(extra, "bytes around the rows")?;
        let least = columns.div_ceil(8 * word);
        let (mut places, mut packed) = (Vec::with_capacity(rows + 1), 0);
        places.push(0u64);
        for (at, length) in lengths.chunks_exact(length_bytes(columns)).enumerate() {
            let length = length.iter().rev().fold(0, |wide, &byte| wide << 8 | usize::from(byte));
            let own =
                if clusters > 1 { usize::from(u16::from_le_bytes([cluster[2 * at], cluster[2 * at + 1]])) } else { 0 };
            if length > columns || length < columns && (length < least || own >= clusters) {
                return Err(OpError::Invalid(format!(
                    "its row {at} has {length} words of masks {own}, which no archive has"
                )));
            }
            packed += usize::from(length < columns);
            places.push(places[at] + length as u64);
        }
        let blocks = &file[cursor.at..];
        let layout = Layout { word, row, begin: before.len(), rows };
        let archive = Archive { layout, clusters, packed, before, behind, masks, cluster, per_block, places, blocks };
        let expected = archive.block(archive.count()).start;
        match blocks.len() as u64 {
            length if length < expected => {
                Err(OpError::Invalid(format!("it is cut off: its rows take {expected} bytes, and {length} are there")))
            }
            length if length > expected => Err(OpError::Invalid(format!("{} bytes follow its end", length - expected))),
            _ => Ok(archive),
        }
    }

    /// Bytes of the file that was packed.
    pub fn bytes(&self) -> usize {
        self.before.len() + self.layout.rows * self.layout.row + self.behind.len()
    }

    /// Blocks of rows.
    fn count(&self) -> usize {
        self.layout.rows.div_ceil(self.per_block)
    }

    /// The bytes of a block, its CRC included; behind the last one, where it would begin.
    fn block(&self, block: usize) -> Range<u64> {
        let place = |block: usize| {
            let row = block.saturating_mul(self.per_block).min(self.layout.rows);
            self.places[row] * self.layout.word as u64 + 4 * block as u64
        };
        place(block)..place(block + 1)
    }

    /// The file that was packed.
    ///
    /// # Errors
    /// Invalid: a damaged block.
    pub fn unpack(&self) -> Result<Vec<u8>, OpError> {
        let mut bytes = self.before.to_vec();
        bytes.extend(self.rows(0..self.layout.rows)?);
        bytes.extend(self.behind);
        Ok(bytes)
    }

    /// Some of the rows. Only the blocks in which they lie are read.
    ///
    /// # Errors
    /// Invalid: rows that are not there; a damaged block.
    pub fn rows(&self, rows: Range<usize>) -> Result<Vec<u8>, OpError> {
        if rows.start > rows.end || rows.end > self.layout.rows {
            let text = format!("it has rows 0..{}, and {}..{} are asked for", self.layout.rows, rows.start, rows.end);
            return Err(OpError::Invalid(text));
        }
        match self.layout.word {
            1 => self.rows_of::<u8>(rows),
            2 => self.rows_of::<u16>(rows),
            4 => self.rows_of::<u32>(rows),
            _ => self.rows_of::<u64>(rows),
        }
    }

    fn rows_of<T: Word>(&self, rows: Range<usize>) -> Result<Vec<u8>, OpError> {
        let columns = self.layout.row / T::BYTES;
        let mut both = T::list(self.masks);
        let bitval = both.split_off(both.len() / 2);
        let masks = Masks { columns, mask: both, bitval };
        if masks.broken().is_some() {
            return Err(OpError::invalid("its masks and their values contradict each other"));
        }
        let unpacker = Unpacker::new(Level::best(), &masks);
        let mut bytes = vec![0u8; rows.len() * self.layout.row];
        if bytes.is_empty() {
            return Ok(bytes);
        }
        let first = rows.start / self.per_block * self.per_block;
        // The first block may begin before the first row.
        let (head, rest) = bytes.split_at_mut(((first + self.per_block).min(rows.end) - rows.start) * self.layout.row);
        let blocks = std::iter::once(head).chain(rest.chunks_mut(self.per_block * self.layout.row));
        let blocks: Vec<(usize, &mut [u8])> = blocks.enumerate().filter(|(_, bytes)| !bytes.is_empty()).collect();
        blocks.into_par_iter().try_for_each(|(at, bytes)| {
            let block = first / self.per_block + at;
            let from = if at == 0 { rows.start } else { block * self.per_block };
            self.unpack_block::<T>(block, from, &unpacker, bytes)
        })?;
        Ok(bytes)
    }

    /// The rows of a block from one on.
    fn unpack_block<T: Word>(
        &self,
        block: usize,
        from: usize,
        unpacker: &Unpacker<'_, T>,
        bytes: &mut [u8],
    ) -> Result<(), OpError> {
        let range = self.block(block);
        // The blocks have been measured against the file.
        let sealed = &self.blocks[range.start as usize..range.end as usize];
        let (data, crc) = sealed.split_at(sealed.len() - 4);
        if crc32fast::hash(data).to_le_bytes() != crc {
            let begin = block * self.per_block;
            return Err(OpError::Invalid(format!("its rows from {begin} on are damaged: their checksum differs")));
        }
        let words = T::list(data);
        let begin = self.places[block * self.per_block];
        let mut out = vec![T::default(); unpacker.columns()];
        for (row, bytes) in (from..).zip(bytes.chunks_exact_mut(self.layout.row)) {
            let packed = &words[(self.places[row] - begin) as usize..(self.places[row + 1] - begin) as usize];
            if packed.len() == out.len() {
                out.copy_from_slice(packed);
            } else {
                let cluster =
                    self.cluster.as_chunks::<2>().0.get(row).map_or(0, |own| usize::from(u16::from_le_bytes(*own)));
                if packed_words(packed, unpacker.masks(cluster)) != Some(packed.len()) {
                    return Err(OpError::Invalid(format!("its row {row} is not as long as its participation says")));
                }
                unpacker.row(cluster, packed, &mut out);
            }
            for (bytes, word) in bytes.chunks_exact_mut(T::BYTES).zip(&out) {
                bytes.copy_from_slice(&word.wide().to_le_bytes()[..T::BYTES]);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::def::Random;
    use proptest::prelude::*;

    fn file(bytes: usize, seed: u64) -> Vec<u8> {
        let mut random = Random::new(seed);
        let byte = |at: usize| if at % 4 == 3 { 0x3f } else { (random.bits() & random.bits()) as u8 };
        (0..bytes).map(byte).collect()
    }

    proptest! {
        #[test]
        fn what_is_packed_comes_back(
            bytes in 0usize..3000, begin in 0usize..40, words in 0usize..70, power in 0u32..4, clusters in 1usize..4, seed: u64
        ) {
            let (word, file) = (1usize << power, file(bytes, seed));
            let layout = Layout::of(bytes, begin.min(bytes), words * word, word);
            let packed = pack(&file, layout, Training { clusters, seed }).unwrap();
            let archive = Archive::open(&packed).unwrap();
            prop_assert_eq!(archive.layout, layout);
            prop_assert_eq!(archive.unpack().unwrap(), file.clone());
            let (a, b) = (layout.rows / 3, layout.rows - layout.rows / 4);
            let rows = archive.rows(a..b).unwrap();
            prop_assert_eq!(&rows[..], &file[layout.begin + a * layout.row..layout.begin + b * layout.row]);
        }

        #[test]
        fn no_damage_is_taken_for_data(at in 0usize..100_000, bit in 0u8..8, cut in 0usize..100_000) {
            let file = file(40_000, 7);
            let layout = Layout::of(file.len(), 24, 256, 4);
            let mut packed = pack(&file, layout, Training { clusters: 2, seed: 1 }).unwrap();
            let read = |bytes: &[u8]| Archive::open(bytes).and_then(|archive| archive.unpack());
            prop_assert!(read(&packed).is_ok());
            let cut = cut % packed.len();
            prop_assert!(read(&packed[..cut]).is_err());
            let at = at % packed.len();
            packed[at] ^= 1 << bit;
            prop_assert!(read(&packed).is_err());
            packed[at] ^= 1 << bit;
            packed.push(0);
            prop_assert!(read(&packed).is_err());
        }
    }

    #[test]
    fn every_byte_of_a_small_archive_is_guarded() {
        let file = file(2_000, 3);
        let packed = pack(&file, Layout::of(2_000, 3, 64, 4), Training { clusters: 1, seed: 1 }).unwrap();
        let archive = Archive::open(&packed).unwrap();
        assert!(archive.clusters == 1 && archive.packed > 20 && packed.len() < 2_000);
        for at in 0..packed.len() {
            let mut damaged = packed.clone();
            damaged[at] = !damaged[at];
            let result = Archive::open(&damaged).and_then(|archive| archive.unpack());
            assert!(result.is_err(), "byte {at}");
            assert!(Archive::open(&packed[..at]).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn rows_that_are_not_there_and_layouts_that_do_not_fit_are_refused() {
        let file = file(1_000, 3);
        let layout = Layout::of(1_000, 0, 64, 4);
        let training = Training { clusters: 1, seed: 1 };
        let packed = pack(&file, layout, training).unwrap();
        let archive = Archive::open(&packed).unwrap();
        assert!(archive.rows(3..16).unwrap_err().to_string().contains("0..15"));
        assert!(archive.rows(3..3).unwrap().is_empty());
        assert!(pack(&file, Layout { rows: 99, ..layout }, training).is_err());
        assert!(pack(&file, Layout { word: 3, ..layout }, training).is_err());
        assert!(pack(&file, Layout { row: 63, ..layout }, training).is_err());
    }

    #[test]
    fn random_bytes_are_kept_without_masks() {
        let mut random = Random::new(1);
        let file: Vec<u8> = (0..8192).map(|_| random.bits() as u8).collect();
        let packed = pack(&file, Layout::of(8192, 0, 256, 4), Training { clusters: 1, seed: 1 }).unwrap();
        let archive = Archive::open(&packed).unwrap();
        assert_eq!((archive.clusters, archive.packed), (0, 0));
        assert!(packed.len() < 8192 + 300 && archive.unpack().unwrap() == file);
    }
}
