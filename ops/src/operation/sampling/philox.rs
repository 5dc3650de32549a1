//! Philox4x32-10: random words that are a function of a key and a counter.
//!
//! # Source
//! J. K. Salmon, M. A. Moraes, R. O. Dror, D. E. Shaw: Parallel random numbers: as easy as 1, 2, 3. SC 2011.

/// What the words of a counter are multiplied by.
const MULTIPLIERS: [u32; 2] = [0xd251_1f53, 0xcd9e_8d57];

/// What is added to the key from one round to the next.
const WEYL: [u32; 2] = [0x9e37_79b9, 0xbb67_ae85];

const ROUNDS: usize = 10;

/// The four words of a counter under a key, lowest word first in all three.
pub const fn philox(mut counter: [u32; 4], mut key: [u32; 2]) -> [u32; 4] {
    let mut round = 0;
    while round < ROUNDS {
        let first = MULTIPLIERS[0] as u64 * counter[0] as u64;
        let second = MULTIPLIERS[1] as u64 * counter[2] as u64;
        counter = [
            (second >> 32) as u32 ^ counter[1] ^ key[0],
            second as u32,
            (first >> 32) as u32 ^ counter[3] ^ key[1],
            first as u32,
        ];
        key = [key[0].wrapping_add(WEYL[0]), key[1].wrapping_add(WEYL[1])];
        round += 1;
    }
    counter
}

/// Where draws come from: a seed, and by row a stream and a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stream {
    /// The key.
    pub seed: u64,
    /// The lower half of the counter: what keeps sequences apart.
    pub stream: u64,
    /// The third word of the counter: what keeps the tokens of a sequence apart.
    pub step: u32,
}

impl Stream {
    /// The four words of a purpose, the last word of the counter: 0 for a token that is drawn, 1 + i for position i of a draft.
    pub const fn words(self, purpose: u32) -> [u32; 4] {
        let counter = [self.stream as u32, (self.stream >> 32) as u32, self.step, purpose];
        philox(counter, [self.seed as u32, (self.seed >> 32) as u32])
    }

    /// The 64 bits of a draw: the last two of those words, lowest first.
    pub const fn bits(self, purpose: u32) -> u64 {
        let words = self.words(purpose);
        words[2] as u64 | (words[3] as u64) << 32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_published_answers_are_given() {
        let known = [
            ([0; 4], [0; 2], [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]),
            ([u32::MAX; 4], [u32::MAX; 2], [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]),
            (
                [0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344],
                [0xa409_3822, 0x299f_31d0],
                [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1],
            ),
        ];
        for (counter, key, words) in known {
            assert_eq!(philox(counter, key), words);
        }
    }

    #[test]
    fn a_stream_is_a_counter() {
        let stream = Stream { seed: 0x299f_31d0_a409_3822, stream: 0x85a3_08d3_243f_6a88, step: 0x1319_8a2e };
        assert_eq!(stream.words(0x0370_7344), [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1]);
        assert_eq!(stream.bits(0x0370_7344), 0x2412_6ea1_5001_e420);
    }
}
