//! Keys and values of four bits: pages of codes, with a scale and a zero for every position and head, of keys and of values by themselves.
//!
//! A row is the key or the value of a position and a head. It becomes codes by [`Asymmetric`] and stands for the numbers of
//! [`crate::lowbit::stand_for`], which are bfloat16: attention over codes is attention over pages of those numbers, to the bit.
//!
//! # Layout
//! Codes are `[pages, 2, page, hkv, d / 2]`, keys first, two a byte, the one of the even element in the low half. Scales are
//! `[pages, 2, hkv, page, 2]`: a scale and its zero are side by side, so that they are read as one word, and so are those of the positions
//! that a head has in a page, which are read together.
//!
//! # Source
//! Zhao et al., "Atom: Low-bit Quantization for Efficient and Accurate LLM Serving", arXiv 2310.19102: asymmetric codes of four bits for
//! each token and head. Scales and zeros are bfloat16 here and not binary16, so that the smallest number is its zero without rounding.

use super::Store;
use super::batch::Rows;
use crate::OpError;
use crate::def::{Constraint, Dim, Dims, Port, Random, Tensors};
use crate::lowbit::Asymmetric;
use half::bf16;
use tandem_tensor::{DType, Tensor};

pub(super) const CODES: Port = Port {
    name: "kv",
    dtype: DType::U8,
    dims: &[
        Dim::Axis("pages"),
        Dim::Fixed(2),
        Dim::Axis("page"),
        Dim::Axis("hkv"),
        Dim::Of("d / 2", |dims| dims["d"] / 2),
    ],
    doc: "pages of the codes of keys and values, two a byte",
};
pub(super) const SCALES: Port = Port {
    name: "kv_scale",
    dtype: DType::BF16,
    dims: &[Dim::Axis("pages"), Dim::Fixed(2), Dim::Axis("hkv"), Dim::Axis("page"), Dim::Fixed(2)],
    doc: "what a code of each row is worth, and what is taken from that",
};
pub(super) const WHOLE_BYTES: Constraint = Constraint { text: "d % 2 == 0", holds: |dims| dims["d"].is_multiple_of(2) };

/// Which of the scales is that of a head at a line.
#[inline(always)]
pub fn scale_row(line: usize, head: usize, heads: usize, page: usize) -> usize {
    let at = line % page;
    (line - at) * heads + head * page + at
}

/// Pages of codes with a table.
///
/// # Errors
/// Invalid for operands of another definition.
pub(super) fn store<'a>(dims: &Dims, inputs: &'a Tensors) -> Result<Store<'a>, OpError> {
    let (page, hkv, d) = (dims["page"], dims["hkv"], dims["d"]);
    let (codes, scales) = (inputs.slice::<u8>("kv")?, inputs.slice::<bf16>("kv_scale")?);
    let rows = page * hkv;
    // The values of a page follow its keys. An empty cache has neither.
    let v =
        Rows::Codes { codes: codes.get(rows * d / 2..).unwrap_or(&[]), scales: scales.get(rows * 2..).unwrap_or(&[]) };
    Ok(Store {
        k: Rows::Codes { codes, scales },
        v,
        line: hkv * d,
        table: Some(inputs.slice::<i32>("indices")?.into()),
        page,
        page_lines: 2 * page,
        pages: dims["pages"],
    })
}

/// The codes of pages, and their scales and zeros.
///
/// # Errors
/// Those of making tensors.
pub(super) fn quantized(pages: &Tensor) -> Result<(Tensor, Tensor), OpError> {
    let [count, _, page, heads, d] = <[usize; 5]>::try_from(&pages.shape()[..]).expect("pages have five axes");
    let numbers = pages.as_slice::<bf16>()?;
    let mut codes = vec![0u8; numbers.len() / 2];
    let mut scales = vec![bf16::ZERO; count * 2 * page * heads * 2];
    for (at, (row, codes)) in numbers.chunks_exact(d).zip(codes.chunks_exact_mut(d / 2)).enumerate() {
        let form = Asymmetric::quantize(row, codes);
        let to = scale_row(at / heads, at % heads, heads, page);
        (scales[2 * to], scales[2 * to + 1]) = (form.scale, form.zero);
    }
    Ok((
        Tensor::from_vec([count, 2, page, heads, d / 2], codes)?,
        Tensor::from_vec([count, 2, heads, page, 2], scales)?,
    ))
}

/// Changes rows of `d` numbers as the name of a sample asks for.
pub(super) fn shape_rows(name: &str, random: &mut Random, rows: Tensor, d: usize) -> Result<Tensor, OpError> {
    const NAMES: [&str; 5] = ["constant_rows", "extremes", "tiny", "ties", "nan_and_inf"];
    if !NAMES.contains(&name) {
        return Ok(rows);
    }
    let mut values = rows.to_f64();
    for (number, row) in values.chunks_exact_mut(d.max(1)).enumerate() {
        // Rows of no request stay what they are.
        if row[0].is_nan() {
            continue;
        }
        match (name, number % 5) {
            ("constant_rows", 0 | 1 | 3) => {
                let all = [0.0, row[0], -0.0][number % 3];
                row.fill(all);
            }
            // Far from zero, from one end of bfloat16 to the other, of both signs of zero.
            ("extremes", 0) => row.iter_mut().for_each(|x| *x += 40.0),
            ("extremes", 1) => row.iter_mut().for_each(|x| *x *= 1e6),
            ("extremes", 2) => row.iter_mut().enumerate().for_each(|(at, x)| *x = [0.0, -0.0][at % 2] * x.abs()),
            ("extremes", 3) => row.iter_mut().for_each(|x| *x = x.signum()),
            ("tiny", 0 | 1) => row.iter_mut().for_each(|x| *x *= 1e-39),
            ("tiny", _) => row.iter_mut().for_each(|x| *x *= 1e-36),
            // Codes of which every second one is between two.
            ("ties", _) => {
                row.iter_mut().for_each(|x| *x = -4.0 + 0.25 * random.within(0, 31) as f64);
                row[0] = -4.0;
                row[d - 1] = 3.5;
            }
            ("nan_and_inf", of @ 1..4) => {
                row[random.within(0, d)] = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY][of - 1];
            }
            _ => {}
        }
    }
    Ok(Tensor::from_f64(DType::BF16, rows.shape().clone(), &values)?)
}

#[cfg(test)]
mod tests {
    use crate::def::{Sample, accept};
    use crate::lowbit::{stand_for, unsigned};
    use crate::operation::operation;
    use half::bf16;
    use tandem_tensor::Tensor;

    #[test]
    fn attention_over_codes_is_attention_over_what_they_stand_for() {
        let (coded, plain) =
            (operation("attention.decode_kv4.bf16").unwrap(), operation("attention.decode.bf16").unwrap());
        for sample in coded.samples() {
            let inputs = coded.sample(sample.name, &sample.dims, 3).unwrap();
            let dims = accept(coded, &sample.dims, &inputs).unwrap();
            let (codes, scales) = (inputs.slice::<u8>("kv").unwrap(), inputs.slice::<bf16>("kv_scale").unwrap());
            let (d, [pages, page, hkv]) = (dims["d"], ["pages", "page", "hkv"].map(|axis| dims[axis]));
            let row = |(at, codes): (usize, &[u8])| {
                let [page_side, within, head] = [at / hkv / page, at / hkv % page, at % hkv];
                let scale = &scales[((page_side * hkv + head) * page + within) * 2..][..2];
                let numbers = stand_for(scale[0], scale[1]);
                let codes = codes.iter().flat_map(|&byte| unsigned(byte));
                codes.map(|code| bf16::from_f32(numbers[usize::from(code)])).collect::<Vec<_>>()
            };
            let numbers: Vec<bf16> = codes.chunks_exact(d / 2).enumerate().flat_map(row).collect();
            let numbers = Tensor::from_vec([pages, 2, page, hkv, d], numbers).unwrap();
            let others = inputs.iter().filter(|(name, _)| !name.starts_with("kv"));
            let others = others.map(|(name, tensor)| (name, tensor.clone())).collect::<crate::def::Tensors>();
            let other = others.with("kv", numbers);
            let (found, expected) = (coded.reference(&dims, &inputs).unwrap(), plain.reference(&dims, &other).unwrap());
            for port in ["o", "lse"] {
                let [found, expected] = [&found, &expected].map(|all| all.get(port).unwrap().to_le_bytes());
                assert!(found == expected, "{}: {port}", sample.name);
            }
            // A row of 2 d bytes is one of d / 2 and a word.
            let rows = inputs.slice::<i32>("indices").unwrap().len() * page * 2 * hkv;
            let saved = plain.work(&dims, &other).dram_bytes - coded.work(&dims, &inputs).dram_bytes;
            assert!(saved as usize <= rows * (3 * d / 2 - 4), "{}: {saved}", sample.name);
            assert!(saved > 0 || rows == 0 || dims["hq"] == 0, "{}: {saved}", sample.name);
        }
    }

    #[test]
    fn what_is_appended_as_codes_stands_for_what_was_appended() {
        let (coded, plain) =
            (operation("attention.append_kv4.bf16").unwrap(), operation("attention.append.bf16").unwrap());
        for sample in coded.samples() {
            if ["nan_and_inf", "tiny"].contains(&sample.name) {
                continue;
            }
            let inputs = coded.sample(sample.name, &sample.dims, 8).unwrap();
            let dims = accept(coded, &sample.dims, &inputs).unwrap();
            let (d, [pages, page, hkv]) = (dims["d"], ["pages", "page", "hkv"].map(|axis| dims[axis]));
            let nothing =
                Tensor::from_vec([pages, 2, page, hkv, d], vec![bf16::NAN; pages * 2 * page * hkv * d]).unwrap();
            let appended = plain.reference(&dims, &inputs.clone().with("kv", nothing)).unwrap();
            let found = coded.reference(&dims, &inputs).unwrap();
            let (codes, scales) =
                (found.slice::<u8>("appended").unwrap(), found.slice::<bf16>("appended_scale").unwrap());
            let mut rows = 0;
            for (at, row) in appended.slice::<bf16>("appended").unwrap().chunks_exact(d).enumerate() {
                let (codes, before) =
                    (&codes[at * d / 2..][..d / 2], &inputs.slice::<u8>("kv").unwrap()[at * d / 2..][..d / 2]);
                if row[0].is_nan() {
                    assert_eq!(codes, before, "{}: row {at}", sample.name);
                    continue;
                }
                rows += 1;
                let to = super::scale_row(at / hkv, at % hkv, hkv, page);
                let (scale, zero) = (scales[2 * to], scales[2 * to + 1]);
                let numbers = stand_for(scale, zero);
                for (x, code) in row.iter().zip(codes.iter().flat_map(|&byte| unsigned(byte))) {
                    let (found, x) = (numbers[usize::from(code)], x.to_f32());
                    let most = scale.to_f32() * (0.5 + 15.0 / 256.0) + found.abs() / 256.0;
                    assert!((found - x).abs() <= 1.001 * most, "{}: {x} became {found}", sample.name);
                }
            }
            assert_eq!(rows, dims["n"] * 2 * hkv, "{}", sample.name);
        }
    }

    #[test]
    fn an_odd_number_of_elements_is_refused_by_the_constraint() {
        for name in ["attention.decode_kv4.bf16", "attention.append_kv4.bf16"] {
            let operation = operation(name).unwrap();
            let sample = Sample::new(operation.def(), "odd", &[("d", 7)]);
            let error = operation.sample(sample.name, &sample.dims, 1).unwrap_err().to_string();
            assert!(error.contains("d % 2 == 0"), "{error}");
        }
    }
}
