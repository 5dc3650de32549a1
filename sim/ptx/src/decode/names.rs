//! Names and operands: registers, predicates, variables, constants, addresses.

use std::collections::HashMap;

use super::{Decoder, MOST_LOCAL, MOST_SHARED, fail};
use crate::error::ParseError;
use crate::op::{Addr, Const, Op, Pred, Reg, Special};
use crate::syntax::{Body, Operand, Space, Statement, Variable};
use crate::types::{Kind, Type, mask};

/// One expansion of a function: its own registers, local variables and jumps.
pub(super) struct Frame<'u> {
    pub body: &'u Body,
    /// Registers by scope and name, and their width; predicates have width 1.
    registers: HashMap<(usize, String), (u32, u32)>,
    /// Local and parameter variables by scope and name.
    locals: HashMap<(usize, String), u32>,
    /// Parameters and results of a device function, in local memory.
    homes: HashMap<String, u32>,
    pub jumps: Vec<Jump>,
}

/// A jump that is still to be given its target.
pub(super) struct Jump {
    /// The instruction, and which of its targets.
    pub at: (usize, usize),
    pub scope: usize,
    /// The end of the function where `None`.
    pub label: Option<String>,
    pub line: u32,
}

impl<'u> Frame<'u> {
    pub fn new(body: &'u Body, homes: HashMap<String, u32>) -> Self {
        Self { body, registers: HashMap::new(), locals: HashMap::new(), homes, jumps: Vec::new() }
    }
}

impl Body {
    fn chain(&self, scope: usize) -> impl Iterator<Item = usize> {
        std::iter::successors(Some(scope), |s| self.scopes[*s].parent)
    }

    /// The statement that `label`, seen from `scope`, stands before.
    pub(super) fn label(&self, scope: usize, label: &str) -> Option<usize> {
        self.chain(scope).find_map(|s| self.scopes[s].labels.iter().find(|(l, _)| l == label).map(|(_, at)| *at))
    }

    /// The labels of a list of branch targets.
    pub(super) fn targets(&self, scope: usize, list: &str) -> Option<&[String]> {
        self.chain(scope).find_map(|s| self.scopes[s].targets.iter().find(|(l, _)| l == list)).map(|(_, t)| &t[..])
    }
}

/// A variable found by name.
enum Found {
    Const(Const),
    Local(u32),
}

impl<'u> Decoder<'u> {
    pub(super) fn frame(&self) -> &Frame<'u> {
        &self.frames[self.frames.len() - 1]
    }

    pub(super) fn frame_mut(&mut self) -> &mut Frame<'u> {
        let last = self.frames.len() - 1;
        &mut self.frames[last]
    }

    /// Gives the next frame the places of its function's parameters.
    pub(super) fn pending_homes(&mut self, homes: HashMap<String, u32>) {
        self.homes_of_next = homes;
    }

    /// A place in local memory; where there is no room the kernel is refused at its end.
    pub(super) fn local_room(&mut self, align: u32, bytes: u32) -> u32 {
        let at = self.local_end.next_multiple_of(align.clamp(1, 256));
        self.local_end = at.saturating_add(bytes).min(MOST_LOCAL + 1);
        at
    }

    /// The place in local memory of a parameter variable that a call names.
    pub(super) fn parameter_home(&mut self, s: &Statement, operand: &Operand) -> Result<u32, ParseError> {
        if let Operand::Name(name) = operand
            && let Some(Found::Local(at)) = self.variable(s.scope, name)
        {
            return Ok(at);
        }
        Err(fail("a call takes variables in `.param` space only"))
    }

    /// A register of its own, for a value that one statement passes to the next instruction.
    pub(super) fn fresh(&mut self) -> Reg {
        self.registers.push("a temporary".to_owned());
        self.registers.len() as u32 - 1
    }

    pub(super) fn constant(&mut self, value: Const) -> Reg {
        if let Some(r) = self.constants.get(&value) {
            return *r;
        }
        self.registers.push("a constant".to_owned());
        let r = self.registers.len() as u32 - 1;
        self.constants.insert(value, r);
        r
    }

    pub(super) fn value(&mut self, value: u64) -> Reg {
        self.constant(Const::Value(value))
    }

    /// The register or predicate `name` as seen from `scope`, with its width.
    fn register(&mut self, scope: usize, name: &str) -> Option<(u32, u32)> {
        let body = self.frame().body;
        let (owner, width) = body.chain(scope).find_map(|s| {
            let declared = body.scopes[s].registers.iter().find(|(declared, count, _)| match count {
                None => declared == name,
                Some(count) => name
                    .strip_prefix(declared.as_str())
                    .is_some_and(|digits| !digits.starts_with('+') && digits.parse::<u32>().is_ok_and(|i| i < *count)),
            });
            declared.map(|(_, _, width)| (s, *width))
        })?;
        let key = (owner, name.to_owned());
        if let Some(found) = self.frame().registers.get(&key) {
            return Some(*found);
        }
        let index = if width == 1 {
            self.predicates += 1;
            self.predicates - 1
        } else {
            self.registers.push(name.to_owned());
            self.registers.len() as u32 - 1
        };
        self.frame_mut().registers.insert(key, (index, width));
        Some((index, width))
    }

    fn variable(&mut self, scope: usize, name: &str) -> Option<Found> {
        let body = self.frame().body;
        for s in body.chain(scope) {
            if let Some(v) = body.scopes[s].variables.iter().find(|v| v.name == name) {
                return Some(self.declared(v, s));
            }
        }
        if let Some(at) = self.frame().homes.get(name) {
            return Some(Found::Local(*at));
        }
        if self.frames.len() == 1
            && let Some(offset) = self.params.get(name)
        {
            return Some(Found::Const(Const::Value((*offset).into())));
        }
        let unit = self.unit;
        let v = unit.variables.iter().find(|v| v.name == name)?;
        if v.space == Space::Shared {
            return Some(self.declared(v, usize::MAX));
        }
        let in_memory = |v: &&Variable| matches!(v.space, Space::Global | Space::Const);
        let index = unit.variables.iter().filter(in_memory).position(|v| v.name == name)?;
        Some(Found::Const(Const::Variable(index as u32, 0)))
    }

    /// The place of a variable declared in a function, or of a shared one of the module.
    fn declared(&mut self, v: &Variable, scope: usize) -> Found {
        if v.space == Space::Shared {
            if v.dynamic {
                self.dynamic_align = self.dynamic_align.max(v.align.min(1 << 16));
                return Found::Const(Const::Dynamic(0));
            }
            // Shared variables of a function are the same in every expansion of it.
            let owner = if scope == usize::MAX { 0 } else { std::ptr::from_ref(self.frame().body) as usize };
            let key = (owner, scope, v.name.clone());
            let at = match self.shared.get(&key) {
                Some(at) => *at,
                None => {
                    let at = self.shared_end.next_multiple_of(v.align.min(1 << 16));
                    self.shared_end = at.saturating_add(v.bytes).min(MOST_SHARED + 1);
                    self.shared.insert(key, at);
                    at
                }
            };
            return Found::Const(Const::Value(at.into()));
        }
        let key = (scope, v.name.clone());
        if let Some(at) = self.frame().locals.get(&key) {
            return Found::Local(*at);
        }
        let at = self.local_room(v.align.max(8), v.bytes);
        self.frame_mut().locals.insert(key, at);
        Found::Local(at)
    }

    pub(super) fn operand<'s>(&self, s: &'s Statement, at: usize) -> Result<&'s Operand, ParseError> {
        s.operands.get(at).ok_or_else(|| fail(format!("operand {} is missing", at + 1)))
    }

    /// Operand `at` as a value of type `ty`.
    pub(super) fn source(&mut self, s: &Statement, at: usize, ty: Option<Type>) -> Result<Reg, ParseError> {
        let operand = self.operand(s, at)?;
        self.source_of(s.scope, operand, ty)
    }

    pub(super) fn source_of(&mut self, scope: usize, operand: &Operand, ty: Option<Type>) -> Result<Reg, ParseError> {
        let bits = ty.map_or(64, |t| t.bits);
        match operand {
            Operand::Int(n) => Ok(self.value(*n & mask(bits))),
            Operand::F32(n) => Ok(self.value((*n).into())),
            Operand::F64(n) if ty.is_some_and(|t| t.kind == Kind::F32) => {
                Ok(self.value((f64::from_bits(*n) as f32).to_bits().into()))
            }
            Operand::F64(n) => Ok(self.value(*n)),
            Operand::Name(name) => {
                match self.register(scope, name) {
                    Some((_, 1)) => return Err(fail(format!("`{name}` is a predicate, a value is expected"))),
                    Some((r, _)) => return Ok(r),
                    None => {}
                }
                if let Some(which) = special(name) {
                    let d = self.fresh();
                    self.before(Op::Special { d, which })?;
                    return Ok(d);
                }
                if name == "WARP_SZ" {
                    return Ok(self.value(32));
                }
                self.symbol(scope, name, 0)
            }
            Operand::Sum(name, offset) => self.symbol(scope, name, *offset),
            _ => Err(fail("a register or a number is expected")),
        }
    }

    /// The address of a variable, in its own space.
    fn symbol(&mut self, scope: usize, name: &str, offset: i64) -> Result<Reg, ParseError> {
        Ok(match self.variable(scope, name) {
            Some(Found::Const(Const::Value(n))) => self.value(n.wrapping_add(offset as u64)),
            Some(Found::Const(Const::Variable(i, _))) => self.constant(Const::Variable(i, offset)),
            Some(Found::Const(Const::Dynamic(_))) => self.constant(Const::Dynamic(offset)),
            Some(Found::Local(at)) => self.value(u64::from(at).wrapping_add(offset as u64)),
            None => return Err(fail(format!("`{name}` is not declared"))),
        })
    }

    /// Whether `operand`, an address, names a parameter variable of a call, which lives in local memory.
    pub(super) fn is_call_parameter(&mut self, s: &Statement, operand: &Operand) -> bool {
        let Operand::Address(parts) = operand else { return false };
        let (Some(Operand::Name(name)) | Some(Operand::Sum(name, _))) = parts.first() else { return false };
        self.register(s.scope, name).is_none() && matches!(self.variable(s.scope, name), Some(Found::Local(_)))
    }

    /// Operand `at` as a result, with the width of its register.
    pub(super) fn result(&mut self, s: &Statement, at: usize) -> Result<(Reg, u32), ParseError> {
        let operand = self.operand(s, at)?;
        self.result_of(s.scope, operand)
    }

    pub(super) fn result_of(&mut self, scope: usize, operand: &Operand) -> Result<(Reg, u32), ParseError> {
        match operand {
            Operand::Name(name) if name == "_" => Ok((0, 64)),
            Operand::Name(name) => match self.register(scope, name) {
                Some((_, 1)) => Err(fail(format!("`{name}` is a predicate, a register is expected"))),
                Some(found) => Ok(found),
                None => Err(fail(format!("register `{name}` is not declared"))),
            },
            _ => Err(fail("a register is expected")),
        }
    }

    pub(super) fn predicate_named(&mut self, scope: usize, name: &str) -> Result<Pred, ParseError> {
        if name == "_" {
            return Ok(0);
        }
        match self.register(scope, name) {
            Some((p, 1)) => Ok(p),
            Some(_) => Err(fail(format!("`{name}` is no predicate"))),
            None => Err(fail(format!("predicate `{name}` is not declared"))),
        }
    }

    /// Operand `at` as a predicate, and whether it is negated.
    pub(super) fn predicate(&mut self, s: &Statement, at: usize) -> Result<(Pred, bool), ParseError> {
        match self.operand(s, at)? {
            Operand::Name(name) => Ok((self.predicate_named(s.scope, name)?, false)),
            Operand::Not(name) => Ok((self.predicate_named(s.scope, name)?, true)),
            Operand::Int(n) => {
                let p = self.predicates;
                self.predicates += 1;
                self.before(Op::PredConst { p, value: *n != 0 })?;
                Ok((p, false))
            }
            _ => Err(fail("a predicate is expected")),
        }
    }

    /// Whether operand `at` names a predicate.
    pub(super) fn is_predicate(&mut self, s: &Statement, at: usize) -> bool {
        match s.operands.get(at) {
            Some(Operand::Not(_)) => true,
            Some(Operand::Name(name)) => matches!(self.register(s.scope, name), Some((_, 1))),
            _ => false,
        }
    }

    /// Operand `at` as an address.
    pub(super) fn address(&mut self, s: &Statement, at: usize) -> Result<Addr, ParseError> {
        let Operand::Address(parts) = self.operand(s, at)? else { return Err(fail("an address is expected")) };
        let Some(first) = parts.first() else { return Err(fail("an address is empty")) };
        self.address_of(s.scope, first)
    }

    pub(super) fn address_of(&mut self, scope: usize, part: &Operand) -> Result<Addr, ParseError> {
        match part {
            Operand::Sum(name, offset) => match self.register(scope, name) {
                Some((_, 1)) => Err(fail(format!("`{name}` is a predicate, an address is expected"))),
                Some((base, _)) => Ok(Addr { base, offset: *offset }),
                None => Ok(Addr { base: self.symbol(scope, name, *offset)?, offset: 0 }),
            },
            other => Ok(Addr { base: self.source_of(scope, other, None)?, offset: 0 }),
        }
    }

    /// The registers of a vector, or of a single operand, read.
    pub(super) fn sources(&mut self, s: &Statement, at: usize, ty: Option<Type>) -> Result<Box<[Reg]>, ParseError> {
        match self.operand(s, at)? {
            Operand::Vector(parts) => parts.iter().map(|p| self.source_of(s.scope, p, ty)).collect(),
            other => Ok([self.source_of(s.scope, other, ty)?].into()),
        }
    }

    /// The registers of a vector, or of a single operand, written, with their widths.
    pub(super) fn results(&mut self, s: &Statement, at: usize) -> Result<Box<[(Reg, u32)]>, ParseError> {
        match self.operand(s, at)? {
            Operand::Vector(parts) => parts.iter().map(|p| self.result_of(s.scope, p)).collect(),
            other => Ok([self.result_of(s.scope, other)?].into()),
        }
    }

    /// Refuses operands after the first `most`.
    pub(super) fn at_most(&self, s: &Statement, most: usize) -> Result<(), ParseError> {
        if s.operands.len() > most {
            return Err(fail(format!("at most {most} operands are expected")));
        }
        Ok(())
    }
}

fn special(name: &str) -> Option<Special> {
    use Special::*;
    let (stem, axis) = match name.rsplit_once('.') {
        Some((stem, "x")) => (stem, 0),
        Some((stem, "y")) => (stem, 1),
        Some((stem, "z")) => (stem, 2),
        Some(_) => return None,
        None => (name, 3),
    };
    Some(match (stem, axis < 3) {
        ("%tid", true) => Tid(axis),
        ("%ntid", true) => NTid(axis),
        ("%ctaid", true) => CtaId(axis),
        ("%nctaid", true) => NCtaId(axis),
        ("%clusterid", true) => ClusterId(axis),
        ("%nclusterid", true) => NClusterId(axis),
        ("%cluster_ctaid", true) => ClusterCtaId(axis),
        ("%cluster_nctaid", true) => ClusterNCtaId(axis),
        ("%laneid", false) => LaneId,
        ("%warpid", false) => WarpId,
        ("%nwarpid", false) => NWarpId,
        ("%cluster_ctarank", false) => ClusterCtaRank,
        ("%cluster_nctarank", false) => ClusterNCtaRank,
        ("%smid", false) => SmId,
        ("%nsmid", false) => NSmId,
        ("%gridid", false) => GridId,
        ("%clock" | "%clock64" | "%clock_hi", false) => Clock,
        ("%globaltimer" | "%globaltimer_lo", false) => GlobalTimer,
        ("%dynamic_smem_size", false) => DynamicShared,
        ("%total_smem_size" | "%aggr_smem_size", false) => TotalShared,
        ("%lanemask_eq", false) => LaneMaskEq,
        ("%lanemask_le", false) => LaneMaskLe,
        ("%lanemask_lt", false) => LaneMaskLt,
        ("%lanemask_ge", false) => LaneMaskGe,
        ("%lanemask_gt", false) => LaneMaskGt,
        _ => return None,
    })
}
