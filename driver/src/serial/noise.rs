//! A line that loses, changes and doubles bytes, from a seed.

/// What happens to the bytes of a line.
#[derive(Clone, Debug)]
pub struct Noise {
    /// Faults in a million bytes.
    per_million: u32,
    state: u64,
}

impl Noise {
    /// A line on which so many of a million bytes are lost, changed or doubled, at random from a seed.
    pub fn new(seed: u64, per_million: u32) -> Noise {
        Noise { per_million, state: seed }
    }

    /// A line that changes nothing.
    pub fn none() -> Noise {
        Noise::new(0, 0)
    }

    /// What arrives in the place of a byte: nothing, another byte, or two of it; mostly the byte itself.
    pub fn pass(&mut self, byte: u8) -> impl Iterator<Item = u8> + use<> {
        let fault = self.per_million > 0 && self.below(1_000_000) < self.per_million;
        let arrived = match (fault, if fault { self.below(3) } else { 0 }) {
            (false, _) => [Some(byte), None],
            (true, 0) => [None, None],
            (true, 1) => [Some(byte ^ (1 << self.below(8))), None],
            (true, _) => [Some(byte), Some(byte)],
        };
        arrived.into_iter().flatten()
    }

    /// A number below a bound.
    pub fn below(&mut self, bound: u32) -> u32 {
        // SplitMix64: every seed is good, and neighbouring seeds have nothing in common.
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let high = (z ^ (z >> 31)) >> 32;
        ((high * u64::from(bound)) >> 32) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_bytes_are_lost_changed_or_doubled_and_a_seed_repeats_it() {
        let mut noise = Noise::new(3, 10_000);
        let (mut lost, mut doubled, mut changed) = (0, 0, 0);
        let mut all = Vec::new();
        for _ in 0..100_000 {
            let arrived: Vec<u8> = noise.pass(0x55).collect();
            match arrived[..] {
                [] => lost += 1,
                [byte] => changed += u32::from(byte != 0x55),
                _ => doubled += 1,
            }
            all.extend(arrived);
        }
        for count in [lost, doubled, changed] {
            assert!((230..440).contains(&count), "{lost} {doubled} {changed}");
        }
        let mut again = Noise::new(3, 10_000);
        assert_eq!(all, (0..100_000).flat_map(|_| again.pass(0x55)).collect::<Vec<u8>>());
        assert_eq!(Noise::none().pass(7).collect::<Vec<u8>>(), [7]);
    }
}
