//! Where the rows of a matrix lie in a file, and how wide they are best taken to be.

use super::{FreeBits, Training, Word, pack_row, train};

/// Bytes that candidates are tried on.
const TRIED: usize = 1 << 20;
/// Rows of these bytes are tried where a file does not say how wide they are.
const ROWS: [usize; 7] = [64, 128, 256, 512, 1024, 2048, 4096];

/// The rows of a matrix in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Bytes of a word: 1, 2, 4 or 8.
    pub word: usize,
    /// Bytes of a row, a multiple of the word's.
    pub row: usize,
    /// Where the first row begins.
    pub begin: usize,
    /// How many rows there are.
    pub rows: usize,
}

impl Layout {
    /// As many rows of so many bytes as there are behind `begin`.
    pub fn of(bytes: usize, begin: usize, row: usize, word: usize) -> Layout {
        Layout { word, row, begin, rows: bytes.saturating_sub(begin).checked_div(row).unwrap_or(0) }
    }

    /// The layout of all rows behind `begin` that packs a sample of the file best, among words of these bytes, or of 8 to 64 bits, and
    /// rows of these bytes, or of 64 to 4096 bytes; `None` where no word goes into a row.
    pub fn best(bytes: &[u8], begin: usize, row: Option<usize>, word: Option<usize>) -> Option<Layout> {
        let rows = row.map_or(ROWS.to_vec(), |row| vec![row]);
        let words = word.map_or(vec![8, 4, 2, 1], |word| vec![word]);
        let all = rows.iter().flat_map(|&row| words.iter().map(move |&word| (row, word)));
        let whole = all.filter(|(row, word)| *word > 0 && row.is_multiple_of(*word));
        let layouts: Vec<Layout> = whole.map(|(row, word)| Layout::of(bytes.len(), begin, row, word)).collect();
        match layouts.as_slice() {
            [only] => Some(*only),
            _ => layouts.into_iter().min_by_key(|layout| layout.estimate(bytes)),
        }
    }

    /// Where the last row ends.
    pub fn end(&self) -> usize {
        self.begin + self.rows * self.row
    }

    /// Bytes that an archive would have, about.
    fn estimate(&self, bytes: &[u8]) -> u64 {
        match self.word {
            1 => self.estimate_of::<u8>(bytes),
            2 => self.estimate_of::<u16>(bytes),
            4 => self.estimate_of::<u32>(bytes),
            _ => self.estimate_of::<u64>(bytes),
        }
    }

    fn estimate_of<T: Word>(&self, bytes: &[u8]) -> u64 {
        let (columns, all) = (self.row / self.word, &bytes[self.begin..self.end()]);
        // Pieces from all over the file, each of some rows.
        let most = TRIED.div_ceil(self.row.max(1)).min(self.rows);
        let step = self.rows.checked_div(most).unwrap_or(1).max(1);
        let rows = all.chunks_exact(self.row.max(1)).step_by(step);
        let sample: Vec<T> = rows.flat_map(T::list).collect();
        let masks = train(&sample, columns, Training { clusters: 1, seed: 0 }).masks;
        let free: Vec<FreeBits<T>> = masks.mask.iter().map(|&mask| FreeBits::outside(mask)).collect();
        let mut words = 0;
        let mut packed = Vec::with_capacity(columns);
        for row in sample.chunks_exact(columns.max(1)) {
            packed.clear();
            words += if pack_row(row, (&free, &masks.bitval), &mut packed) { packed.len() } else { columns };
        }
        let sampled = (sample.len() / columns.max(1)).max(1) as u64;
        let a_row = (words * self.word) as u64 + 2 * sampled;
        (2 * self.row) as u64 + (bytes.len() - all.len()) as u64 + a_row * self.rows as u64 / sampled
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::def::Random;

    #[test]
    fn the_width_of_rows_is_found_in_a_file_that_does_not_tell() {
        let mut random = Random::new(1);
        // Rows of 512 bytes, the first half of which is always the same.
        let row = |random: &mut Random| -> Vec<u8> {
            (0..512).map(|at| if at < 256 { at as u8 } else { random.bits() as u8 }).collect()
        };
        let mut file = vec![1, 2, 3];
        (0..2000).for_each(|_| file.extend(row(&mut random)));
        let layout = Layout::best(&file, 3, None, None).unwrap();
        // Several of these rows are a row as well.
        assert!(layout.row.is_multiple_of(512) && layout.end() == file.len(), "{layout:?}");
        assert_eq!(Layout::best(&file, 3, Some(12), Some(8)), None);
        assert_eq!(
            Layout::best(&file, 3, Some(12), Some(4)),
            Some(Layout { word: 4, row: 12, begin: 3, rows: 85_333 })
        );
        assert_eq!(Layout::best(&[], 0, None, None).unwrap().rows, 0);
    }
}
