//! Choosing masks, from the rows that are to be packed.

use super::{Masks, Word};
use crate::def::Random;
use rayon::prelude::*;

/// Bits of the rows that masks are chosen from, at most: larger matrices are sampled in equal steps.
const SAMPLE_BITS: usize = 1 << 31;
/// Rows of that sample, at most.
const SAMPLE_ROWS: usize = 1 << 14;
/// Rounds of assigning rows to clusters, at most.
const ROUNDS: usize = 10;

/// How masks are chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Training {
    /// Sets of masks, at least one; a row is packed with the one that makes it shortest.
    pub clusters: usize,
    /// Draws the rows that clusters begin with.
    pub seed: u64,
}

/// Masks, and which of them each row is packed with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trained<T> {
    /// The masks of every cluster.
    pub masks: Masks<T>,
    /// The cluster of every row.
    pub cluster: Vec<u16>,
}

/// Chooses masks for rows of `columns` words.
///
/// For each column, bits are taken into the mask one after the other, each time the one that most of the words still participating
/// agree on; of all masks on the way, the one is kept that saves most bits. With several clusters, masks and the rows that they
/// are for are chosen in turns, ten times at most. The same rows and seed give the same masks.
pub fn train<T: Word>(rows: &[T], columns: usize, training: Training) -> Trained<T> {
    let count = rows.len().checked_div(columns).unwrap_or(0);
    let most = (SAMPLE_BITS / (columns * T::BITS as usize).max(1)).clamp(1, SAMPLE_ROWS);
    let step = count.div_ceil(most).max(1);
    let sample: Vec<&[T]> = rows.chunks_exact(columns.max(1)).step_by(step).collect();
    let clusters = training.clusters.clamp(1, usize::from(u16::MAX)).min(sample.len().max(1));
    if clusters == 1 {
        return Trained { masks: masks_of(columns, &[sample]), cluster: vec![0; count] };
    }
    let mut random = Random::new(training.seed);
    let mut assigned = nearest(&sample, &begin(&sample, clusters, &mut random));
    let mut masks = Masks::default();
    for _ in 0..ROUNDS {
        let members =
            |cluster| sample.iter().zip(&assigned).filter(move |(_, to)| **to == cluster).map(|(row, _)| *row);
        let groups: Vec<Vec<&[T]>> = (0..clusters as u16).map(|cluster| members(cluster).collect()).collect();
        masks = masks_of(columns, &groups);
        let next = shortest(sample.iter().copied(), &masks);
        if next == assigned {
            break;
        }
        assigned = next;
    }
    let cluster = shortest(rows.chunks_exact(columns.max(1)), &masks);
    Trained { masks, cluster }
}

/// The rows that clusters begin with: each is as far from the others, in bits, as any of a few that are drawn.
fn begin<'a, T: Word>(sample: &[&'a [T]], clusters: usize, random: &mut Random) -> Vec<&'a [T]> {
    const DRAWN: usize = 8;
    let mut seeds: Vec<&[T]> = vec![sample[random.within(0, sample.len())]];
    while seeds.len() < clusters {
        let drawn = (0..DRAWN).map(|_| sample[random.within(0, sample.len())]);
        let distance = |row: &&[T]| seeds.iter().map(|seed| differing(row, seed)).min();
        seeds.extend(drawn.max_by_key(distance));
    }
    seeds
}

fn differing<T: Word>(a: &[T], b: &[T]) -> u64 {
    a.iter().zip(b).map(|(&a, &b)| u64::from((a ^ b).ones())).sum()
}

/// The seed that differs least from each row, the first of several.
fn nearest<T: Word>(sample: &[&[T]], seeds: &[&[T]]) -> Vec<u16> {
    let of = |row: &&[T]| (0..seeds.len() as u16).min_by_key(|&seed| differing(row, seeds[usize::from(seed)]));
    sample.par_iter().map(|row| of(row).unwrap_or(0)).collect()
}

/// The cluster that packs each row into the fewest bits, the first of several.
fn shortest<'a, T: Word + 'a>(rows: impl Iterator<Item = &'a [T]>, masks: &Masks<T>) -> Vec<u16> {
    let saved = |row: &[T], cluster: u16| -> u64 {
        let (mask, bitval) = masks.of(usize::from(cluster));
        let columns = row.iter().zip(mask).zip(bitval);
        columns.map(|((&word, &mask), &bitval)| if word & mask == bitval { u64::from(mask.ones()) } else { 0 }).sum()
    };
    let clusters = masks.clusters() as u16;
    let rows: Vec<&[T]> = rows.collect();
    let best = |row: &&[T]| (0..clusters).rev().max_by_key(|&cluster| saved(row, cluster)).unwrap_or(0);
    rows.par_iter().map(best).collect()
}

/// The masks of every group of rows.
fn masks_of<T: Word>(columns: usize, groups: &[Vec<&[T]>]) -> Masks<T> {
    let places = groups.len() * columns;
    let column = |place: usize| column_mask(groups[place / columns].iter().map(|row| row[place % columns]));
    let (mask, bitval) = (0..places).into_par_iter().map(column).unzip();
    Masks { columns, mask, bitval }
}

/// The mask that saves most bits of these words, and what they are.
fn column_mask<T: Word>(words: impl ExactSizeIterator<Item = T>) -> (T, T) {
    let planes = Planes::new(words);
    let mut participating = planes.all();
    let mut left: Vec<u32> = (0..T::BITS).collect();
    let (mut mask, mut bitval) = (0u64, 0u64);
    let (mut best, mut saved) = ((0, 0), 0);
    while let Some((at, ones, count)) = planes.most_agreed(&left, &participating) {
        let bit = left.remove(at);
        planes.keep(&mut participating, bit, ones);
        mask |= 1 << bit;
        bitval |= u64::from(ones) << bit;
        let now = u64::from(mask.count_ones()) * count;
        if now > saved {
            (best, saved) = ((mask, bitval), now);
        }
        // However many more bits the rest would agree on, no more is to be saved.
        if u64::from(T::BITS) * count <= saved {
            break;
        }
    }
    (T::low(best.0), T::low(best.1))
}

/// The bits of words by their place: of each place, a list with a bit for each word.
struct Planes {
    words: usize,
    /// Places x lists of 64 words.
    bits: Vec<u64>,
    length: usize,
}

impl Planes {
    fn new<T: Word>(words: impl ExactSizeIterator<Item = T>) -> Planes {
        let (count, length) = (words.len(), words.len().div_ceil(64));
        let mut bits = vec![0u64; T::BITS as usize * length];
        for (at, word) in words.enumerate() {
            let word = word.wide();
            for place in 0..T::BITS as usize {
                bits[place * length + at / 64] |= (word >> place & 1) << (at % 64);
            }
        }
        Planes { words: count, bits, length }
    }

    fn all(&self) -> Vec<u64> {
        let mut all = vec![u64::MAX; self.length];
        if let (Some(last), rest @ 1..) = (all.last_mut(), self.words % 64) {
            *last = (1 << rest) - 1;
        }
        all
    }

    fn plane(&self, bit: u32) -> &[u64] {
        &self.bits[bit as usize * self.length..(bit as usize + 1) * self.length]
    }

    /// The bit, by its position in the list, that most of the participating words agree on, whether it is one, and how many words
    /// agree; the first of several; `None` where no bit or no word is left.
    fn most_agreed(&self, bits: &[u32], participating: &[u64]) -> Option<(usize, bool, u64)> {
        let count: u64 = participating.iter().map(|word| u64::from(word.count_ones())).sum();
        let agreed = |(at, &bit): (usize, &u32)| {
            let pairs = participating.iter().zip(self.plane(bit));
            let ones: u64 = pairs.map(|(word, plane)| u64::from((word & plane).count_ones())).sum();
            (at, 2 * ones > count, ones.max(count - ones))
        };
        let all = bits.iter().enumerate().map(agreed).filter(|_| count > 0);
        all.rev().max_by_key(|(.., agree)| *agree)
    }

    /// Takes words off that do not have this bit.
    fn keep(&self, participating: &mut [u64], bit: u32, ones: bool) {
        for (word, plane) in participating.iter_mut().zip(self.plane(bit)) {
            *word &= if ones { *plane } else { !*plane };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ibp::{FreeBits, pack_row};

    const ONE: Training = Training { clusters: 1, seed: 1 };

    /// Words of the packed rows, over those of the rows.
    fn kept<T: Word>(rows: &[T], columns: usize, training: Training) -> f64 {
        let Trained { masks, cluster } = train(rows, columns, training);
        let free: Vec<_> = masks.mask.iter().map(|&mask| FreeBits::outside(mask)).collect();
        let words = rows.chunks_exact(columns).zip(cluster).map(|(row, cluster)| {
            let range = usize::from(cluster) * columns..(usize::from(cluster) + 1) * columns;
            let mut packed = Vec::new();
            pack_row(row, (&free[range.clone()], &masks.bitval[range]), &mut packed);
            if packed.is_empty() { columns } else { packed.len() }
        });
        words.sum::<usize>() as f64 / rows.len() as f64
    }

    #[test]
    fn constant_columns_keep_no_bits_and_random_ones_all() {
        let mut random = Random::new(1);
        let rows: Vec<u32> = (0..500).flat_map(|_| [0x1234_5678, random.bits() as u32, 7]).collect();
        let Trained { masks, cluster } = train(&rows, 3, ONE);
        assert_eq!((masks.mask[0], masks.bitval[0]), (u32::MAX, 0x1234_5678));
        assert_eq!((masks.mask[2], masks.bitval[2]), (u32::MAX, 7));
        // Of random words, half agree on a bit and a quarter on two: either saves half a bit a word.
        assert!(masks.mask[1].count_ones() <= 3 && masks.broken().is_none());
        assert_eq!(cluster, [0; 500]);
    }

    #[test]
    fn the_greedy_mask_saves_as_much_as_the_best_one() {
        let mut random = Random::new(9);
        for _ in 0..20 {
            let common = random.bits();
            let words: Vec<u8> =
                (0..100).map(|_| (common ^ (random.bits() & random.bits() & random.bits())) as u8).collect();
            let saved = |mask: u8, bitval: u8| {
                mask.count_ones() as usize * words.iter().filter(|w| **w & mask == bitval).count()
            };
            let best =
                (0..=255u8).flat_map(|mask| (0..=255u8).filter(move |v| v & !mask == 0).map(move |v| saved(mask, v)));
            let (mask, bitval) = column_mask(words.iter().copied());
            let (found, best) = (saved(mask, bitval), best.max().unwrap());
            assert!(found * 100 >= best * 97, "{found} of {best}");
        }
    }

    #[test]
    fn ratios_are_those_of_the_paper_kind_of_data() {
        let mut random = Random::new(5);
        // bfloat16 weights of deviation 0.02, four in a word.
        let pair = |random: &mut Random| {
            (0..4).fold(0u64, |word, _| word << 16 | u64::from(half::bf16::from_f64(0.02 * random.normal()).to_bits()))
        };
        let weights: Vec<u64> = (0..1000 * 64).map(|_| pair(&mut random)).collect();
        let ratio = 1.0 / kept(&weights, 64, ONE);
        assert!(ratio > 1.26 && ratio < 1.32, "{ratio}");
        // Single-precision rows of which 5 % are not zero.
        let sparse =
            |random: &mut Random| if random.within(0, 20) == 0 { (random.normal() as f32).to_bits() } else { 0 };
        let rows: Vec<u32> = (0..1000 * 256).map(|_| sparse(&mut random)).collect();
        assert!(1.0 / kept(&rows, 256, ONE) > 10.0);
    }

    #[test]
    fn clusters_find_rows_of_two_kinds() {
        let mut random = Random::new(2);
        let kinds: Vec<[u32; 32]> = (0..2).map(|_| std::array::from_fn(|_| random.bits() as u32)).collect();
        let rows: Vec<u32> = (0..400).flat_map(|_| kinds[random.within(0, 2)]).collect();
        let (one, two) = (kept(&rows, 32, ONE), kept(&rows, 32, Training { clusters: 2, seed: 3 }));
        assert!(two < 0.1 && one > 0.3, "{one} {two}");
        let trained = train(&rows, 32, Training { clusters: 2, seed: 3 });
        assert_eq!(trained, train(&rows, 32, Training { clusters: 2, seed: 3 }));
    }

    #[test]
    fn no_rows_and_no_columns_have_masks() {
        assert_eq!(train::<u32>(&[], 4, ONE).masks.mask, [0; 4]);
        assert_eq!(train::<u32>(&[], 0, Training { clusters: 5, seed: 1 }), Trained::default());
        assert_eq!(train(&[1u8, 2], 1, Training { clusters: 9, seed: 1 }).masks.clusters(), 2);
    }
}
