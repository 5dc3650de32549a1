//! The bits of a word that packing keeps, taken together and spread out again.

use super::Word;

/// Stages of the network for the widest word.
const STAGES: usize = 6;

/// The bits of a column outside its mask. They are moved by a network of `log2(bits)` stages, each of which moves the bits of its control
/// word by a power of two, so that neither time nor instructions depend on the mask.
///
/// # Source
/// The network is that of Guy Steele's compress, whose stages are run backwards to expand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FreeBits<T> {
    bits: T,
    stages: [T; STAGES],
}

impl<T: Word> FreeBits<T> {
    /// The bits outside a mask.
    pub fn outside(mask: T) -> FreeBits<T> {
        let bits = !mask;
        let mut stages = [T::default(); STAGES];
        // Of each bit that is left, whether the zeros below it, counted so far, are odd in the digit of the stage.
        let (mut left, mut zeros) = (bits, mask << 1);
        for (stage, moved) in stages.iter_mut().take(T::BITS.ilog2() as usize).enumerate() {
            let mut odd = zeros;
            for step in 0..T::BITS.ilog2() {
                odd = odd ^ (odd << (1 << step));
            }
            *moved = odd & left;
            left = (left ^ *moved) | (*moved >> (1 << stage));
            zeros = zeros & !odd;
        }
        FreeBits { bits, stages }
    }

    /// How many there are.
    pub fn count(&self) -> u32 {
        self.bits.ones()
    }

    /// A word with zeros in all other places.
    #[inline(always)]
    pub fn of(&self, word: T) -> T {
        word & self.bits
    }

    /// The control word of every stage: which bits [`FreeBits::extract`] moves to the right by 1, 2, 4 and so on.
    pub fn stages(&self) -> &[T] {
        &self.stages[..T::BITS.ilog2() as usize]
    }

    /// These bits of a word side by side, the lowest in bit 0.
    #[inline(always)]
    pub fn extract(&self, word: T) -> T {
        let mut x = self.of(word);
        for (stage, &moved) in self.stages().iter().enumerate() {
            let bits = x & moved;
            x = (x ^ bits) | (bits >> (1 << stage));
        }
        x
    }

    /// The word that has the lowest bits of `packed` in these places, and zeros elsewhere.
    #[inline(always)]
    pub fn deposit(&self, packed: T) -> T {
        let mut x = packed;
        for (stage, &moved) in self.stages().iter().enumerate().rev() {
            x = (x & !moved) | ((x << (1 << stage)) & moved);
        }
        self.of(x)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::def::Random;

    /// Bit by bit.
    fn spread<T: Word>(packed: T, mask: T) -> T {
        let (mut out, mut next) = (0u64, 0);
        for bit in (0..T::BITS).filter(|bit| mask.wide() >> bit & 1 == 0) {
            out |= (packed.wide() >> next & 1) << bit;
            next += 1;
        }
        T::low(out)
    }

    fn law<T: Word>(random: &mut Random) {
        let edges = [0, u64::MAX, 1, 1 << 63, 0x8000_0001, 0x5555_5555_5555_5555, 0xaaaa_aaaa_aaaa_aaaa];
        let masks: Vec<u64> = edges.into_iter().chain((0..300).map(|_| random.bits() & random.bits())).collect();
        for mask in masks {
            let (mask, word) = (T::low(mask), T::low(random.bits()));
            let free = FreeBits::outside(mask);
            assert_eq!(free.count(), (!mask).ones());
            assert_eq!(free.deposit(word), spread(word, mask), "{mask:?} {word:?}");
            let packed = free.extract(word);
            assert_eq!(free.deposit(packed), word & !mask, "{mask:?} {word:?}");
            assert_eq!(packed.down(free.count()), T::default(), "{mask:?} {word:?}: bits beyond");
        }
    }

    #[test]
    fn bits_are_moved_as_one_by_one_whatever_the_mask() {
        let mut random = Random::new(3);
        law::<u8>(&mut random);
        law::<u16>(&mut random);
        law::<u32>(&mut random);
        law::<u64>(&mut random);
    }
}
