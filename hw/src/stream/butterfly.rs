//! A butterfly network that deposits bits: the first bits of a word go, in order, to the free places of another.
//!
//! ```text
//!  word --> swap over T/2 --> swap over T/4 --> ... --> swap over 1 --> deposited
//!                ^                 ^                         ^
//!             controls: T/2 bits a stage, a bit for each pair of places
//! ```
//!
//! "First" is most significant. The free places are those outside a mask. What lands on the other places has no meaning. The
//! controls depend on the mask alone, so that a mask that is known beforehand needs no logic to find them.
//!
//! Why it works: let a node of `2 d` places hold a sequence whose element e lies at place (e + r) mod 2 d, counted from the top,
//! and let its upper half have k free places. The pair of places i and i + d holds two elements that are d apart. Of each pair,
//! the element below k, and of the others the one from d on, goes to the upper half. Then element e of the first k lies at place
//! (e + r) mod d of the upper half, and element k + e at place (e + k + r) mod d of the lower one: both halves are such nodes
//! again, with rotations r and r + k.

use tandem_rtl::{Module, Net};

/// Bits of controls in a stage for words of `bits` bits.
pub fn stage_bits(bits: u32) -> u32 {
    bits / 2
}

/// The controls of each stage, first the one over half of the word, for the mask of a word of `bits` bits. The pair of the bits
/// b and b + d of the stage over d has the bit `b / (2 d) * d + b % d`.
///
/// # Panics
/// If `bits` is no power of two up to 64.
pub fn controls(mask: u64, bits: u32) -> Vec<u64> {
    assert!(bits.is_power_of_two() && bits <= 64, "a network over {bits} bits");
    let mut stages = vec![0; bits.trailing_zeros() as usize];
    node(mask, 0, bits, 0, &mut stages);
    stages
}

/// Sets the controls of the node of `size` bits from bit `lo`, whose sequence is rotated by `rotation`, and of those below it.
fn node(mask: u64, lo: u32, size: u32, rotation: u32, stages: &mut [u64]) {
    let Some((stage, below)) = stages.split_first_mut() else { return };
    let half = size / 2;
    let upper_places = ((1 << half) - 1) << (lo + half);
    let free = (!mask & upper_places).count_ones();
    for place in 0..half {
        let (held, pair) = ((place + size - rotation) % size, (place + half - rotation % half) % half);
        let wanted = if pair < free { pair } else { pair + half };
        let bit = lo + half - 1 - place;
        *stage |= u64::from(held != wanted) << (bit / size * half + bit % half);
    }
    node(mask, lo + half, half, rotation % half, below);
    node(mask, lo, half, (rotation + free) % half, below);
}

/// One stage over the distance that its place in the network gives: `word` where `enable` is off.
pub(super) fn stage<'m>(m: &'m Module, number: u32, word: Net<'m>, controls: Net<'m>, enable: Net<'m>) -> Net<'m> {
    let (bits, distance) = (word.width(), word.width() >> (number + 1));
    let idle = m.lit(0, distance);
    let groups = (0..bits / (2 * distance)).flat_map(|group| [controls.bits(group * distance, distance), idle]);
    let lower: Vec<Net<'m>> = groups.collect();
    let swaps = m.cat(&lower) & enable.repeat(bits);
    let down = m.cat(&[word.bits(distance, bits - distance), idle]);
    let differ = ((down ^ word) & swaps).named(&format!("stage_{number}_differs"));
    let up = m.cat(&[idle, differ.bits(0, bits - distance)]);
    (word ^ differ ^ up).named(&format!("stage_{number}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the network makes of a word.
    fn through(word: u64, mask: u64, bits: u32) -> u64 {
        let swap = |word: u64, (number, controls): (usize, u64)| {
            let distance = bits >> (number + 1);
            (0..bits).filter(|bit| bit & distance == 0).fold(word, |word, bit| {
                let control = controls >> (bit / (2 * distance) * distance + bit % distance) & 1;
                let differ = (word >> (bit + distance) ^ word >> bit) & control;
                word ^ differ << bit ^ differ << (bit + distance)
            })
        };
        controls(mask, bits).into_iter().enumerate().fold(word, swap)
    }

    /// The same, bit by bit, with zeros on the places of the mask.
    fn deposited(word: u64, mask: u64, bits: u32) -> u64 {
        let free = (0..bits).rev().filter(|bit| mask >> bit & 1 == 0);
        free.zip((0..bits).rev()).fold(0, |out, (to, from)| out | (word >> from & 1) << to)
    }

    fn next(state: &mut u64) -> u64 {
        *state ^= *state << 13;
        *state ^= *state >> 7;
        *state ^= *state << 17;
        *state
    }

    #[test]
    fn every_mask_of_eight_bits_gets_every_word_deposited() {
        for mask in 0..256 {
            for word in 0..256 {
                assert_eq!(through(word, mask, 8) & !mask, deposited(word, mask, 8), "{word:08b} outside {mask:08b}");
            }
        }
    }

    #[test]
    fn words_of_32_and_64_bits_are_deposited_outside_masks_of_every_density() {
        let mut state = 0x1234_5678_9abc_def1;
        for bits in [32, 64] {
            let all = u64::MAX >> (64 - bits);
            for round in 0..20_000 {
                let (one, other, word) = (next(&mut state), next(&mut state), next(&mut state) & all);
                let mask = [0, u64::MAX, one, one & other, one | other, one << (round % 64)][round % 6] & all;
                assert_eq!(through(word, mask, bits) & !mask, deposited(word, mask, bits), "{word:x} outside {mask:x}");
            }
        }
    }

    #[test]
    fn an_empty_mask_changes_nothing() {
        assert!(controls(0, 32).iter().chain(&controls(0, 64)).all(|&stage| stage == 0));
        assert_eq!(through(0x0123_4567_89ab_cdef, 0, 64), 0x0123_4567_89ab_cdef);
    }

    #[test]
    fn a_stage_has_a_bit_a_pair() {
        for bits in [32, 64] {
            let stages = controls(0x5555_5555_5555_5555, bits);
            assert_eq!(stages.len() as u32, bits.trailing_zeros());
            assert!(stages.iter().all(|&stage| stage >> (stage_bits(bits) - 1) >> 1 == 0));
        }
    }
}
