//! Matrix loads and stores, and `mma.sync`.

use super::Env;
use super::access::{Place, Traffic, shared_at};
use super::block::Cluster;
use super::shared::Actor;
use super::warp::Warp;
use crate::alu::WARP;
use crate::fault::Trouble;
use crate::float::{F16, F32, Mode};
use crate::op::{Accumulator, Addr, Element, Mma, Reg};

/// A lane that is none: rows are shared among lanes, so every ordinary write of the warp must be ordered before.
const EVERY_LANE: u8 = u8::MAX - 1;

/// Where the rows of the matrices are: lane `8 i + r` gives row `r` of matrix `i`.
fn rows(cluster: &Cluster, warp: &Warp, addr: Addr, count: usize) -> Result<Vec<(usize, u32)>, Trouble> {
    (0..8 * count)
        .map(|lane| shared_at(cluster, warp, addr, lane, 16, "matrices are moved to and from shared memory only"))
        .collect()
}

pub(crate) fn load(
    env: &mut Env<'_>,
    cluster: &mut Cluster,
    warp: &mut Warp,
    to: &[Reg],
    addr: Addr,
    transpose: bool,
) -> Result<(), Trouble> {
    let places = rows(cluster, warp, addr, to.len())?;
    let mut traffic = Traffic::new(16);
    for (i, r) in to.iter().enumerate() {
        let mut matrix = [[0u16; 8]; 8];
        for (row, values) in matrix.iter_mut().enumerate() {
            let (block, a) = places[8 * i + row];
            let actor = Actor { lane: EVERY_LANE, uninitialised: false, ..warp.actor(env, 0) };
            let bytes = cluster.blocks[block].shared.read(a, 16, &actor).map_err(|t| t.at(8 * i + row))?;
            for (v, b) in values.iter_mut().zip(bytes.chunks(2)) {
                *v = u16::from_le_bytes([b[0], b[1]]);
            }
            traffic.add(Place::Shared(block, a));
        }
        for lane in 0..WARP {
            let (row, column) = (lane / 4, 2 * (lane % 4));
            let (low, high) = if transpose {
                (matrix[column][row], matrix[column + 1][row])
            } else {
                (matrix[row][column], matrix[row][column + 1])
            };
            warp.set(*r, lane, u64::from(low) | u64::from(high) << 16);
        }
    }
    traffic.count(env);
    Ok(())
}

pub(crate) fn store(
    env: &mut Env<'_>,
    cluster: &mut Cluster,
    warp: &mut Warp,
    from: &[Reg],
    addr: Addr,
    transpose: bool,
) -> Result<(), Trouble> {
    let places = rows(cluster, warp, addr, from.len())?;
    let mut traffic = Traffic::new(16);
    for (i, r) in from.iter().enumerate() {
        let mut matrix = [[0u16; 8]; 8];
        for lane in 0..WARP {
            let (row, column) = (lane / 4, 2 * (lane % 4));
            let value = warp.lane(*r, lane);
            for (c, half) in [(column, value as u16), (column + 1, (value >> 16) as u16)] {
                let (y, x) = if transpose { (c, row) } else { (row, c) };
                matrix[y][x] = half;
            }
        }
        for (row, values) in matrix.iter().enumerate() {
            let (block, a) = places[8 * i + row];
            let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
            let actor = Actor { lane: EVERY_LANE, ..warp.actor(env, 0) };
            cluster.blocks[block].shared.write(a, &bytes, &actor).map_err(|t| t.at(8 * i + row))?;
            traffic.add(Place::Shared(block, a));
        }
    }
    traffic.count(env);
    Ok(())
}

/// Transposes the 8 × 8 matrix of halves that a register holds.
pub(crate) fn transpose(warp: &mut Warp, d: Reg, a: Reg) {
    let value = *warp.read(a);
    let half = |row: usize, column: usize| value[4 * row + column / 2] >> (16 * (column % 2)) & 0xffff;
    for lane in 0..WARP {
        let (row, column) = (lane / 4, 2 * (lane % 4));
        warp.set(d, lane, half(column, row) | half(column + 1, row) << 16);
    }
}

/// A number of a matrix.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Numbers {
    Float(Vec<f64>),
    Int(Vec<i32>),
    /// Rows of bits, 32 to a word.
    Bits(Vec<u32>),
}

impl Numbers {
    /// An empty matrix for `count` elements of a kind.
    pub fn new(element: Element, count: usize) -> Self {
        match element {
            Element::Float(_) | Element::Tf32 => Self::Float(vec![0.0; count]),
            Element::Int { .. } => Self::Int(vec![0; count]),
            Element::Bit { .. } => Self::Bits(vec![0; count / 32]),
        }
    }

    /// Puts the elements of a 32-bit word at `at`, counted in elements.
    pub fn put(&mut self, element: Element, at: usize, word: u32) {
        match (self, element) {
            (Self::Float(v), Element::Float(format)) => {
                let bits = format.bits();
                for (i, v) in v[at..at + (32 / bits) as usize].iter_mut().enumerate() {
                    *v = format.decode(word >> (i as u32 * bits) & ((1 << bits) - 1));
                }
            }
            // The hardware ignores the lower bits of a tf32.
            (Self::Float(v), _) => v[at] = f64::from(f32::from_bits(word & !0x1fff)),
            (Self::Int(v), Element::Int { bits: 8, signed }) => {
                for (v, byte) in v[at..at + 4].iter_mut().zip(word.to_le_bytes()) {
                    *v = if signed { (byte as i8).into() } else { byte.into() };
                }
            }
            (Self::Int(v), Element::Int { bits, signed }) => {
                for (i, v) in v[at..at + (32 / bits) as usize].iter_mut().enumerate() {
                    let value = word >> (i as u32 * bits) & ((1 << bits) - 1);
                    let shift = 32 - bits;
                    *v = if signed { ((value << shift) as i32) >> shift } else { value as i32 };
                }
            }
            (Self::Bits(v), _) => v[at / 32] = word,
            (Self::Int(_), _) => {}
        }
    }
}

/// An operand of a warp, `rows` × `k`, from its registers: sixteen rows of A, or eight of A or B, whose rows are the
/// columns of the product. So are the fragments of `mma.sync`, and those of `wgmma` with A in registers, where each warp of
/// the warpgroup holds its sixteen rows.
///
/// # Source
///
/// PTX ISA 9.0, "Matrix Fragments for mma" of each shape and "Register Fragments" of `wgmma.mma_async`: lane `4 g + t`
/// holds neighbours along K, 32 bits of them, from the `t`th such group of row `g`.
pub(crate) fn from_registers(warp: &Warp, element: Element, regs: &[Reg], rows: usize, k: usize) -> Numbers {
    let per = (32 / element.bits()) as usize;
    let mut out = Numbers::new(element, rows * k);
    for (i, r) in regs.iter().enumerate() {
        // With sixteen rows the registers go down first, then along K.
        let (down, along) = if rows == 16 { (8 * (i & 1), i >> 1) } else { (0, i) };
        for lane in 0..WARP {
            let row = lane / 4 + down;
            let column = per * (lane % 4) + 4 * per * along;
            out.put(element, row * k + column, warp.lane(*r, lane) as u32);
        }
    }
    out
}

/// The elements that register `register` of an accumulator holds in a lane: row, column, and the bit from which on.
///
/// # Source
///
/// PTX ISA 9.0, the same sections: lane `4 g + t` holds columns `2 t` and `2 t + 1` of each eight, first of row `g`, then
/// of row `g + 8` where there is one. A `wgmma` has N / 8 such groups of eight columns.
fn accumulator(d: Accumulator, register: usize, lane: usize) -> [(usize, usize, u32); 2] {
    let (row, column) = (lane / 4, 2 * (lane % 4));
    match d {
        // A register holds two neighbours in a row.
        Accumulator::F16 => {
            let (row, column) = (row + 8 * (register & 1), column + 8 * (register >> 1));
            [(row, column, 0), (row, column + 1, 16)]
        }
        // One element; the second entry repeats it.
        Accumulator::F32 | Accumulator::S32 { .. } => {
            let place = (row + 8 * (register >> 1 & 1), column + (register & 1) + 8 * (register >> 2), 0);
            [place, place]
        }
    }
}

/// One element of a product: `c` plus the row of A times the column of B, both along K, rounded once.
fn dot(d: Accumulator, xor: bool, a: &Numbers, b: &Numbers, at: (usize, usize, usize), c: u32) -> u32 {
    let (row, column, k) = at;
    match (a, b) {
        (Numbers::Float(a), Numbers::Float(b)) => {
            let (a, b) = (&a[row * k..(row + 1) * k], &b[column * k..(column + 1) * k]);
            let start = if d == Accumulator::F16 { F16.decode(c) } else { f64::from(f32::from_bits(c)) };
            let sum = a.iter().zip(b).fold(start, |s, (x, y)| s + x * y);
            if d == Accumulator::F16 { F16.encode(sum, Mode::Near) } else { single(sum) }
        }
        (Numbers::Int(a), Numbers::Int(b)) => {
            let (a, b) = (&a[row * k..(row + 1) * k], &b[column * k..(column + 1) * k]);
            // The elements have at most 8 bits and k is at most 256, so that the products sum up in 32.
            let products: i32 = a.iter().zip(b).map(|(x, y)| x * y).sum();
            let sum = i64::from(c as i32) + i64::from(products);
            match d {
                Accumulator::S32 { saturate: true } => sum.clamp(i32::MIN.into(), i32::MAX.into()) as i32 as u32,
                _ => sum as u32,
            }
        }
        (Numbers::Bits(a), Numbers::Bits(b)) => {
            let k = k / 32;
            let (a, b) = (&a[row * k..(row + 1) * k], &b[column * k..(column + 1) * k]);
            let both = |x: &u32, y: &u32| if xor { x ^ y } else { x & y };
            a.iter().zip(b).fold(c, |s, (x, y)| s.wrapping_add(both(x, y).count_ones()))
        }
        _ => c,
    }
}

/// Rounds to single precision; a NaN is the hardware's.
fn single(x: f64) -> u32 {
    if x.is_nan() { F32.nan() } else { (x as f32).to_bits() }
}

pub(crate) fn mma(env: &mut Env<'_>, warp: &mut Warp, op: &Mma) {
    let a = from_registers(warp, op.a, &op.a_regs, op.m, op.k);
    let b = from_registers(warp, op.b, &op.b_regs, op.n, op.k);
    let xor = matches!(op.a, Element::Bit { xor: true });
    multiply(warp, op.d, xor, (&a, &b), op.k, Some(&op.c_regs), &op.to);
    env.stats.tensor_multiplications += (op.m * op.n * op.k) as u64;
}

/// Writes the product of A and B, of `k` columns each, to the accumulators `to`, added to those of `from` if there are any.
pub(crate) fn multiply(
    warp: &mut Warp,
    d: Accumulator,
    xor: bool,
    (a, b): (&Numbers, &Numbers),
    k: usize,
    from: Option<&[Reg]>,
    to: &[Reg],
) {
    let mut results = vec![[0u64; WARP]; to.len()];
    for (i, out) in results.iter_mut().enumerate() {
        for (lane, out) in out.iter_mut().enumerate() {
            let old = from.map_or(0, |c| warp.lane(c[i], lane) as u32);
            let places = accumulator(d, i, lane);
            let value = |(row, column, shift): (usize, usize, u32), mask: u32| {
                dot(d, xor, a, b, (row, column, k), old >> shift & mask)
            };
            *out = match d {
                Accumulator::F16 => {
                    let [low, high] = places.map(|place| value(place, 0xffff));
                    u64::from(low | high << 16)
                }
                Accumulator::F32 | Accumulator::S32 { .. } => value(places[0], u32::MAX).into(),
            };
        }
    }
    for (r, values) in to.iter().zip(&results) {
        warp.write(*r, values, u32::MAX);
    }
}
