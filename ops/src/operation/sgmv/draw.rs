//! Operands of samples: segments, adapters of many ranks, and pages at random places.
//!
//! Pages that are nobody's, the rest of a row's last page, and columns of v beyond an adapter's rank are filled with NaN.

use crate::def::{Dims, Random, Tensors};
use crate::operation::attention::draw::offsets;
use tandem_tensor::{DType, Tensor};

/// Ranks of samples whose adapters have many.
const RANKS: [usize; 6] = [8, 16, 32, 64, 96, 128];

/// Rows of each segment, by the name of the sample.
pub(super) fn rows(name: &str, random: &mut Random, segments: usize, typical: usize) -> Vec<usize> {
    let all = segments * typical;
    let weights: f64 = (1..=segments).map(|rank| (rank as f64).powf(-1.5)).sum();
    let each = |segment: usize, random: &mut Random| match name {
        "zipf" => ((all as f64 / weights * ((segment + 1) as f64).powf(-1.5)).round() as usize).max(1),
        // Half of all rows are of one adapter.
        "skewed" => [all.div_ceil(2), all / 2 / segments.max(2) + 1][usize::from(segment > 0)],
        "empty_segments" if segment.is_multiple_of(2) => 0,
        "mixed_lengths" => [1, typical, 2, 17][segment % 4],
        "ragged" => random.within(1, 2 * typical),
        _ => typical,
    };
    let mut rows: Vec<usize> = (0..segments).map(|segment| each(segment, random)).collect();
    random.shuffle(&mut rows);
    rows
}

/// The adapter of each segment, by the name of the sample; -1 for none.
pub(super) fn adapters(name: &str, random: &mut Random, segments: usize, adapters: usize) -> Vec<i32> {
    let each = |segment: usize, random: &mut Random| match name {
        _ if adapters == 0 => -1,
        "no_adapter" if segment.is_multiple_of(2) => -1,
        "all_without" => -1,
        "identical" => 0,
        "repeated" => [0, adapters as i32 - 1][segment % 2],
        "ragged" => random.within(0, adapters + 1) as i32 - 1,
        _ => (segment % adapters) as i32,
    };
    (0..segments).map(|segment| each(segment, random)).collect()
}

/// The rank of each adapter, by the name of the sample, none more than `most`.
pub(super) fn ranks(name: &str, random: &mut Random, adapters: usize, most: usize) -> Vec<usize> {
    let allowed: Vec<usize> = RANKS.into_iter().filter(|&rank| rank <= most).chain([most]).collect();
    let each = |adapter: usize, random: &mut Random| match name {
        "mixed_ranks" => allowed[adapter % allowed.len()],
        "odd_ranks" | "ragged" => random.within(0, most + 1),
        "rank_zero" if adapter.is_multiple_of(2) => 0,
        _ => most,
    };
    (0..adapters).map(|adapter| each(adapter, random)).collect()
}

/// The pool, and the pages where rows of A and of B of every entry begin; rows of `h[0]` and `h[1]` elements lie in pages that follow
/// each other, and among each other anywhere.
pub(super) fn pool(random: &mut Random, entries: usize, h: &[(&'static str, usize)], page: usize) -> Tensors {
    let needed: Vec<usize> = h.iter().map(|(_, elements)| elements.div_ceil(page.max(1))).collect();
    let mut order: Vec<usize> = (0..entries * h.len()).collect();
    random.shuffle(&mut order);
    let mut first = vec![0; order.len()];
    // A page that is nobody's before the first row, one between every few, and one behind the last.
    let mut pages = 1;
    let mut filled = vec![0];
    for (at, &row) in order.iter().enumerate() {
        let kind = row % h.len();
        first[row] = pages;
        let left = |piece: usize| (h[kind].1 - piece * page).min(page);
        filled.extend((0..needed[kind]).map(left));
        filled.extend((at % 5 == 4).then_some(0));
        pages = filled.len();
    }
    filled.push(0);
    let element = |filled: usize, at: usize, random: &mut Random| match at < filled {
        true => random.normal() / 16.0,
        false => f64::NAN,
    };
    let mut values = Vec::with_capacity(filled.len() * page);
    for &filled in &filled {
        values.extend((0..page).map(|at| element(filled, at, random)));
    }
    let shape = [filled.len(), page];
    let pool = Tensor::from_f64(DType::BF16, shape, &values).expect("as many values as elements");
    let index = |kind: usize| first.iter().skip(kind).step_by(h.len()).map(|&page| page as i32).collect::<Vec<_>>();
    let indices = h.iter().enumerate().map(|(kind, &(port, _))| (port, vector(index(kind))));
    indices.fold(Tensors::new().with("pool", pool), |all, (port, index)| all.with(port, index))
}

/// Segments and adapters, and where entries of adapters of these ranks begin.
pub(super) fn tables(name: &str, dims: &Dims, random: &mut Random) -> (Vec<usize>, Vec<i32>, Vec<usize>, Tensors) {
    let rows = rows(name, random, dims["s"], dims["rows"]);
    let adapter = adapters(name, random, dims["s"], dims["adapters"]);
    let ranks = ranks(name, random, dims["adapters"], dims["rank"]);
    let tables = Tensors::new()
        .with("segments", offsets(&rows))
        .with("adapter", vector(adapter.clone()))
        .with("indptr", offsets(&ranks));
    (rows, adapter, ranks, tables)
}

/// Rows of numbers; with a NaN, infinities and both in rows of their own where the name asks for them.
pub(super) fn x(name: &str, random: &mut Random, rows: usize, h: usize) -> Tensor {
    let deviation = if name == "large" { 1e18 } else { 1.0 };
    let mut values: Vec<f64> = (0..rows * h).map(|_| random.normal() * deviation).collect();
    if name == "nan_and_inf" {
        let at = [(0, 1, f64::NAN), (2, 0, f64::INFINITY), (3, 2, f64::NEG_INFINITY), (4, 3, f64::INFINITY)];
        for (row, column, value) in at.into_iter().chain([(4, 5, f64::NEG_INFINITY)]) {
            if let Some(place) = values.get_mut(row * h + column).filter(|_| column < h) {
                *place = value;
            }
        }
    }
    Tensor::from_f64(DType::BF16, [rows, h], &values).expect("as many values as elements")
}

/// Products with A, `[rows, width]`: numbers as far as the rank of the row's adapter goes.
pub(super) fn v(name: &str, random: &mut Random, rows: &[usize], adapter: &[i32], ranks: &[usize], w: usize) -> Tensor {
    let mut values = Vec::new();
    let scale = if name == "large" { 1e18 } else { 1.0 };
    for (&count, &adapter) in rows.iter().zip(adapter) {
        let rank = usize::try_from(adapter).map_or(0, |adapter| ranks[adapter]);
        for _ in 0..count {
            values.extend((0..w).map(|at| if at < rank { (random.normal() * scale) as f32 } else { f32::NAN }));
        }
    }
    if name == "nan_and_inf" {
        for (row, value) in [(0, f32::NAN), (2, f32::INFINITY), (3, f32::NEG_INFINITY)] {
            if let Some(place) = values.get_mut(row * w).filter(|_| w > 0) {
                *place = value;
            }
        }
    }
    let rows = rows.iter().sum::<usize>();
    Tensor::from_vec([rows, w], values).expect("as many values as elements")
}

fn vector(all: Vec<i32>) -> Tensor {
    Tensor::from_vec([all.len()], all).expect("as many as there are")
}
