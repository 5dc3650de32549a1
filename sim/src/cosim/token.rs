//! Tokens of random programs.

use tandem_isa::{Dep, Insn, Queue};

use super::transfer::Maker;
use crate::queue::{FIFOS, lane, pops, pushes};

/// Adds tokens so that every instruction waits for the one before it; flags that instructions had are dropped.
pub fn serialise(insns: &[Insn]) -> Vec<Insn> {
    let mut serial: Vec<Insn> = Vec::new();
    for insn in insns {
        let mut insn = *insn;
        if let Some(last) = serial.last() {
            let (from, to) = (last.queue(), insn.queue());
            if from != to && from != Queue::Compute && to != Queue::Compute {
                hand_over(&mut serial, Insn::nop(Queue::Compute, Dep::default()));
            }
            if from != to {
                *insn.dep_mut() = Dep::default();
                hand_over(&mut serial, insn);
                continue;
            }
        }
        *insn.dep_mut() = Dep::default();
        serial.push(insn);
    }
    serial
}

/// Appends an instruction of a neighbouring queue with a token from the last one.
fn hand_over(serial: &mut Vec<Insn>, mut insn: Insn) {
    let Some(last) = serial.last_mut() else { return };
    if last.queue().next() == Some(insn.queue()) {
        last.dep_mut().push_next = true;
        insn.dep_mut().pop_prev = true;
    } else {
        last.dep_mut().push_prev = true;
        insn.dep_mut().pop_next = true;
    }
    serial.push(insn);
}

/// Sets the flag of an instruction that pushes into a FIFO or pops from it.
pub(super) fn set_flag(insn: &mut Insn, fifo: usize, push: bool) {
    // Tokens of FIFOs 0 and 2 go to the next queue, those of 1 and 3 back to the previous one.
    let forward = fifo.is_multiple_of(2);
    let dep = insn.dep_mut();
    match (push, forward) {
        (true, true) => dep.push_next = true,
        (true, false) => dep.push_prev = true,
        (false, true) => dep.pop_prev = true,
        (false, false) => dep.pop_next = true,
    }
}

impl Maker<'_> {
    /// Inserts NOPs that push and NOPs that pop as many tokens, where a FIFO is empty and nothing else touches it, so that all
    /// other tokens go where they went.
    pub fn sprinkle(&mut self, insns: &mut Vec<Insn>) {
        for _ in 0..self.random.below(3) {
            let many = self.random.once_in(14) && self.config.token_queue_depth() > 330;
            let count = if many { 330 } else { self.random.between(1, 12) };
            let fifo = self.random.below(FIFOS.len() as u32) as usize;
            let Some(first) = self.empty(insns, fifo) else { continue };
            // Up to the next instruction that touches the FIFO, or FINISH.
            let others = insns.iter().skip(first);
            let quiet =
                others.take_while(|insn| touches(insn, fifo) == (false, false) && !matches!(insn, Insn::Finish(_)));
            let room = quiet.count();
            // Many tokens wait for as long as they can, so that they are there all at once.
            let second = first + if many { room } else { self.random.below(room as u32 + 1) as usize };
            let (mut pushing, popping) = (self.nops(fifo, count, true), self.nops(fifo, count, false));
            if !many && self.random.flag() {
                // In turns, so that tokens come and go at once; every pop behind its push.
                for (number, nop) in popping.into_iter().enumerate() {
                    pushing.insert(2 * number + 1 + self.random.below(count - number as u32) as usize, nop);
                }
            } else {
                insns.splice(second..second, popping);
            }
            insns.splice(first..first, pushing);
        }
        // Where the pops come first, nothing may stand between them and the pushes: it could be what the pushes wait for.
        let fifo = self.random.below(FIFOS.len() as u32) as usize;
        if let Some(depth) = self.config.insn_queue_depth()
            && self.random.once_in(3)
            && let Some(first) = self.empty(insns, fifo)
        {
            let long = self.random.once_in(20);
            let count = if long { 1 } else { self.random.between(1, 5) };
            let mut block = self.nops(fifo, count, false);
            if long {
                // As many as a queue holds, behind one that waits for a token.
                block.resize(depth, Insn::nop(FIFOS[fifo].1, Dep::default()));
            }
            block.extend(self.nops(fifo, count, true));
            insns.splice(first..first, block);
        }
    }

    /// A place in front of an instruction where a FIFO is empty when the stream runs in its own order.
    fn empty(&mut self, insns: &[Insn], fifo: usize) -> Option<usize> {
        let mut balance = 0i64;
        let mut free = Vec::new();
        for (at, insn) in insns.iter().enumerate() {
            if balance == 0 {
                free.push(at);
            }
            let (pushes, pops) = touches(insn, fifo);
            balance += i64::from(pushes) - i64::from(pops);
        }
        free.get(self.random.below(free.len() as u32) as usize).copied()
    }

    /// NOPs that each push into a FIFO or pop from it.
    fn nops(&mut self, fifo: usize, count: u32, push: bool) -> Vec<Insn> {
        let (from, to) = FIFOS[fifo];
        let mut nop = || {
            let mut nop = self.nop(if push { from } else { to });
            set_flag(&mut nop, fifo, push);
            nop
        };
        (0..count).map(|_| nop()).collect()
    }
}

/// Whether an instruction pushes into a FIFO, and whether it pops from it.
fn touches(insn: &Insn, fifo: usize) -> (bool, bool) {
    let queue = lane(insn.queue());
    (pushes(queue, insn.dep()).any(|f| f == fifo), pops(queue, insn.dep()).any(|f| f == fifo))
}
