//! Rows through the decompressor of invariant bit packing.

use std::sync::Arc;

use tandem_hw::stream::{CONFIG_WORDS, IbpUnpack};

use super::bench::{Bench, Output, Source, beat};
use super::{Drive, StreamFault, StreamModel, StreamReport};

/// A row as it is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IbpRow {
    /// Participation bits and packed bits, or the words themselves.
    pub beats: Vec<u64>,
    /// Whether it is the words themselves.
    pub raw: bool,
}

impl IbpRow {
    /// For each word, the number of the beat that completes it.
    fn needs(&self, columns: &[(u64, u64)], word_bits: u32) -> Vec<usize> {
        if self.raw {
            return (0..columns.len()).collect();
        }
        let (bits, first) = (word_bits as usize, columns.len().div_ceil(word_bits as usize));
        let all = u64::MAX >> (64 - word_bits);
        let mut at = 0;
        let need = |(number, (mask, _)): (usize, &(u64, u64))| {
            let word = self.beats.get(number / bits).copied().unwrap_or_default();
            let packed = word >> (number % bits) & 1 == 1;
            at += if packed { (!mask & all).count_ones() as usize } else { bits };
            first + at.div_ceil(bits) - 1
        };
        columns.iter().enumerate().map(need).collect()
    }
}

/// Configures the block, sends rows through it one after another, and compares every word with those of `expected`.
///
/// A cycle in which no word leaves is held where the sink takes nothing, or where the next word needs a beat that was not offered
/// [`IbpUnpack::latency`] cycles before. Others are the block's.
///
/// # Errors
/// [`StreamFault`].
pub fn run_ibp(
    model: &Arc<StreamModel>,
    block: &IbpUnpack,
    columns: &[(u64, u64)],
    rows: &[IbpRow],
    expected: &[Vec<u64>],
    drive: &Drive,
) -> Result<StreamReport, StreamFault> {
    if columns.is_empty() || columns.len() > block.columns() as usize {
        let (found, most) = (columns.len(), block.columns());
        return Err(StreamFault::Refused(format!("{found} columns: the block takes between 1 and {most}")));
    }
    // Beats with the end of their row and whether it is raw, and the beat that each word needs.
    let (mut beats, mut needs) = (Vec::new(), Vec::new());
    for row in rows {
        needs.extend(row.needs(columns, block.word_bits()).into_iter().map(|beat| beats.len() + beat));
        let last = row.beats.len().saturating_sub(1);
        beats.extend(row.beats.iter().enumerate().map(|(at, &word)| (word, at == last, row.raw)));
    }
    let ends = |row: &Vec<u64>| row.len().saturating_sub(1);
    let words = expected.iter().flat_map(|row| row.iter().enumerate().map(move |(at, word)| (*word, at == ends(row))));
    let words: Vec<(u64, bool)> = words.collect();
    if words.len() != needs.len() {
        return Err(StreamFault::Refused(format!("{} words are expected of rows of {}", words.len(), needs.len())));
    }

    let mut bench = Bench::new(model, drive);
    configure(&mut bench, &block.configuration(columns), drive)?;
    bench.begin();
    let mut source = Source::new(&bench, "in", drive.source, drive.seed, 1, beats.len());
    let mut offered_at: Vec<u64> = Vec::with_capacity(beats.len());
    let mut report = StreamReport::default();
    while report.left < words.len() as u64 {
        let mut raw = None;
        let begins = source.offer(&mut bench, |at| {
            let (word, last, is_raw) = beats[at];
            raw = Some(is_raw);
            (beat(word), last)
        });
        if begins {
            bench.set("in_raw", raw.unwrap_or_default().into());
            offered_at.push(bench.now);
        }
        let output = bench.settle()?;
        report.entered += u64::from(source.moves(&mut bench));
        let next = report.left as usize;
        match output {
            Output::Word(word, last) => report.compare(words[next], (word, last)),
            Output::Nothing => {
                let offered = offered_at.get(needs[next]);
                let given = offered.is_some_and(|at| at + block.latency() <= bench.now);
                report.held += u64::from(!given);
            }
            Output::Held => report.held += 1,
        }
        bench.tick()?;
    }
    report.words = report.left;
    report.cycles = bench.now;
    report.shape = bench.shape;
    bench.finish(2 * block.latency())?;
    Ok(report)
}

/// Writes the block's memories.
fn configure(bench: &mut Bench, words: &[u64], drive: &Drive) -> Result<(), StreamFault> {
    debug_assert!(words.len().is_multiple_of(CONFIG_WORDS));
    let mut source = Source::new(bench, "config", drive.source, drive.seed, 2, words.len());
    while !source.is_done() {
        source.offer(bench, |at| (beat(words[at]), at + 1 == words.len()));
        if let Output::Word(..) = bench.settle()? {
            return Err(StreamFault::Surplus(bench.now));
        }
        source.moves(bench);
        bench.tick()?;
    }
    bench.set("config_valid", 0);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::pack;

    #[test]
    fn a_word_needs_the_beat_with_its_last_bit() {
        let columns = [(0xffff_0000, 0), (0xffff_ffff, 9), (0, 0), (0xffff_ff00, 0), (0xffff_0000, 0)];
        let row = pack(&[1, 9, 2, 3, 4], &columns, 32);
        assert_eq!((row.raw, row.beats.len()), (false, 4));
        // 16, 0, 32, 8 and 16 bits behind one word of participation bits.
        assert_eq!(row.needs(&columns, 32), [1, 1, 2, 2, 3]);
        let row = pack(&[u64::from(u32::MAX); 5], &columns, 32);
        assert_eq!((row.raw, row.needs(&columns, 32)), (true, vec![0, 1, 2, 3, 4]));
        // A row of nothing but participation bits.
        let nothing = [(0xffff_ffff, 5); 3];
        assert_eq!(pack(&[5; 3], &nothing, 32).needs(&nothing, 32), [0, 0, 0]);
    }
}
