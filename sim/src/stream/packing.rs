//! Rows of invariant bit packing as the block takes them: a packer that goes bit by bit, and samples for it.

use tandem_hw::stream::IbpUnpack;

use super::IbpRow;
use crate::random::Random;

/// Columns, and rows to pack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IbpSample {
    /// Mask and value of each column.
    pub columns: Vec<(u64, u64)>,
    /// The words of each row.
    pub rows: Vec<Vec<u64>>,
}

/// A row as it is sent: packed where that is shorter.
pub fn pack(words: &[u64], columns: &[(u64, u64)], word_bits: u32) -> IbpRow {
    let participates: Vec<bool> =
        words.iter().zip(columns).map(|(word, (mask, bitval))| word & mask == *bitval).collect();
    let first = participates.chunks(word_bits as usize);
    let mut beats: Vec<u64> =
        first.map(|bits| bits.iter().enumerate().fold(0, |word, (at, &bit)| word | u64::from(bit) << at)).collect();
    let sent = |((word, (mask, _)), packed): ((&u64, &(u64, u64)), &bool)| {
        let places: Vec<u32> = (0..word_bits).rev().filter(|bit| !packed || mask >> bit & 1 == 0).collect();
        let word = *word;
        places.into_iter().map(move |bit| word >> bit & 1)
    };
    let bits: Vec<u64> = words.iter().zip(columns).zip(&participates).flat_map(sent).collect();
    beats.extend(bits.chunks(word_bits as usize).map(|chunk| {
        let word = chunk.iter().fold(0, |word, bit| word << 1 | bit);
        word << (word_bits as usize - chunk.len())
    }));
    if beats.len() < words.len() { IbpRow { beats, raw: false } } else { IbpRow { beats: words.to_vec(), raw: true } }
}

impl IbpSample {
    /// Columns with masks of every kind, and rows of at least so many words in all. Three words in four participate; one row in
    /// eight has nothing in common with the masks, so that it stays raw.
    pub fn random(block: &IbpUnpack, columns: u32, words: u64, seed: u64) -> IbpSample {
        let mut random = Random::stream(seed, 0x6962_7000);
        let all = u64::MAX >> (64 - block.word_bits());
        let mask = |random: &mut Random| {
            let (one, other) = (random.next(), random.next());
            all & match random.below(8) {
                0 => 0,
                1 => u64::MAX,
                2 => one & other,
                3 | 4 => one | other,
                // An upper part, such as sign and exponent of a float.
                5 | 6 => u64::MAX << random.below(block.word_bits()),
                _ => one,
            }
        };
        let column = |random: &mut Random| {
            let mask = mask(random);
            (mask, random.next() & mask)
        };
        let columns: Vec<(u64, u64)> = (0..columns).map(|_| column(&mut random)).collect();
        let rows = words.div_ceil(columns.len().max(1) as u64).max(1);
        let row = |random: &mut Random| -> Vec<u64> {
            let alien = random.once_in(8);
            let word = |&(mask, bitval): &(u64, u64)| {
                let word = random.next() & all;
                if alien || random.once_in(4) { word } else { word & !mask | bitval }
            };
            columns.iter().map(word).collect()
        };
        let rows = (0..rows).map(|_| row(&mut random)).collect();
        IbpSample { columns, rows }
    }

    /// The rows as they are sent.
    pub fn packed(&self, word_bits: u32) -> Vec<IbpRow> {
        self.rows.iter().map(|row| pack(row, &self.columns, word_bits)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_packed_as_the_format_says() {
        let ones = u64::from(u32::MAX);
        let columns = [(0xffff_ff00, 0x1200), (ones, 7), (0, 0), (0xffff_fff0, 0x50), (ones, 1)];
        let row = pack(&[0x12ab, 7, 0xdead_beef, 0x5a, 1], &columns, 32);
        assert_eq!(row, IbpRow { beats: vec![0b11111, 0xabde_adbe, 0xefa0_0000], raw: false });
        // The fourth one does not participate.
        let row = pack(&[0x12ab, 7, 0xdead_beef, 0x66, 1], &columns, 32);
        assert_eq!(row, IbpRow { beats: vec![0b10111, 0xabde_adbe, 0xef00_0000, 0x6600_0000], raw: false });
        let row = pack(&[7, 7, 7, 7, 7], &columns, 32);
        assert_eq!(row, IbpRow { beats: vec![7; 5], raw: true });
    }

    #[test]
    fn samples_have_packed_and_raw_rows_and_columns_of_all_and_of_no_bits() {
        let block = IbpUnpack::new(32, 64).unwrap();
        let sample = IbpSample::random(&block, 64, 6400, 1);
        let rows = sample.packed(32);
        assert_eq!(rows.len(), 100);
        let raw = rows.iter().filter(|row| row.raw).count();
        assert!((5..30).contains(&raw), "{raw} raw rows");
        let masks: Vec<u64> = sample.columns.iter().map(|(mask, _)| *mask).collect();
        assert!(masks.contains(&0) && masks.contains(&0xffff_ffff));
        assert!(sample.columns.iter().all(|(mask, bitval)| bitval & !mask == 0));
    }
}
