//! Matrix loads and stores, and the tensor instructions.

use super::modifiers::Modifiers;
use super::{Decoder, U32, U64, fail};
use crate::error::ParseError;
use crate::float::{BF16, E4M3, E5M2, F16};
use crate::op::{Accumulator, Element, MatrixA, Mma, Op, Wgmma};
use crate::syntax::{Operand, Statement};
use crate::types::{Kind, Type};

impl<'u> Decoder<'u> {
    pub(super) fn tensor_op(&mut self, head: &str, s: &'u Statement, m: &mut Modifiers<'u>) -> Result<Op, ParseError> {
        m.take_any(&["sync", "aligned"]);
        match head {
            "ldmatrix" | "stmatrix" => {
                if !m.take("m8n8") {
                    return Err(fail("the shape must be `.m8n8`"));
                }
                let count = m.choose(&[("x1", 1), ("x2", 2), ("x4", 4)]).ok_or_else(|| fail("the count is missing"))?;
                let transpose = m.take("trans");
                m.take_any(&["shared", "shared::cta", "b16"]);
                let load = head == "ldmatrix";
                let addr = self.address(s, usize::from(load))?;
                let op = if load {
                    let to: Box<[u32]> = self.results(s, 0)?.iter().map(|(r, _)| *r).collect();
                    (to.len(), Op::MatrixLoad { to, addr, transpose })
                } else {
                    let from = self.sources(s, 1, U32)?;
                    (from.len(), Op::MatrixStore { from, addr, transpose })
                };
                if op.0 != count {
                    return Err(fail("the number of registers is not that of the matrices"));
                }
                Ok(op.1)
            }
            "movmatrix" => {
                m.take_any(&["m8n8", "trans", "b16"]);
                Ok(Op::MatrixTranspose { d: self.result(s, 0)?.0, a: self.source(s, 1, U32)? })
            }
            "mma" => self.mma(s, m),
            _ => self.wgmma_op(s, m),
        }
    }

    fn mma(&mut self, s: &'u Statement, m: &mut Modifiers<'u>) -> Result<Op, ParseError> {
        let (rows, n, k) = m.parse(shape).ok_or_else(|| fail("the shape is missing"))?;
        if !m.take("row") || !m.take("col") {
            return Err(fail("A must be `.row` and B `.col`"));
        }
        let saturate = m.take("satfinite");
        let bits = m.choose(&[("xor", true), ("and", false)]);
        m.take("popc");
        let (td, ta, tb, tc) = (m.ty(), m.ty(), m.ty(), m.ty());
        let (Some(td), Some(ta), Some(tb), Some(tc)) = (td, ta, tb, tc) else {
            return Err(fail("four types are expected"));
        };
        let (Some(a), Some(b)) = (element(ta, bits), element(tb, bits)) else {
            return Err(fail("this element type is not supported"));
        };
        let d = accumulator(td, saturate).filter(|_| td == tc).ok_or_else(|| fail("no such accumulator"))?;
        let known: &[(usize, usize, usize)] = match (a, d) {
            (Element::Float(f), Accumulator::F32 | Accumulator::F16) if f == F16 => &[(16, 8, 8), (16, 8, 16)],
            (Element::Float(f), Accumulator::F32) if f == BF16 => &[(16, 8, 8), (16, 8, 16)],
            (Element::Float(f), Accumulator::F32 | Accumulator::F16) if f == E4M3 || f == E5M2 => {
                &[(16, 8, 16), (16, 8, 32)]
            }
            (Element::Tf32, Accumulator::F32) => &[(16, 8, 4), (16, 8, 8)],
            (Element::Int { bits: 8, .. }, Accumulator::S32 { .. }) => &[(8, 8, 16), (16, 8, 16), (16, 8, 32)],
            (Element::Int { bits: 4, .. }, Accumulator::S32 { .. }) => &[(8, 8, 32), (16, 8, 32), (16, 8, 64)],
            (Element::Bit { .. }, Accumulator::S32 { .. }) => &[(8, 8, 128), (16, 8, 128), (16, 8, 256)],
            _ => &[],
        };
        let alike = match (a, b) {
            (Element::Int { bits: x, .. }, Element::Int { bits: y, .. }) => x == y,
            (Element::Float(x), Element::Float(y)) => x == y || (x.bits() == 8 && y.bits() == 8),
            _ => a == b,
        };
        if !known.contains(&(rows, n, k)) || !alike {
            return Err(fail("this shape is not supported for these types"));
        }
        let to: Box<[u32]> = self.results(s, 0)?.iter().map(|(r, _)| *r).collect();
        let (a_regs, b_regs) = (self.sources(s, 1, U32)?, self.sources(s, 2, U32)?);
        let c_regs = self.sources(s, 3, U32)?;
        self.at_most(s, 4)?;
        let want = |elements: usize, bits: u32| (elements * bits as usize).div_ceil(32 * 32);
        let out_bits = if d == Accumulator::F16 { 16 } else { 32 };
        let right = to.len() == want(rows * n, out_bits)
            && c_regs.len() == to.len()
            && a_regs.len() == want(rows * k, a.bits())
            && b_regs.len() == want(n * k, b.bits());
        if !right {
            return Err(fail("the number of registers is not that of the shape"));
        }
        Ok(Op::Mma(Box::new(Mma { m: rows, n, k, a, b, d, to, a_regs, b_regs, c_regs })))
    }

    fn wgmma_op(&mut self, s: &'u Statement, m: &mut Modifiers<'u>) -> Result<Op, ParseError> {
        if m.take("fence") {
            return Ok(Op::WgmmaFence);
        }
        if m.take("commit_group") {
            return Ok(Op::WgmmaCommit);
        }
        if m.take("wait_group") {
            return match self.operand(s, 0)? {
                Operand::Int(n) if *n < 8 => Ok(Op::WgmmaWait { pending: *n as u32 }),
                _ => Err(fail("the number of pending groups must be in 0 ..= 7")),
            };
        }
        if !m.take("mma_async") {
            return Err(fail("the operation is missing"));
        }
        let (rows, n, k) = m.parse(shape).ok_or_else(|| fail("the shape is missing"))?;
        let bits = m.take("and").then_some(false);
        m.take("popc");
        let saturate = m.take("satfinite");
        let (Some(td), Some(ta), Some(tb)) = (m.ty(), m.ty(), m.ty()) else {
            return Err(fail("three types are expected"));
        };
        let (Some(a), Some(b)) = (element(ta, bits), element(tb, bits)) else {
            return Err(fail("this element type is not supported"));
        };
        let d = accumulator(td, saturate).ok_or_else(|| fail("no such accumulator"))?;
        let (right_k, float) = match (a, b, d) {
            (Element::Float(x), Element::Float(y), Accumulator::F32 | Accumulator::F16) if x.bits() == 16 => {
                (if x == y && (x == F16 || d == Accumulator::F32) { 16 } else { 0 }, true)
            }
            (Element::Float(x), Element::Float(y), Accumulator::F32 | Accumulator::F16) => {
                (if x.bits() == y.bits() { 32 } else { 0 }, true)
            }
            (Element::Tf32, Element::Tf32, Accumulator::F32) => (8, true),
            (Element::Int { bits: 8, .. }, Element::Int { bits: 8, .. }, Accumulator::S32 { .. }) => (32, false),
            (Element::Bit { .. }, Element::Bit { .. }, Accumulator::S32 { .. }) => (256, false),
            _ => (0, false),
        };
        // Integer and bit forms exist for fewer widths than floats, 24 being the odd one.
        let right_n = n % 8 == 0 && (8..=256).contains(&n) && (float || n % 16 == 0 || matches!(n, 8 | 24));
        if rows != 64 || k != right_k || !right_n {
            return Err(fail("this shape is not supported for these types"));
        }
        let to: Box<[u32]> = self.results(s, 0)?.iter().map(|(r, _)| *r).collect();
        if to.len() != n * if d == Accumulator::F16 { 1 } else { 2 } / 4 {
            return Err(fail("the number of accumulators is not that of the shape"));
        }
        let from = match self.operand(s, 1)? {
            Operand::Vector(_) => {
                let regs = self.sources(s, 1, U32)?;
                if regs.len() != 4 {
                    return Err(fail("A takes four registers"));
                }
                MatrixA::Registers(regs)
            }
            _ => MatrixA::Descriptor(self.source(s, 1, U64)?),
        };
        let desc_b = self.source(s, 2, U64)?;
        let accumulate = match s.operands.get(3) {
            None => Err(true),
            Some(Operand::Int(n)) => Err(*n != 0),
            Some(_) => Ok(self.predicate(s, 3)?),
        };
        let sign = |at: usize| match s.operands.get(at) {
            None => Ok(false),
            Some(Operand::Int(1)) => Ok(false),
            Some(Operand::Int(n)) if *n == u64::MAX => Ok(true),
            _ => Err(fail("the scale of an operand must be 1 or -1")),
        };
        let flag = |at: usize| match s.operands.get(at) {
            None | Some(Operand::Int(0)) => Ok(false),
            Some(Operand::Int(1)) => Ok(true),
            _ => Err(fail("the transposition must be 0 or 1")),
        };
        let (negate_a, negate_b) = if float { (sign(4)?, sign(5)?) } else { (false, false) };
        let a_in_shared = matches!(from, MatrixA::Descriptor(_));
        let (transpose_a, transpose_b) = match (a_in_shared, k == 16) {
            (true, true) => (flag(6)?, flag(7)?),
            (false, true) => (false, flag(6)?),
            _ => (false, false),
        };
        let most = match (float, k == 16) {
            (false, _) => 4,
            (true, false) => 6,
            (true, true) => 7 + usize::from(a_in_shared),
        };
        self.at_most(s, most)?;
        Ok(Op::Wgmma(Box::new(Wgmma {
            n,
            k,
            a,
            b,
            d,
            to,
            from,
            desc_b,
            accumulate,
            negate_a,
            negate_b,
            transpose_a,
            transpose_b,
        })))
    }
}

/// `m16n8k16`.
fn shape(word: &str) -> Option<(usize, usize, usize)> {
    let (m, rest) = word.strip_prefix('m')?.split_once('n')?;
    let (n, k) = rest.split_once('k')?;
    Some((m.parse().ok()?, n.parse().ok()?, k.parse().ok()?))
}

fn element(ty: Type, bits: Option<bool>) -> Option<Element> {
    Some(match ty.kind {
        Kind::F16 => Element::Float(F16),
        Kind::Bf16 => Element::Float(BF16),
        Kind::E4m3 => Element::Float(E4M3),
        Kind::E5m2 => Element::Float(E5M2),
        Kind::Tf32 => Element::Tf32,
        Kind::S if matches!(ty.bits, 4 | 8) => Element::Int { bits: ty.bits, signed: true },
        Kind::U if matches!(ty.bits, 4 | 8) => Element::Int { bits: ty.bits, signed: false },
        Kind::B if ty.bits == 1 => Element::Bit { xor: bits? },
        _ => return None,
    })
}

fn accumulator(ty: Type, saturate: bool) -> Option<Accumulator> {
    Some(match ty.kind {
        Kind::F32 => Accumulator::F32,
        Kind::F16 => Accumulator::F16,
        Kind::S if ty.bits == 32 => Accumulator::S32 { saturate },
        _ => return None,
    })
}
