//! Random numbers by a seed: SplitMix64.

/// A generator; the same seed gives the same numbers everywhere.
#[derive(Clone, Debug)]
pub struct Random(pub u64);

impl Random {
    /// A generator for one of many independent streams of a seed.
    pub fn stream(seed: u64, stream: u64) -> Random {
        let mut random = Random(seed ^ 0x5851_f42d_4c95_7f2d);
        let high = random.next();
        let mut random = Random(high.wrapping_add(stream.wrapping_mul(0xd605_1fd9_4d1b_5a2b)));
        let state = random.next();
        Random(state)
    }

    /// 64 random bits.
    #[expect(clippy::should_implement_trait, reason = "it never ends, so it is no iterator")]
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number of `0..end`; 0 where that is empty.
    pub fn below(&mut self, end: u32) -> u32 {
        (self.next() >> 32) as u32 % end.max(1)
    }

    /// A number of `first..=last`.
    pub fn between(&mut self, first: u32, last: u32) -> u32 {
        first + self.below(last.saturating_sub(first).saturating_add(1))
    }

    /// One time in two.
    pub fn flag(&mut self) -> bool {
        self.below(2) == 1
    }

    /// One time in `times`.
    pub fn once_in(&mut self, times: u32) -> bool {
        self.below(times) == 0
    }

    /// One of several; the default where there is none.
    pub fn pick<T: Copy + Default>(&mut self, choices: &[T]) -> T {
        choices.get(self.below(choices.len() as u32) as usize).copied().unwrap_or_default()
    }
}
