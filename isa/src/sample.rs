//! Random legal configurations for property tests of every crate.

use crate::{HwConfig, HwFacts, Profile};

impl HwConfig {
    /// The machine without queues that is most like this one: with as many input lanes, and as many elements in each buffer.
    ///
    /// # Panics
    /// Where the buffers of such a machine do not fit its encodings; those of the presets and of [`HwConfig::sample`] do.
    pub fn without_queues(&self) -> HwConfig {
        let block = self.block_in() as u32;
        let facts = HwFacts {
            batch: 1,
            block_out: block,
            inp_buffer_bytes: block << self.log_inp_depth(),
            wgt_buffer_bytes: (block * block) << self.log_wgt_depth(),
            acc_buffer_bytes: (4 * block) << self.log_acc_depth(),
            bus_bits: 64,
            insn_queue_depth: 0,
            alu_lanes: Some(1),
            lane_taps: 1,
            packed_weights: false,
            float_requant: false,
            ..self.facts().clone()
        };
        HwConfig::new(facts).unwrap_or_else(|error| panic!("{error}"))
    }

    /// A legal configuration of profile `tandem` drawn by a seed; the same seed gives the same configuration.
    ///
    /// Batch, both block sizes and the bus are uniform over what the machine accepts; buffer depths are uniform over their
    /// logarithms, and draws that do not fit the encodings are repeated.
    pub fn sample(seed: u64) -> HwConfig {
        let mut state = seed;
        loop {
            let mut pick = |choices: &[u32]| {
                let index = (next(&mut state) >> 33) as usize % choices.len();
                choices[index]
            };
            let batch = pick(&[1, 2, 4]);
            let block_in = pick(&[4, 8, 16, 32]);
            let block_out = pick(&[4, 8, 16, 32]);
            let facts = HwFacts {
                name: None,
                profile: Profile::Tandem,
                batch,
                block_in,
                block_out,
                inp_bits: 8,
                wgt_bits: 8,
                acc_bits: 32,
                out_bits: 8,
                uop_bits: 32,
                uop_buffer_bytes: 4 << pick(&[8, 9, 10, 11, 12, 13]),
                inp_buffer_bytes: (batch * block_in) << pick(&[6, 7, 8, 9, 10, 11, 12]),
                wgt_buffer_bytes: (block_out * block_in) << pick(&[6, 7, 8, 9, 10, 11]),
                acc_buffer_bytes: (batch * block_out * 4) << pick(&[7, 8, 9, 10, 11]),
                bus_bits: pick(&[64, 128, 256, 512]),
                dram_bits: 32,
                insn_queue_depth: 512,
                alu_lanes: None,
                lane_taps: if block_in == block_out { pick(&[1, 4]) } else { 1 },
                packed_weights: pick(&[0, 1]) == 1,
                float_requant: true,
                counters: true,
            };
            if let Ok(config) = HwConfig::new(facts) {
                return config;
            }
        }
    }
}

/// SplitMix64.
fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_reproducible_and_reach_every_block_size() {
        assert_eq!(HwConfig::sample(7), HwConfig::sample(7));
        let mut shapes = std::collections::BTreeSet::new();
        for seed in 0..2000 {
            let c = HwConfig::sample(seed);
            shapes.insert((c.batch(), c.block_in(), c.block_out()));
        }
        assert_eq!(shapes.len(), 3 * 4 * 4);
    }
}
