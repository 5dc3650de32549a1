//! Asynchronous copies.

use super::modifiers::Modifiers;
use super::{Decoder, U16, U32, fail};
use crate::error::ParseError;
use crate::op::{Addr, AsyncCopy, AtomicOp, BulkCopy, BulkKind, Mbarrier, Op, TensorCopy};
use crate::syntax::{Operand, Statement};

const REDUCTIONS: &[(&str, AtomicOp)] = &[
    ("add", AtomicOp::Add),
    ("min", AtomicOp::Min),
    ("max", AtomicOp::Max),
    ("and", AtomicOp::And),
    ("or", AtomicOp::Or),
    ("xor", AtomicOp::Xor),
    ("inc", AtomicOp::Increment),
    ("dec", AtomicOp::Decrement),
];

impl<'u> Decoder<'u> {
    pub(super) fn copy_op(&mut self, s: &'u Statement, m: &mut Modifiers<'u>) -> Result<Op, ParseError> {
        let reduce = m.take("reduce");
        if !m.take("async") {
            return Err(fail("only asynchronous copies exist"));
        }
        if m.take("bulk") {
            return if m.take("tensor") { self.tensor_copy(s, m, reduce) } else { self.bulk(s, m, reduce) };
        }
        if m.take("commit_group") {
            return Ok(Op::AsyncCommit);
        }
        if m.take("wait_all") {
            return Ok(Op::AsyncWait { pending: 0, all: true });
        }
        if m.take("wait_group") {
            return Ok(Op::AsyncWait { pending: self.number(s, 0)?, all: false });
        }
        if m.take("mbarrier") {
            m.take("arrive");
            let noinc = m.take("noinc");
            m.take_any(&["shared", "shared::cta", "b64"]);
            return Ok(Op::Mbarrier(Box::new(Mbarrier::AsyncArrive { addr: self.address(s, 0)?, noinc })));
        }
        let only_16 = m.take("cg");
        m.take("ca");
        m.take_any(&["shared", "shared::cta", "global"]);
        let policy = m.cache();
        let bytes = self.number(s, 2)?;
        if !matches!(bytes, 4 | 8 | 16) || only_16 && bytes != 16 {
            return Err(fail("the copy must be of 4, 8 or 16 bytes, with `.cg` of 16"));
        }
        let (to, from) = (self.address(s, 0)?, self.address(s, 1)?);
        let extra = s.operands.len() - usize::from(policy);
        let (mut source_bytes, mut ignore) = (None, None);
        if extra > 3 {
            if self.is_predicate(s, 3) {
                ignore = Some(self.predicate(s, 3)?);
            } else {
                source_bytes = Some(self.source(s, 3, U32)?);
            }
        }
        self.at_most(s, 4 + usize::from(policy))?;
        let copy = AsyncCopy { to, from, bytes, source_bytes, ignore };
        Ok(Op::AsyncCopy(Box::new(copy)))
    }

    fn number(&self, s: &Statement, at: usize) -> Result<u32, ParseError> {
        match self.operand(s, at)? {
            Operand::Int(n) => u32::try_from(*n).map_err(|_| fail("the number is out of range")),
            _ => Err(fail("a number is expected")),
        }
    }

    /// Groups and waits of bulk copies, or `None`.
    fn bulk_group(&mut self, s: &'u Statement, m: &mut Modifiers<'u>) -> Result<Option<Op>, ParseError> {
        if m.take("commit_group") {
            return Ok(Some(Op::BulkCommit));
        }
        if m.take("wait_group") {
            let read = m.take("read");
            return Ok(Some(Op::BulkWait { pending: self.number(s, 0)?, read }));
        }
        Ok(None)
    }

    fn bulk(&mut self, s: &'u Statement, m: &mut Modifiers<'u>, reduce: bool) -> Result<Op, ParseError> {
        if let Some(op) = self.bulk_group(s, m)? {
            return Ok(op);
        }
        if m.take("prefetch") {
            m.cache();
            if m.take("tensor") {
                return self.tensor_prefetch(s, m);
            }
            m.take("global");
            self.address(s, 0)?;
            return Ok(Op::Nop);
        }
        // The order of the spaces says which way the copy goes.
        let words: Vec<&str> = s.opcode.split('.').collect();
        let place = |names: &[&str]| words.iter().position(|w| names.contains(w));
        let shared = place(&["shared::cluster", "shared::cta"]);
        let global = place(&["global"]);
        let kind = match (shared, global) {
            (Some(a), Some(b)) if a < b => BulkKind::GlobalToShared,
            (Some(_), Some(_)) => BulkKind::SharedToGlobal,
            (Some(_), None) => BulkKind::SharedToShared,
            _ => return Err(fail("the state spaces are missing")),
        };
        m.take_any(&["shared::cluster", "shared::cta", "global", "mbarrier::complete_tx::bytes", "bulk_group"]);
        let multicast = m.take("multicast::cluster");
        let policy = m.cache();
        let reduce = if reduce {
            let op = m.choose(REDUCTIONS).ok_or_else(|| fail("the operation is missing"))?;
            m.take("noftz");
            Some((op, m.ty().ok_or_else(|| fail("the type is missing"))?))
        } else {
            None
        };
        let (to, from) = (self.address(s, 0)?, self.address(s, 1)?);
        let bytes = self.source(s, 2, U32)?;
        let mut next = 3;
        let barrier = if kind == BulkKind::SharedToGlobal {
            None
        } else {
            next += 1;
            Some(self.address(s, 3)?)
        };
        let multicast = if multicast {
            next += 1;
            Some(self.source(s, next - 1, U16)?)
        } else {
            None
        };
        self.at_most(s, next + usize::from(policy))?;
        Ok(Op::BulkCopy(Box::new(BulkCopy { kind, to, from, bytes, barrier, multicast, reduce })))
    }

    fn tensor_copy(&mut self, s: &'u Statement, m: &mut Modifiers<'u>, reduce: bool) -> Result<Op, ParseError> {
        if m.take("prefetch") {
            m.cache();
            return self.tensor_prefetch(s, m);
        }
        let rank = m.parse(|w| w.strip_suffix('d')?.parse::<usize>().ok().filter(|r| (1..=5).contains(r)));
        let rank = rank.ok_or_else(|| fail("the number of dimensions is missing"))?;
        let words: Vec<&str> = s.opcode.split('.').collect();
        let shared = words.iter().position(|w| w.starts_with("shared"));
        let global = words.iter().position(|w| *w == "global");
        let load = match (shared, global) {
            (Some(a), Some(b)) => a < b,
            _ => return Err(fail("the state spaces are missing")),
        };
        m.take_any(&["shared::cluster", "shared::cta", "global", "mbarrier::complete_tx::bytes", "bulk_group", "tile"]);
        let multicast = m.take("multicast::cluster");
        let policy = m.cache();
        let reduce =
            if reduce { Some(m.choose(REDUCTIONS).ok_or_else(|| fail("the operation is missing"))?) } else { None };
        let (shared_at, map_at) = if load { (0, 1) } else { (1, 0) };
        let shared = self.address(s, shared_at)?;
        let (map, coordinates) = self.tensor_address(s, map_at, rank)?;
        let mut next = 2;
        let barrier = if load {
            next += 1;
            Some(self.address(s, 2)?)
        } else {
            None
        };
        let multicast = if multicast {
            next += 1;
            Some(self.source(s, next - 1, U16)?)
        } else {
            None
        };
        self.at_most(s, next + usize::from(policy))?;
        Ok(Op::TensorCopy(Box::new(TensorCopy { shared, map, coordinates, barrier, multicast, reduce })))
    }

    fn tensor_prefetch(&mut self, s: &'u Statement, m: &mut Modifiers<'u>) -> Result<Op, ParseError> {
        m.take_any(&["prefetch", "1d", "2d", "3d", "4d", "5d", "global", "tile"]);
        m.cache();
        let Operand::Address(parts) = self.operand(s, 0)? else { return Err(fail("an address is expected")) };
        let first = parts.first().ok_or_else(|| fail("an address is empty"))?;
        self.address_of(s.scope, first)?;
        Ok(Op::Nop)
    }

    fn tensor_address(&mut self, s: &Statement, at: usize, rank: usize) -> Result<(Addr, Box<[u32]>), ParseError> {
        let Operand::Address(parts) = self.operand(s, at)? else { return Err(fail("an address is expected")) };
        let [map, Operand::Vector(coordinates)] = parts.as_slice() else {
            return Err(fail("a tensor map and its coordinates are expected"));
        };
        if coordinates.len() != rank {
            return Err(fail("the number of coordinates is not that of the dimensions"));
        }
        let map = self.address_of(s.scope, map)?;
        let coordinates = coordinates.iter().map(|c| self.source_of(s.scope, c, U32)).collect::<Result<_, _>>()?;
        Ok((map, coordinates))
    }
}
