//! Operands of samples: lengths of requests, page tables, masks, and heads of numbers.
//!
//! What no row may see is filled with NaN: pages that no request has, and the rest of a last page.

use crate::def::{Dims, Random, Tensors};
use tandem_tensor::{DType, Tensor};

/// Lengths of requests with this one in the middle, by the name of the sample.
pub(super) fn lengths(name: &str, random: &mut Random, requests: usize, typical: usize) -> Vec<usize> {
    if name.starts_with("zipf") {
        // The same sum as if all were equal, shared as 1, 1/2, 1/3 and so on, at random places.
        let sum: f64 = (1..=requests).map(|rank| 1.0 / rank as f64).sum();
        let share = |rank: usize| ((requests * typical) as f64 / sum / rank as f64).round().max(1.0) as usize;
        let mut all: Vec<usize> = (1..=requests).map(share).collect();
        random.shuffle(&mut all);
        return all;
    }
    let each = |request: usize, random: &mut Random| match name {
        "uniform" | "ragged" => random.within(typical.div_ceil(4), typical + 3 * typical / 4 + 1),
        "mixed" if request % 3 == 2 => 3 * typical,
        "kv_zero" if request % 2 == 1 => 0,
        _ => typical,
    };
    (0..requests).map(|request| each(request, random)).collect()
}

/// Rows of queries of requests, by the name of the sample.
pub(super) fn rows(name: &str, random: &mut Random, requests: usize, typical: usize) -> Vec<usize> {
    let each = |request: usize, random: &mut Random| match name {
        "empty_request" if request % 2 == 1 => 0,
        "no_rows" => 0,
        "mixed" => [1, typical, 3][request % 3],
        "ragged" => random.within(1, typical + 1),
        _ => typical,
    };
    (0..requests).map(|request| each(request, random)).collect()
}

/// Offsets of parts that follow each other.
pub(in crate::operation) fn offsets(lengths: &[usize]) -> Tensor {
    let ends = lengths.iter().scan(0i32, |end, &length| {
        *end += length as i32;
        Some(*end)
    });
    let all: Vec<i32> = std::iter::once(0).chain(ends).collect();
    Tensor::from_vec([all.len()], all).expect("as many as there are")
}

/// Heads of numbers.
pub(super) fn heads(random: &mut Random, shape: [usize; 3]) -> Tensor {
    random.normal_tensor(DType::BF16, shape, 1.0)
}

/// Pages for requests of these lengths at random places, as the table's three tensors.
pub(super) struct Paged {
    pub(super) indptr: Tensor,
    pub(super) indices: Tensor,
    pub(super) last_page_len: Tensor,
    /// Positions that each page has; none for a page of no request.
    pub(super) filled: Vec<usize>,
}

/// Tables of pages for several levels, which share the pages but none twice.
pub(super) fn tables(random: &mut Random, levels: &[&[usize]], page: usize) -> Vec<Paged> {
    let counts = levels.iter().map(|kv| kv.iter().map(|kv| kv.div_ceil(page)).sum::<usize>());
    // A few pages that are nobody's.
    let pages = counts.sum::<usize>() + 2;
    let mut order: Vec<i32> = (0..pages as i32).collect();
    random.shuffle(&mut order);
    let mut filled = vec![0; pages];
    let mut next = order.into_iter();
    let mut level = |kv: &&[usize]| {
        let counts: Vec<usize> = kv.iter().map(|kv| kv.div_ceil(page)).collect();
        let mut indices = Vec::new();
        let mut last = Vec::new();
        for (&kv, &count) in kv.iter().zip(&counts) {
            let own: Vec<i32> = next.by_ref().take(count).collect();
            own.iter().for_each(|&at| filled[at as usize] = page);
            let rest = if count == 0 { 0 } else { kv - (count - 1) * page };
            if let Some(&at) = own.last() {
                filled[at as usize] = rest;
            }
            last.push(rest as i32);
            indices.extend(own);
        }
        let vector = |all: Vec<i32>| Tensor::from_vec([all.len()], all).expect("as many as there are");
        Paged { indptr: offsets(&counts), indices: vector(indices), last_page_len: vector(last), filled: Vec::new() }
    };
    let mut all: Vec<Paged> = levels.iter().map(&mut level).collect();
    all.iter_mut().for_each(|table| table.filled = filled.clone());
    all
}

/// Pages of keys and values, `[pages, 2, page, heads, d]`, with NaN wherever no request has a position.
pub(super) fn pages(random: &mut Random, filled: &[usize], page: usize, heads: usize, d: usize) -> Tensor {
    let mut values = Vec::with_capacity(filled.len() * 2 * page * heads * d);
    for &filled in filled {
        for _ in 0..2 {
            for at in 0..page {
                let line = (0..heads * d).map(|_| if at < filled { random.normal() } else { f64::NAN });
                values.extend(line);
            }
        }
    }
    Tensor::from_f64(DType::BF16, [filled.len(), 2, page, heads, d], &values).expect("as many values as elements")
}

/// Masks for requests of these rows and positions, seven of ten bits set, and where each begins.
pub(super) fn masks(name: &str, random: &mut Random, sizes: &[(usize, usize)]) -> (Tensor, Tensor) {
    let lengths: Vec<usize> = sizes.iter().map(|&(rows, kv)| (rows * kv).div_ceil(8)).collect();
    let mut bytes = Vec::new();
    for (&(rows, kv), length) in sizes.iter().zip(&lengths) {
        let begin = bytes.len();
        bytes.resize(begin + length, 0u8);
        for bit in 0..rows * kv {
            let hidden = name == "all_masked_row" && (bit / kv) % 3 == 0;
            if random.unit() < 0.7 && !hidden {
                bytes[begin + bit / 8] |= 1 << (bit % 8);
            }
        }
    }
    (Tensor::from_vec([bytes.len()], bytes).expect("as many as there are"), offsets(&lengths))
}

/// Nothing in the place of masks.
pub(super) fn no_masks() -> (Tensor, Tensor) {
    (Tensor::zeros(DType::U8, [0]), Tensor::zeros(DType::I32, [0]))
}

/// The scalars and slopes of the variants.
pub(super) fn scalars(inputs: Tensors, dims: &Dims, alibi: bool) -> Tensors {
    let heads = dims["hq"];
    let slopes: Vec<f32> =
        if alibi { (0..heads).map(|h| 2f32.powf(-8.0 * (h + 1) as f32 / heads as f32)).collect() } else { Vec::new() };
    inputs
        .with("scale", scale(dims))
        .with("soft_cap", Tensor::scalar(2.5f32))
        .with("bias", Tensor::scalar(-1.5f32))
        .with("slopes", Tensor::from_vec([slopes.len()], slopes).expect("as many as there are"))
}

/// The usual factor of scores.
pub(super) fn scale(dims: &Dims) -> Tensor {
    Tensor::scalar((1.0 / (dims["d"].max(1) as f64).sqrt()) as f32)
}

/// A NaN, and infinities of both signs, in rows of their own.
pub(super) fn nan_and_inf(tensor: Tensor, row: usize) -> Tensor {
    let shape = tensor.shape().clone();
    let mut values = tensor.to_f64();
    for (at, value) in [(0, f64::NAN), (2, f64::INFINITY), (4, f64::NEG_INFINITY)] {
        if let Some(place) = values.get_mut(at * row + 1) {
            *place = value;
        }
    }
    Tensor::from_f64(DType::BF16, shape, &values).expect("as many values as elements")
}
