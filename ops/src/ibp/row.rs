//! One row, packed.

use super::{FreeBits, Word};

/// Words that tell which columns participate.
pub fn participation_words<T: Word>(columns: usize) -> usize {
    columns.div_ceil(T::BITS as usize)
}

/// Whether a column participates, by the words at the beginning of a packed row.
#[inline(always)]
pub(crate) fn participates<T: Word>(packed: &[T], column: usize) -> bool {
    let (word, bit) = (column / T::BITS as usize, column % T::BITS as usize);
    packed[word].wide() >> bit & 1 == 1
}

/// Words that a packed row takes, by the participation at its beginning; `None` where that is cut off.
pub fn packed_words<T: Word>(packed: &[T], mask: &[T]) -> Option<usize> {
    let participation = participation_words::<T>(mask.len());
    let head = packed.get(..participation)?;
    let kept = |(column, mask): (usize, &T)| match participates(head, column) {
        true => (!*mask).ones() as usize,
        false => T::BITS as usize,
    };
    let bits: usize = mask.iter().enumerate().map(kept).sum();
    Some(participation + bits.div_ceil(T::BITS as usize))
}

/// Packs a row to the end of a list; says whether it did, since a row that would not be shorter is left alone.
pub fn pack_row<T: Word>(row: &[T], (free, bitval): (&[FreeBits<T>], &[T]), to: &mut Vec<T>) -> bool {
    let begin = to.len();
    to.resize(begin + participation_words::<T>(row.len()), T::default());
    // Bits that wait for their word, the latest lowest; fewer than a word.
    let (mut waiting, mut count) = (0u128, 0);
    for (column, ((&word, free), &bitval)) in row.iter().zip(free).zip(bitval).enumerate() {
        let (bits, width) = if word ^ free.of(word) == bitval {
            let (place, bit) = (begin + column / T::BITS as usize, column % T::BITS as usize);
            to[place] = to[place] | T::low(1 << bit);
            (free.extract(word), free.count())
        } else {
            (word, T::BITS)
        };
        (waiting, count) = (waiting << width | u128::from(bits.wide()), count + width);
        if count >= T::BITS {
            count -= T::BITS;
            to.push(T::low((waiting >> count) as u64));
            waiting &= (1 << count) - 1;
        }
        if to.len() - begin >= row.len() {
            to.truncate(begin);
            return false;
        }
    }
    if count > 0 {
        to.push(T::low((waiting << (T::BITS - count)) as u64));
    }
    let shorter = to.len() - begin < row.len();
    if !shorter {
        to.truncate(begin);
    }
    shorter
}

/// Bits of a packed row, the first of which is the most significant of the first word.
pub struct Stream<'a, T> {
    words: &'a [T],
    at: usize,
}

impl<'a, T: Word> Stream<'a, T> {
    /// The stream behind the participation.
    pub fn new(words: &'a [T]) -> Stream<'a, T> {
        Stream { words, at: 0 }
    }

    /// The next `width` bits, at most a word's; zeros beyond the end.
    #[inline(always)]
    pub fn take(&mut self, width: u32) -> T {
        let (word, bit) = (self.at / T::BITS as usize, (self.at % T::BITS as usize) as u32);
        self.at += width as usize;
        let at = |word: usize| self.words.get(word).copied().unwrap_or_default();
        // Shifting by one beforehand keeps the second shift below a word's bits.
        let window = (at(word) << bit) | ((at(word + 1) >> 1) >> (T::BITS - 1 - bit));
        window.down(T::BITS - width)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::def::Random;
    use proptest::prelude::*;

    fn unpack<T: Word>(packed: &[T], (free, bitval): (&[FreeBits<T>], &[T])) -> Vec<T> {
        let mut stream = Stream::new(&packed[participation_words::<T>(bitval.len())..]);
        let word = |(column, (free, &bitval)): (usize, (&FreeBits<T>, &T))| match participates(packed, column) {
            true => free.deposit(stream.take(free.count())) | bitval,
            false => stream.take(T::BITS),
        };
        free.iter().zip(bitval).enumerate().map(word).collect()
    }

    fn law<T: Word>(columns: usize, often: u64, seed: u64) {
        let mut random = Random::new(seed);
        let mask: Vec<T> = (0..columns).map(|_| T::low(random.bits() | random.bits() | random.bits())).collect();
        let bitval: Vec<T> = mask.iter().map(|&mask| T::low(random.bits()) & mask).collect();
        let free: Vec<_> = mask.iter().map(|&mask| FreeBits::outside(mask)).collect();
        let word = |(&mask, &bitval): (&T, &T)| match random.bits() % 100 < often {
            true => T::low(random.bits()) & !mask | bitval,
            false => T::low(random.bits()),
        };
        let row: Vec<T> = mask.iter().zip(&bitval).map(word).collect();
        let mut packed = vec![T::low(7)];
        if !pack_row(&row, (&free, &bitval), &mut packed) {
            assert_eq!(packed, [T::low(7)]);
            return;
        }
        let packed = &packed[1..];
        assert!(packed.len() < columns);
        assert_eq!(packed_words(packed, &mask), Some(packed.len()));
        assert_eq!(unpack(packed, (&free, &bitval)), row);
    }

    proptest! {
        #[test]
        fn a_packed_row_is_shorter_and_unpacks_to_itself(columns in 0usize..300, often in 0u64..=100, seed: u64) {
            law::<u8>(columns, often, seed);
            law::<u16>(columns, often, seed);
            law::<u32>(columns, often, seed);
            law::<u64>(columns, often, seed);
        }
    }

    #[test]
    fn rows_are_packed_as_the_format_says() {
        // Column 0 keeps its low byte, column 1 everything, columns 2 and 3 nothing.
        let mask = [0xffff_ff00u32, 0, u32::MAX, u32::MAX];
        let bitval = [0x1234_5600, 0, 0xdead_beef, 7];
        let free = mask.map(FreeBits::outside);
        let mut packed = Vec::new();
        assert!(pack_row(&[0x1234_56ab, 0x89ab_cdef, 0xdead_beef, 7], (&free, &bitval), &mut packed));
        assert_eq!(packed, [0b1111, 0xab89_abcd, 0xef00_0000]);
        // As long as the row itself: left alone.
        assert!(!pack_row(&[0x1234_56ab, 0x89ab_cdef, 0xdead_beef, 8], (&free, &bitval), &mut packed));
        assert_eq!(packed.len(), 3);
        assert_eq!(packed_words(&packed, &mask), Some(3));
        assert_eq!(packed_words::<u32>(&[], &mask), None);
    }
}
