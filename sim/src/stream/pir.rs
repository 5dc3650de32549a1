//! Scans for private information retrieval: the run, and what a plain scan gives.

use std::sync::Arc;

use tandem_hw::stream::PirXor;

use super::bench::{Bench, Output, Source, beat};
use super::{Drive, StreamFault, StreamModel, StreamReport};
use crate::random::Random;

/// A pass over a database.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PirScan {
    /// The words, bucket by bucket.
    pub database: Vec<u64>,
    /// For each bucket, which queries want it: bit q is query q.
    pub requests: Vec<u128>,
}

impl PirScan {
    /// A scan of at least so many words in whole buckets, all of them at random.
    pub fn random(block: &PirXor, words: u64, seed: u64) -> PirScan {
        let mut random = Random::stream(seed, 0x7069_7200);
        let buckets = words.div_ceil(block.words().into()).max(1);
        let all = u64::MAX >> (64 - block.word_bits());
        let request = |random: &mut Random| u128::from(random.next()) << 64 | u128::from(random.next());
        PirScan {
            requests: (0..buckets).map(|_| request(&mut random) & (u128::MAX >> (128 - block.queries()))).collect(),
            database: (0..buckets * u64::from(block.words())).map(|_| random.next() & all).collect(),
        }
    }

    /// Words of a bucket.
    fn words(&self) -> usize {
        self.database.len() / self.requests.len().max(1)
    }

    /// What each query gets, word by word.
    pub fn results(&self, queries: u32) -> Vec<u64> {
        let words = self.words().max(1);
        let mut results = vec![0; words * queries as usize];
        for (bucket, request) in self.database.chunks(words).zip(&self.requests) {
            let wanting = results.chunks_mut(words).enumerate().filter(|(query, _)| request >> query & 1 == 1);
            for (_, result) in wanting {
                result.iter_mut().zip(bucket).for_each(|(sum, word)| *sum ^= word);
            }
        }
        results
    }

    fn check(&self, block: &PirXor) -> Result<(), StreamFault> {
        let (buckets, words) = (self.requests.len(), self.words());
        if buckets == 0 || words == 0 || words * buckets != self.database.len() {
            return Err(StreamFault::Refused("a scan has buckets of one size, and at least one word".to_owned()));
        }
        if words > block.words() as usize {
            return Err(StreamFault::Refused(format!("buckets of {words} words: the block takes {}", block.words())));
        }
        Ok(())
    }
}

/// Runs scans one after another, without a reset between them, and compares every result.
///
/// A cycle in which neither a word enters nor one leaves is held where the sink takes nothing, or where a word or its request was
/// not offered in time, a request a cycle before its words. Others are the block's, the turn from words to results among them.
///
/// # Errors
/// [`StreamFault`].
pub fn run_pir(
    model: &Arc<StreamModel>,
    block: &PirXor,
    scans: &[PirScan],
    drive: &Drive,
) -> Result<StreamReport, StreamFault> {
    scans.iter().try_for_each(|scan| scan.check(block))?;
    let mut words: Vec<(u64, bool)> = Vec::new();
    let mut requests: Vec<(u128, bool)> = Vec::new();
    // The request that each word needs.
    let (mut needs, mut expected, mut ends) = (Vec::new(), Vec::new(), Vec::new());
    for scan in scans {
        for (number, (bucket, request)) in scan.database.chunks(scan.words()).zip(&scan.requests).enumerate() {
            needs.extend(bucket.iter().map(|_| requests.len()));
            words.extend(bucket.iter().enumerate().map(|(at, word)| (*word, at + 1 == bucket.len())));
            requests.push((*request, number + 1 == scan.requests.len()));
        }
        let results = scan.results(block.queries());
        let last = results.len() - 1;
        expected.extend(results.into_iter().enumerate().map(|(at, word)| (word, at == last)));
        ends.push((words.len(), expected.len()));
    }

    let mut bench = Bench::new(model, drive);
    bench.begin();
    let mut source = Source::new(&bench, "in", drive.source, drive.seed, 1, words.len());
    let mut asks = Source::new(&bench, "request", drive.source, drive.seed, 2, requests.len());
    let mut asked_at: Vec<u64> = Vec::with_capacity(requests.len());
    let (mut report, mut scan) = (StreamReport::default(), 0);
    while report.left < expected.len() as u64 {
        source.offer(&mut bench, |at| (beat(words[at].0), words[at].1));
        let asked = asks.offer(&mut bench, |at| {
            let (request, last) = requests[at];
            ([0, 32, 64, 96].map(|from| (request >> from) as u32), last)
        });
        if asked {
            asked_at.push(bench.now);
        }
        let output = bench.settle()?;
        // All words of the scan are in, so that only its results can be waited for.
        let draining = ends.get(scan).is_some_and(|(words, _)| source.taken == *words);
        let ready = |source: &Source| {
            let asked = needs.get(source.taken).and_then(|&request| asked_at.get(request));
            source.offering() && asked.is_some_and(|&at| at < bench.now)
        };
        let given = draining || ready(&source);
        let entered = source.moves(&mut bench);
        asks.moves(&mut bench);
        report.entered += u64::from(entered);
        match output {
            Output::Word(word, last) => report.compare(expected[report.left as usize], (word, last)),
            _ if entered => {}
            Output::Nothing if given => {}
            // The sink matters where there are results.
            Output::Held if given && !draining => {}
            Output::Nothing | Output::Held => report.held += 1,
        }
        scan += usize::from(ends.get(scan).is_some_and(|(_, results)| report.left == *results as u64));
        bench.tick()?;
    }
    report.words = report.entered;
    report.cycles = bench.now;
    report.shape = bench.shape;
    bench.finish(2 * PirXor::LATENCY)?;
    Ok(report)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_scan_is_what_its_definition_says() {
        let scan = PirScan { database: vec![1, 2, 4, 8, 16, 32], requests: vec![0b01, 0b11, 0b10] };
        assert_eq!(scan.results(2), [1 ^ 4, 2 ^ 8, 4 ^ 16, 8 ^ 32]);
        let block = PirXor::new(5, 32, 3).unwrap();
        let random = PirScan::random(&block, 100, 1);
        assert_eq!((random.requests.len(), random.database.len()), (34, 102));
        assert!(random.requests.iter().all(|request| request >> 5 == 0));
        assert!(random.check(&block).is_ok() && random.check(&PirXor::new(5, 32, 2).unwrap()).is_err());
        assert!(PirScan::default().check(&block).is_err());
    }
}
