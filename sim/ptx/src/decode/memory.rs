//! Loads, stores, atomics and addresses.

use super::modifiers::Modifiers;
use super::{Decoder, U32, fail};
use crate::error::ParseError;
use crate::op::{Atomic, AtomicOp, LOCAL_WINDOW, Load, Op, Order, PARAM_WINDOW, SHARED_WINDOW, Space, Store};
use crate::syntax::{Operand, Statement};
use crate::types::{Kind, Type};

const SPACES: &[(&str, Space)] = &[
    ("global", Space::Global),
    ("const", Space::Global),
    ("shared", Space::Shared),
    ("shared::cta", Space::Shared),
    ("shared::cluster", Space::Shared),
    ("local", Space::Local),
    ("param", Space::Param),
    ("param::entry", Space::Param),
    ("param::func", Space::Local),
];

const ATOMICS: &[(&str, AtomicOp)] = &[
    ("add", AtomicOp::Add),
    ("min", AtomicOp::Min),
    ("max", AtomicOp::Max),
    ("and", AtomicOp::And),
    ("or", AtomicOp::Or),
    ("xor", AtomicOp::Xor),
    ("exch", AtomicOp::Exchange),
    ("cas", AtomicOp::CompareSwap),
    ("inc", AtomicOp::Increment),
    ("dec", AtomicOp::Decrement),
];

impl<'u> Decoder<'u> {
    pub(super) fn memory_op(&mut self, head: &str, s: &'u Statement, m: &mut Modifiers<'u>) -> Result<Op, ParseError> {
        match head {
            "ld" | "ldu" => self.load(s, m),
            "st" => self.store(s, m),
            "atom" | "red" => self.atomic(head, s, m),
            "cvta" => self.cvta(s, m),
            "isspacep" => {
                let window = window(self.space(m));
                let (p, _) = self.predicate(s, 0)?;
                Ok(Op::IsSpace { p, a: self.source(s, 1, None)?, window })
            }
            "mapa" => {
                let generic = self.space(m) == Space::Generic;
                let ty = m.ty();
                let (d, _) = self.result(s, 0)?;
                Ok(Op::MapAddress { d, a: self.source(s, 1, ty)?, rank: self.source(s, 2, U32)?, generic })
            }
            "getctarank" => {
                self.space(m);
                let ty = m.ty();
                let (d, _) = self.result(s, 0)?;
                Ok(Op::GetRank { d, a: self.source(s, 1, ty)? })
            }
            "createpolicy" => {
                m.take_any(&["fractional", "range", "cvt", "global", "L2"]);
                m.parse(|w| w.starts_with("L2::").then_some(()));
                m.parse(|w| w.starts_with("L2::").then_some(()));
                m.ty();
                let d = self.result(s, 0)?.0;
                let a = [self.value(0), 0, 0];
                let f = crate::alu::int::function("mov", Type { kind: Kind::B, bits: 64 });
                f.map(|f| Op::Lane { f, d, a }).ok_or_else(|| fail("no such policy"))
            }
            // Hints: the address is looked at by nobody.
            _ => {
                m.take_any(&["global", "local", "const", "param", "L1", "L2", "tensormap", "L2::evict_last"]);
                m.take_any(&["L2::evict_normal", "L2::128B"]);
                self.address(s, 0)?;
                Ok(Op::Nop)
            }
        }
    }

    /// The state space, generic where none is named.
    pub(super) fn space(&mut self, m: &mut Modifiers<'u>) -> Space {
        m.choose(SPACES).unwrap_or(Space::Generic)
    }

    /// Memory order and scope.
    fn order(&mut self, m: &mut Modifiers<'u>) -> Order {
        let strong = m.take_any(&["volatile", "relaxed", "acquire", "release", "acq_rel", "mmio", "sc"]);
        m.take_any(&["cta", "cluster", "gpu", "sys"]);
        if strong { Order::Strong } else { Order::Weak }
    }

    fn load(&mut self, s: &'u Statement, m: &mut Modifiers<'u>) -> Result<Op, ParseError> {
        let (order, mut space, policy) = (self.order(m), self.space(m), m.cache());
        let vector = vector(m);
        let ty = m.ty().filter(|t| t.bits >= 8 && t.bits <= 64).ok_or_else(|| fail("the type is missing"))?;
        let call_parameter = match self.operand(s, 1) {
            Ok(o) => self.is_call_parameter(s, o),
            Err(e) => return Err(e),
        };
        if call_parameter {
            space = Space::Local;
        }
        let to = self.results(s, 0)?;
        self.at_most(s, if policy { 3 } else { 2 })?;
        if to.len() != vector {
            return Err(fail("the number of registers is not that of the vector"));
        }
        let addr = self.address(s, 1)?;
        Ok(Op::Load(Box::new(Load { space, addr, bytes: ty.bits / 8, signed: ty.kind == Kind::S, to, order })))
    }

    fn store(&mut self, s: &'u Statement, m: &mut Modifiers<'u>) -> Result<Op, ParseError> {
        let (order, mut space, policy) = (self.order(m), self.space(m), m.cache());
        let vector = vector(m);
        let ty = m.ty().filter(|t| t.bits >= 8 && t.bits <= 64).ok_or_else(|| fail("the type is missing"))?;
        let operand = self.operand(s, 0)?;
        if self.is_call_parameter(s, operand) {
            space = Space::Local;
        }
        let from = self.sources(s, 1, Some(ty))?;
        self.at_most(s, if policy { 3 } else { 2 })?;
        if from.len() != vector {
            return Err(fail("the number of registers is not that of the vector"));
        }
        let addr = self.address(s, 0)?;
        Ok(Op::Store(Box::new(Store { space, addr, bytes: ty.bits / 8, from, order })))
    }

    fn atomic(&mut self, head: &str, s: &'u Statement, m: &mut Modifiers<'u>) -> Result<Op, ParseError> {
        // Atomics are strong whether they say so or not.
        self.order(m);
        let space = self.space(m);
        let op = m.choose(ATOMICS).ok_or_else(|| fail("the operation is missing"))?;
        let policy = m.cache();
        m.take("noftz");
        let vector = vector(m);
        let ty = m.ty().ok_or_else(|| fail("the type is missing"))?;
        let float_only_adds = !(ty.is_int() || ty.kind == Kind::F32 || ty.kind == Kind::F64 || ty.is_half());
        if float_only_adds || ty.bits > 64 || ty.bits < 16 {
            return Err(fail("atomics of this type are not supported"));
        }
        if matches!(ty.kind, Kind::F32 | Kind::F64) && op != AtomicOp::Add {
            return Err(fail("atomics on floats add only"));
        }
        if ty.is_half() && !matches!(op, AtomicOp::Add | AtomicOp::Min | AtomicOp::Max) {
            return Err(fail("atomics on halves add or compare only"));
        }
        let first = usize::from(head == "atom");
        let to = if first == 1 { self.results(s, 0)?.iter().map(|(r, _)| *r).collect() } else { Box::default() };
        let addr = self.address(s, first)?;
        let from = self.sources(s, first + 1, Some(ty))?;
        let swap = if op == AtomicOp::CompareSwap { Some(self.source(s, first + 2, Some(ty))?) } else { None };
        self.at_most(s, first + 2 + usize::from(swap.is_some()) + usize::from(policy))?;
        if from.len() != vector {
            return Err(fail("the number of registers is not that of the vector"));
        }
        Ok(Op::Atomic(Box::new(Atomic { space, addr, op, ty, to, from, swap })))
    }

    fn cvta(&mut self, s: &'u Statement, m: &mut Modifiers<'u>) -> Result<Op, ParseError> {
        let to = m.take("to");
        let window = window(self.space(m));
        let ty = m.ty().ok_or_else(|| fail("the type is missing"))?;
        let (d, _) = self.result(s, 0)?;
        let a = match self.operand(s, 1)? {
            o @ (Operand::Name(_) | Operand::Sum(..) | Operand::Int(_)) => self.source_of(s.scope, o, Some(ty))?,
            _ => return Err(fail("a register or a variable is expected")),
        };
        let by = self.value(if to { window.wrapping_neg() } else { window });
        let f = crate::alu::int::function("add", Type { kind: Kind::U, bits: 64 });
        f.map(|f| Op::Lane { f, d, a: [a, by, 0] }).ok_or_else(|| fail("no such address"))
    }
}

/// Where the generic addresses of a space start; those of global memory are its own.
fn window(space: Space) -> u64 {
    match space {
        Space::Shared => SHARED_WINDOW,
        Space::Local => LOCAL_WINDOW,
        Space::Param => PARAM_WINDOW,
        Space::Global | Space::Generic => 0,
    }
}

/// Takes the number of elements of a vector, 1 where there is none.
fn vector(m: &mut Modifiers<'_>) -> usize {
    m.choose(&[("v2", 2), ("v4", 4), ("v8", 8)]).unwrap_or(1)
}
