//! Barriers, fences, collectives of a warp, `mbarrier` objects.

use super::modifiers::Modifiers;
use super::{Decoder, U32, U64, fail};
use crate::error::ParseError;
use crate::op::{AtomicOp, Barrier, Mbarrier, Op, Reduce, Shuffle, Vote};
use crate::syntax::{Operand, Statement};
use crate::types::Kind;

const VOTES: &[(&str, Vote)] =
    &[("all", Vote::All), ("any", Vote::Any), ("uni", Vote::Uniform), ("ballot", Vote::Ballot)];

impl<'u> Decoder<'u> {
    pub(super) fn sync_op(&mut self, head: &str, s: &'u Statement, m: &mut Modifiers<'u>) -> Result<Op, ParseError> {
        match head {
            "bar" | "barrier" => self.barrier(head, s, m),
            "membar" => {
                m.take_any(&["cta", "gl", "sys", "gpu"]);
                self.at_most(s, 0)?;
                Ok(Op::Fence)
            }
            "fence" => self.fence(s, m),
            "griddepcontrol" => {
                m.take_any(&["launch_dependents", "wait"]);
                Ok(Op::Fence)
            }
            "nanosleep" => {
                m.ty();
                Ok(Op::Nanosleep)
            }
            "setmaxnreg" => {
                let increase = m.take("inc");
                if !increase && !m.take("dec") {
                    return Err(fail("`.inc` or `.dec` is missing"));
                }
                m.take_any(&["sync", "aligned", "u32"]);
                let Operand::Int(count) = *self.operand(s, 0)? else { return Err(fail("a number is expected")) };
                if !(24..=256).contains(&count) || count % 8 != 0 {
                    return Err(fail("the number of registers must be a multiple of 8 in 24 ..= 256"));
                }
                Ok(Op::SetMaxRegisters)
            }
            "activemask" => {
                m.ty();
                Ok(Op::ActiveMask { d: self.result(s, 0)?.0 })
            }
            "elect" => {
                m.take("sync");
                let Operand::Pair(d, p) = self.operand(s, 0)? else { return Err(fail("two results are expected")) };
                let d = self.result_of(s.scope, &Operand::Name(d.clone()))?.0;
                let p = self.predicate_named(s.scope, p)?;
                Ok(Op::Elect { d, p, mask: self.source(s, 1, U32)? })
            }
            "vote" => {
                m.take("sync");
                let op = m.choose(VOTES).ok_or_else(|| fail("the mode is missing"))?;
                m.take_any(&["pred", "b32"]);
                let (to_pred, to) = match op {
                    Vote::Ballot => (0, self.result(s, 0)?.0),
                    _ => (self.predicate(s, 0)?.0, 0),
                };
                let (p, negated) = self.predicate(s, 1)?;
                Ok(Op::Vote { op, p, negated, to_pred, to, mask: self.source(s, 2, U32)? })
            }
            "match" => {
                let all = m.take("all");
                m.take_any(&["any", "sync"]);
                let ty = m.ty();
                let (d, p) = self.result_and_predicate(s)?;
                Ok(Op::Match { all, d, p, a: self.source(s, 1, ty)?, mask: self.source(s, 2, U32)? })
            }
            "shfl" => {
                m.take("sync");
                let mode = m.choose(&[
                    ("up", Shuffle::Up),
                    ("down", Shuffle::Down),
                    ("bfly", Shuffle::Butterfly),
                    ("idx", Shuffle::Index),
                ]);
                let mode = mode.ok_or_else(|| fail("the mode is missing"))?;
                let ty = m.ty();
                let (d, p) = self.result_and_predicate(s)?;
                let (a, b, c) = (self.source(s, 1, ty)?, self.source(s, 2, U32)?, self.source(s, 3, U32)?);
                Ok(Op::Shuffle { mode, d, p, a, b, c, mask: self.source(s, 4, U32)? })
            }
            "redux" => {
                m.take("sync");
                let op = m.choose(&[
                    ("add", AtomicOp::Add),
                    ("min", AtomicOp::Min),
                    ("max", AtomicOp::Max),
                    ("and", AtomicOp::And),
                    ("or", AtomicOp::Or),
                    ("xor", AtomicOp::Xor),
                ]);
                let op = op.ok_or_else(|| fail("the operation is missing"))?;
                let ty = m.ty().filter(|t| t.is_int()).ok_or_else(|| fail("an integer type is expected"))?;
                let d = self.result(s, 0)?.0;
                let signed = ty.kind == Kind::S;
                Ok(Op::ReduceWarp { op, signed, d, a: self.source(s, 1, U32)?, mask: self.source(s, 2, U32)? })
            }
            _ => self.mbarrier(s, m),
        }
    }

    /// `d|p` or `d`.
    fn result_and_predicate(&mut self, s: &Statement) -> Result<(u32, Option<u32>), ParseError> {
        match self.operand(s, 0)? {
            Operand::Pair(d, p) => {
                let d = self.result_of(s.scope, &Operand::Name(d.clone()))?.0;
                Ok((d, Some(self.predicate_named(s.scope, p)?)))
            }
            _ => Ok((self.result(s, 0)?.0, None)),
        }
    }

    fn barrier(&mut self, head: &str, s: &'u Statement, m: &mut Modifiers<'u>) -> Result<Op, ParseError> {
        if m.take("warp") {
            m.take("sync");
            return Ok(Op::WarpSync { mask: self.source(s, 0, U32)? });
        }
        let aligned = m.take("aligned") || head == "bar";
        if m.take("cluster") {
            let relaxed = m.take("relaxed");
            m.take_any(&["release", "acquire"]);
            return if m.take("arrive") {
                Ok(Op::ClusterArrive { relaxed, aligned })
            } else if m.take("wait") {
                Ok(Op::ClusterWait { aligned })
            } else {
                Err(fail("`.arrive` or `.wait` is missing"))
            };
        }
        m.take("cta");
        if m.take("red") {
            let op = m.choose(&[("popc", Vote::Ballot), ("and", Vote::All), ("or", Vote::Any)]);
            let op = op.ok_or_else(|| fail("the operation is missing"))?;
            m.take_any(&["pred", "u32"]);
            let (to_pred, to_count) = match op {
                Vote::Ballot => (None, Some(self.result(s, 0)?.0)),
                _ => (Some(self.predicate(s, 0)?.0), None),
            };
            let id = self.source(s, 1, U32)?;
            let threads = if s.operands.len() == 4 { Some(self.source(s, 2, U32)?) } else { None };
            let from = self.predicate(s, s.operands.len() - 1)?;
            let reduce = Some(Reduce { op, from, to_pred, to_count });
            return Ok(Op::Barrier(Box::new(Barrier { id, threads, arrive: false, aligned, reduce })));
        }
        let arrive = m.take("arrive");
        if !arrive && !m.take("sync") {
            return Err(fail("`.sync` or `.arrive` is missing"));
        }
        let id = self.source(s, 0, U32)?;
        let threads = if s.operands.len() > 1 { Some(self.source(s, 1, U32)?) } else { None };
        if arrive && threads.is_none() {
            return Err(fail("an arrival needs the number of threads"));
        }
        self.at_most(s, 2)?;
        Ok(Op::Barrier(Box::new(Barrier { id, threads, arrive, aligned, reduce: None })))
    }

    fn fence(&mut self, s: &'u Statement, m: &mut Modifiers<'u>) -> Result<Op, ParseError> {
        let proxy = m.take("proxy");
        let tensormap = m.take("tensormap::generic");
        let asynchronous = m.take_any(&["async", "async::generic"]);
        let initialised = m.take("mbarrier_init");
        m.take_any(&["sc", "acq_rel", "acquire", "release", "alias"]);
        m.take_any(&["sync_restrict::shared::cta", "sync_restrict::shared::cluster"]);
        m.take_any(&["cta", "cluster", "gpu", "sys", "global", "shared::cta", "shared::cluster"]);
        self.at_most(s, if tensormap { 2 } else { 0 })?;
        Ok(match (proxy && asynchronous, initialised) {
            (true, _) => Op::FenceProxy,
            (_, true) => Op::FenceInit,
            _ => Op::Fence,
        })
    }

    fn mbarrier(&mut self, s: &'u Statement, m: &mut Modifiers<'u>) -> Result<Op, ParseError> {
        let kinds = [
            "init",
            "inval",
            "arrive",
            "arrive_drop",
            "expect_tx",
            "complete_tx",
            "test_wait",
            "try_wait",
            "pending_count",
        ];
        let kind = kinds.iter().find(|k| s.opcode.split('.').nth(1) == Some(k));
        let kind = *kind.ok_or_else(|| fail("the operation is missing"))?;
        m.take(kind);
        let relaxed = m.take("relaxed");
        m.take_any(&["release", "acquire", "cta", "cluster", "shared", "shared::cta", "shared::cluster", "b64"]);
        let op = match kind {
            "init" => Mbarrier::Init { addr: self.address(s, 0)?, count: self.source(s, 1, U32)? },
            "inval" => Mbarrier::Invalidate { addr: self.address(s, 0)? },
            "arrive" | "arrive_drop" => {
                let drop = kind == "arrive_drop";
                let expect = m.take("expect_tx");
                m.take("noComplete");
                // Without a state the address comes first.
                let stateless = matches!(self.operand(s, 0)?, Operand::Address(_));
                let first = usize::from(!stateless);
                let state = if stateless { None } else { Some(self.result(s, 0)?.0) };
                let addr = self.address(s, first)?;
                let value = if s.operands.len() > first + 1 { Some(self.source(s, first + 1, U32)?) } else { None };
                self.at_most(s, first + 2)?;
                let (count, bytes) = if expect { (None, value) } else { (value, None) };
                if expect && bytes.is_none() {
                    return Err(fail("the number of bytes is missing"));
                }
                Mbarrier::Arrive { state, addr, count, bytes, drop, relaxed }
            }
            "expect_tx" => Mbarrier::ExpectTx { addr: self.address(s, 0)?, bytes: self.source(s, 1, U32)? },
            "complete_tx" => Mbarrier::CompleteTx { addr: self.address(s, 0)?, bytes: self.source(s, 1, U32)? },
            "test_wait" | "try_wait" => {
                let parity = m.take("parity");
                let (done, _) = self.predicate(s, 0)?;
                let addr = self.address(s, 1)?;
                let value = self.source(s, 2, if parity { U32 } else { U64 })?;
                // The time limit of a try is a hint.
                self.at_most(s, if kind == "try_wait" { 4 } else { 3 })?;
                Mbarrier::Wait { done, addr, value, parity, blocking: kind == "try_wait", relaxed }
            }
            _ => Mbarrier::PendingCount { to: self.result(s, 0)?.0, state: self.source(s, 1, U64)? },
        };
        Ok(Op::Mbarrier(Box::new(op)))
    }
}
