//! Arithmetic, comparisons, selections, conversions and moves.

use super::modifiers::Modifiers;
use super::{Decoder, U32, fail};
use crate::alu::convert::Conversion;
use crate::alu::{LaneFn, compare, float, half, int};
use crate::error::ParseError;
use crate::float::Mode;
use crate::op::{Carry, CarryOp, Combine, Op, Reg};
use crate::syntax::{Operand, Statement};
use crate::types::{Kind, Type};

/// Comparison operators.
const COMPARISONS: &[(&str, &str)] = &[
    ("eq", "eq"),
    ("ne", "ne"),
    ("lt", "lt"),
    ("le", "le"),
    ("gt", "gt"),
    ("ge", "ge"),
    ("lo", "lo"),
    ("ls", "ls"),
    ("hi", "hi"),
    ("hs", "hs"),
    ("equ", "equ"),
    ("neu", "neu"),
    ("ltu", "ltu"),
    ("leu", "leu"),
    ("gtu", "gtu"),
    ("geu", "geu"),
    ("num", "num"),
    ("nan", "nan"),
];

impl<'u> Decoder<'u> {
    pub(super) fn scalar_op(&mut self, head: &str, s: &'u Statement, m: &mut Modifiers<'u>) -> Result<Op, ParseError> {
        let sets = m.take("cc");
        if sets || matches!(head, "addc" | "subc" | "madc") {
            return self.carry(head, s, m, sets);
        }
        match head {
            "mov" => self.mov(s, m),
            "testp" => {
                let kinds = ["finite", "infinite", "number", "notanumber", "normal", "subnormal"];
                let kind = kinds.iter().find(|k| m.take(k)).ok_or_else(|| fail("the property is missing"))?;
                let ty = ty(m)?;
                let (p, _) = self.predicate(s, 0)?;
                let a = self.source(s, 1, Some(ty))?;
                self.at_most(s, 2)?;
                let f = compare::property(kind, ty).ok_or_else(|| fail("no such form"))?;
                Ok(Op::Compare { f, p, q: None, a, b: a, ftz: false, with: None })
            }
            "cvt" if m.take("pack") => {
                m.take("sat");
                let (to, from) = (ty(m)?, ty(m)?);
                let third = m.take("b32");
                if from != (Type { kind: Kind::S, bits: 32 }) || third != (to.bits == 8) {
                    return Err(fail("this packing is not supported"));
                }
                let count = if third { 3 } else { 2 };
                let a = self.arguments(s, from, count)?;
                self.lane(s, int::pack(to), a)
            }
            "setp" => self.setp(s, m),
            "set" => self.set(s, m),
            "selp" => {
                let ty = ty(m)?;
                let (d, _) = self.result(s, 0)?;
                let (a, b) = (self.source(s, 1, Some(ty))?, self.source(s, 2, Some(ty))?);
                let (p, negated) = self.predicate(s, 3)?;
                self.at_most(s, 4)?;
                Ok(Op::Select { d, a, b, p, negated })
            }
            "slct" => {
                m.take("ftz");
                let (ty, by) = (ty(m)?, ty(m)?);
                let (d, _) = self.result(s, 0)?;
                let (a, b) = (self.source(s, 1, Some(ty))?, self.source(s, 2, Some(ty))?);
                let c = self.source(s, 3, Some(by))?;
                Ok(Op::SelectSign { d, a, b, c, float: by.kind == Kind::F32 })
            }
            "cvt" => self.cvt(s, m),
            "lop3" => {
                m.take("b32");
                let Operand::Int(lut) = *self.operand(s, 4)? else { return Err(fail("the table must be a number")) };
                let (d, _) = self.result(s, 0)?;
                let a = self.three(s, U32)?;
                self.at_most(s, 5)?;
                Ok(Op::Lop3 { d, a, lut: lut as u8 })
            }
            "bfi" => {
                let ty = ty(m)?;
                let (d, _) = self.result(s, 0)?;
                let a = [
                    self.source(s, 1, Some(ty))?,
                    self.source(s, 2, Some(ty))?,
                    self.source(s, 3, U32)?,
                    self.source(s, 4, U32)?,
                ];
                Ok(Op::Bfi { d, a, bits: ty.bits })
            }
            "bfe" => {
                let ty = ty(m)?;
                let a = [self.source(s, 1, Some(ty))?, self.source(s, 2, U32)?, self.source(s, 3, U32)?];
                self.lane(s, int::function("bfe", ty), a)
            }
            "shl" | "shr" => {
                let ty = ty(m)?;
                let a = [self.source(s, 1, Some(ty))?, self.source(s, 2, U32)?, 0];
                self.lane(s, int::function(head, ty), a)
            }
            "shf" => {
                let side = m.choose(&[("l", "l"), ("r", "r")]).ok_or_else(|| fail("`.l` or `.r` is missing"))?;
                let mode = m.choose(&[("wrap", "wrap"), ("clamp", "clamp")]);
                let mode = mode.ok_or_else(|| fail("`.wrap` or `.clamp` is missing"))?;
                let ty = ty(m)?;
                let a = self.three(s, Some(ty))?;
                self.lane(s, int::function(&format!("shf.{side}.{mode}"), ty), a)
            }
            "prmt" => {
                let ty = ty(m)?;
                let modes = ["f4e", "b4e", "rc8", "ecl", "ecr", "rc16"];
                let name = modes.iter().find(|w| m.take(w)).map_or("prmt".to_owned(), |w| format!("prmt.{w}"));
                let a = self.three(s, Some(ty))?;
                self.lane(s, int::function(&name, ty), a)
            }
            "bmsk" => {
                let name = if m.take("wrap") { "bmsk.wrap" } else { "bmsk.clamp" };
                m.take("clamp");
                let ty = ty(m)?;
                let a = [self.source(s, 1, U32)?, self.source(s, 2, U32)?, 0];
                self.lane(s, int::function(name, ty), a)
            }
            "bfind" => {
                let name = if m.take("shiftamt") { "bfind.shiftamt" } else { "bfind" };
                let ty = ty(m)?;
                let a = [self.source(s, 1, Some(ty))?, 0, 0];
                self.lane(s, int::function(name, ty), a)
            }
            "fns" => {
                let ty = ty(m)?;
                let a = self.three(s, Some(ty))?;
                self.lane(s, int::function("fns", ty), a)
            }
            "popc" | "clz" | "brev" | "cnot" => {
                let ty = ty(m)?;
                let a = [self.source(s, 1, Some(ty))?, 0, 0];
                self.lane(s, int::function(head, ty), a)
            }
            "dp4a" | "dp2a" => {
                let name = match head {
                    "dp4a" => "dp4a",
                    _ if m.take("hi") => "dp2a.hi",
                    _ => "dp2a.lo",
                };
                m.take("lo");
                let (ta, tb) = (ty(m)?, ty(m)?);
                let f = int::dot(name, ta.kind == Kind::S, tb.kind == Kind::S);
                let a = self.three(s, U32)?;
                self.lane(s, f, a)
            }
            "and" | "or" | "xor" | "not" => {
                let ty = ty(m)?;
                if ty.kind == Kind::Pred {
                    return self.logic(head, s);
                }
                let a = self.arguments(s, ty, if head == "not" { 1 } else { 2 })?;
                self.lane(s, int::function(head, ty), a)
            }
            "mul" | "mad" | "mul24" | "mad24" => self.product(head, s, m),
            _ => self.arithmetic(head, s, m),
        }
    }

    fn lane(&mut self, s: &Statement, f: Option<LaneFn>, a: [Reg; 3]) -> Result<Op, ParseError> {
        let f = f.ok_or_else(|| fail(format!("`{}` has no such form", s.opcode)))?;
        let (d, _) = self.result(s, 0)?;
        Ok(Op::Lane { f, d, a })
    }

    fn three(&mut self, s: &Statement, ty: Option<Type>) -> Result<[Reg; 3], ParseError> {
        Ok([self.source(s, 1, ty)?, self.source(s, 2, ty)?, self.source(s, 3, ty)?])
    }

    fn arguments(&mut self, s: &Statement, ty: Type, count: usize) -> Result<[Reg; 3], ParseError> {
        let mut a = [0; 3];
        for (i, a) in a.iter_mut().enumerate().take(count) {
            *a = self.source(s, i + 1, Some(ty))?;
        }
        self.at_most(s, count + 1)?;
        Ok(a)
    }

    fn product(&mut self, head: &str, s: &'u Statement, m: &mut Modifiers<'u>) -> Result<Op, ParseError> {
        let count = if head.starts_with("mad") { 3 } else { 2 };
        let part = m.choose(&[("lo", "lo"), ("hi", "hi"), ("wide", "wide")]);
        let Some(part) = part else { return self.arithmetic(head, s, m) };
        let ty = ty(m)?;
        let name = format!("{head}.{part}");
        if part == "wide" {
            let twice = Type { bits: 2 * ty.bits, ..ty };
            let a = [self.source(s, 1, Some(ty))?, self.source(s, 2, Some(ty))?];
            let c = if count == 3 { self.source(s, 3, Some(twice))? } else { 0 };
            return self.lane(s, int::wide(&name, ty), [a[0], a[1], c]);
        }
        let a = self.arguments(s, ty, count)?;
        self.lane(s, int::function(&name, ty), a)
    }

    /// Instructions of one type whose operands are all of it.
    fn arithmetic(&mut self, head: &str, s: &'u Statement, m: &mut Modifiers<'u>) -> Result<Op, ParseError> {
        let mode = m.rounding();
        let (ftz, sat, relu, nan) = (m.take("ftz"), m.take("sat"), m.take("relu"), m.take("NaN"));
        let (approx, full) = (m.take("approx"), m.take("full"));
        let ty = ty(m)?;
        let count = match head {
            "fma" | "mad" | "sad" => 3,
            "add" | "sub" | "mul" | "div" | "rem" | "min" | "max" | "copysign" => 2,
            _ => 1,
        };
        let a = self.arguments(s, ty, count)?;
        let mut name = head.to_owned();
        for (there, suffix) in [(approx, "approx"), (full, "full"), (nan, "NaN"), (relu, "relu")] {
            if there {
                name = format!("{name}.{suffix}");
            }
        }
        if ty.is_int() || matches!(ty.kind, Kind::U2 | Kind::S2) {
            let name = if sat { format!("{name}.sat") } else { name };
            // `abs.s32` and `neg.s32` only: the unsigned forms do not exist.
            return self.lane(s, int::function(&name, ty).filter(|_| mode.is_none() && !ftz), a);
        }
        if ty.is_half() {
            if sat || !matches!(mode, None | Some(Mode::Near)) {
                return Err(fail("halves are rounded to nearest, and are not saturated, in the simulator"));
            }
            return self.lane(s, half::function(&name, ty), a);
        }
        let f = float::function(&name, ty, mode.unwrap_or(Mode::Near));
        if ftz || sat {
            if ty.kind != Kind::F32 {
                return Err(fail("`.ftz` and `.sat` are of single precision"));
            }
            let f = f.ok_or_else(|| fail(format!("`{}` has no such form", s.opcode)))?;
            let (d, _) = self.result(s, 0)?;
            return Ok(Op::Flush { f, d, a, ftz, sat });
        }
        self.lane(s, f, a)
    }

    /// Sums, differences and products with the carry flag.
    fn carry(&mut self, head: &str, s: &'u Statement, m: &mut Modifiers<'u>, sets: bool) -> Result<Op, ParseError> {
        let op = match head {
            "add" | "addc" => CarryOp::Add,
            "sub" | "subc" => CarryOp::Subtract,
            "mad" | "madc" if m.take("lo") => CarryOp::MultiplyLow,
            "mad" | "madc" if m.take("hi") => CarryOp::MultiplyHigh,
            _ => return Err(fail("no such form with a carry")),
        };
        let ty = ty(m)?;
        if !ty.is_int() || !matches!(ty.bits, 32 | 64) {
            return Err(fail("a carry is of integers of 32 or 64 bits"));
        }
        let product = matches!(op, CarryOp::MultiplyLow | CarryOp::MultiplyHigh);
        let a = self.arguments(s, ty, if product { 3 } else { 2 })?;
        let (d, _) = self.result(s, 0)?;
        Ok(Op::Carry(Box::new(Carry { op, ty, d, a, takes: head.ends_with('c'), sets })))
    }

    fn logic(&mut self, head: &str, s: &'u Statement) -> Result<Op, ParseError> {
        let (p, _) = self.predicate(s, 0)?;
        let a = self.predicate(s, 1)?;
        if head == "not" {
            return Ok(Op::Logic { f: |a, _| !a, p, a, b: a });
        }
        let b = self.predicate(s, 2)?;
        let f: fn(u32, u32) -> u32 = match head {
            "and" => |a, b| a & b,
            "or" => |a, b| a | b,
            _ => |a, b| a ^ b,
        };
        Ok(Op::Logic { f, p, a, b })
    }

    fn mov(&mut self, s: &'u Statement, m: &mut Modifiers<'u>) -> Result<Op, ParseError> {
        let ty = ty(m)?;
        self.at_most(s, 2)?;
        if ty.kind == Kind::Pred {
            let (p, _) = self.predicate(s, 0)?;
            let a = self.predicate(s, 1)?;
            return Ok(Op::Logic { f: |a, _| a, p, a, b: a });
        }
        if ty.bits == 128 {
            return Err(fail("registers of 128 bits are not supported"));
        }
        if let Operand::Vector(parts) = self.operand(s, 0)? {
            let bits = ty.bits / parts.len().max(1) as u32;
            let a = self.source(s, 1, Some(ty))?;
            let parts = self.results(s, 0)?.iter().map(|(r, _)| *r).collect();
            return Ok(Op::Unpack { parts, a, bits });
        }
        let (d, width) = self.result(s, 0)?;
        if let Operand::Vector(parts) = self.operand(s, 1)? {
            let bits = ty.bits / parts.len().max(1) as u32;
            let parts = self.sources(s, 1, Some(Type { kind: Kind::B, bits }))?;
            return Ok(Op::Pack { d, parts, bits });
        }
        let a = self.source(s, 1, Some(ty))?;
        if width > ty.bits {
            return Err(fail("the register is wider than the type"));
        }
        Ok(Op::Move { d, a })
    }

    fn with(&mut self, s: &Statement, at: usize, m: &mut Modifiers<'u>) -> Result<With, ParseError> {
        let combine = m.choose(&[("and", Combine::And), ("or", Combine::Or), ("xor", Combine::Xor)]);
        match combine {
            None => self.at_most(s, at).map(|()| None),
            Some(combine) => {
                let (p, negated) = self.predicate(s, at)?;
                Ok(Some((combine, p, negated)))
            }
        }
    }

    fn setp(&mut self, s: &'u Statement, m: &mut Modifiers<'u>) -> Result<Op, ParseError> {
        let op = m.choose(COMPARISONS).ok_or_else(|| fail("the comparison is missing"))?;
        let with = self.with(s, 3, m)?;
        let ftz = m.take("ftz");
        let ty = ty(m)?;
        let (p, q) = match self.operand(s, 0)? {
            Operand::Pair(p, q) => {
                (self.predicate_named(s.scope, p)?, Some(self.predicate_named(s.scope, q)?).filter(|q| *q != 0))
            }
            _ => (self.predicate(s, 0)?.0, None),
        };
        let (a, b) = (self.source(s, 1, Some(ty))?, self.source(s, 2, Some(ty))?);
        if matches!(ty.kind, Kind::F16x2 | Kind::Bf16x2) {
            let (Some(f), None) = (compare::function(op, element(ty)), with) else {
                return Err(fail("this packed comparison is not supported"));
            };
            return Ok(Op::ComparePacked { f, p, q: q.unwrap_or(0), a, b });
        }
        let f = compare::function(op, ty).ok_or_else(|| fail(format!("`{}` has no such form", s.opcode)))?;
        Ok(Op::Compare { f, p, q, a, b, ftz: ftz && ty.kind == Kind::F32, with })
    }

    fn set(&mut self, s: &'u Statement, m: &mut Modifiers<'u>) -> Result<Op, ParseError> {
        let op = m.choose(COMPARISONS).ok_or_else(|| fail("the comparison is missing"))?;
        let with = self.with(s, 3, m)?;
        m.take("ftz");
        let (to, ty) = (ty(m)?, ty(m)?);
        let (d, _) = self.result(s, 0)?;
        let (a, b) = (self.source(s, 1, Some(ty))?, self.source(s, 2, Some(ty))?);
        let yes = match to.kind {
            Kind::F32 => 0x3f80_0000,
            Kind::F16 => 0x3c00,
            Kind::Bf16 => 0x3f80,
            Kind::F16x2 => 0x3c00_3c00,
            Kind::Bf16x2 => 0x3f80_3f80,
            _ if to.bits == 16 => 0xffff,
            _ => 0xffff_ffff,
        };
        if matches!(ty.kind, Kind::F16x2 | Kind::Bf16x2) {
            let f = compare::function(op, element(ty)).ok_or_else(|| fail("no such comparison"))?;
            return Ok(Op::SetPacked { f, d, yes, a, b });
        }
        let f = compare::function(op, ty).ok_or_else(|| fail(format!("`{}` has no such form", s.opcode)))?;
        Ok(Op::Set { f, d, yes, a, b, with })
    }

    fn cvt(&mut self, s: &'u Statement, m: &mut Modifiers<'u>) -> Result<Op, ParseError> {
        let integral = m.choose(&[("rni", Mode::Near), ("rzi", Mode::Zero), ("rmi", Mode::Down), ("rpi", Mode::Up)]);
        let mode = m.rounding();
        let (ftz, sat, satfinite, relu) = (m.take("ftz"), m.take("sat"), m.take("satfinite"), m.take("relu"));
        let (to, from) = (ty(m)?, ty(m)?);
        if [to, from].iter().any(|t| !(8..=64).contains(&t.bits)) {
            return Err(fail("a conversion between these types is not supported"));
        }
        let two = matches!(to.kind, Kind::F16x2 | Kind::Bf16x2 | Kind::E4m3x2 | Kind::E5m2x2) && from.kind == Kind::F32;
        let (d, width) = self.result(s, 0)?;
        let a = self.source(s, 1, Some(from))?;
        let b = if two { self.source(s, 2, Some(from))? } else { a };
        self.at_most(s, if two { 3 } else { 2 })?;
        if from.is_int() && to.is_int() && width < to.bits {
            return Err(fail("the register is narrower than the type"));
        }
        let conversion = Conversion {
            to,
            from,
            mode: integral.or(mode).unwrap_or(Mode::Near),
            integral: integral.is_some(),
            ftz,
            sat,
            satfinite,
            relu,
        };
        Ok(Op::Convert { conversion: Box::new(conversion), d, a, b })
    }
}

type With = Option<(Combine, u32, bool)>;

fn ty(m: &mut Modifiers<'_>) -> Result<Type, ParseError> {
    m.ty().ok_or_else(|| fail("the type is missing"))
}

fn element(ty: Type) -> Type {
    match ty.kind {
        Kind::F16x2 => Type { kind: Kind::F16, bits: 16 },
        _ => Type { kind: Kind::Bf16, bits: 16 },
    }
}
