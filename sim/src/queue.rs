//! The instruction stream cut into three queues, and the four token FIFOs between them.

use tandem_isa::{Dep, HwConfig, Insn, Queue};

use crate::error::{Cause, Place, Unfetched};
use crate::{Blocked, SimError};

/// Position of a queue in arrays.
pub(crate) fn lane(queue: Queue) -> usize {
    match queue {
        Queue::Load => 0,
        Queue::Compute => 1,
        Queue::Store => 2,
    }
}

/// The FIFOs by number: who pushes and who pops.
pub(crate) const FIFOS: [(Queue, Queue); 4] = [
    (Queue::Load, Queue::Compute),
    (Queue::Compute, Queue::Load),
    (Queue::Compute, Queue::Store),
    (Queue::Store, Queue::Compute),
];

/// A decoded instruction stream.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stream {
    pub insns: Vec<Insn>,
    /// Indices of the instructions of each queue, in order.
    pub queues: [Vec<u32>; 3],
    limits: Limits,
}

/// What the queues of a machine hold.
#[derive(Clone, Copy, Debug, Default)]
struct Limits {
    /// As [`HwConfig::insn_queue_depth`].
    insns: Option<usize>,
    tokens: u32,
}

/// How far each queue is, and the tokens between them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Progress {
    /// Instructions begun by each queue.
    pub next: [usize; 3],
    /// Tokens in each FIFO.
    pub tokens: [u32; 4],
    /// Instructions fetched, in the order of the stream, and how many of them belong to each queue.
    pub fetched: usize,
    pub entered: [usize; 3],
}

impl Stream {
    /// Cuts a stream into queues.
    ///
    /// # Errors
    /// [`SimError::NoFinish`] where FINISH is not the last instruction and only there.
    pub fn new(insns: Vec<Insn>, config: &HwConfig) -> Result<Stream, SimError> {
        let finish = insns.iter().position(|insn| matches!(insn, Insn::Finish(_)));
        if finish.is_none_or(|at| at + 1 != insns.len()) {
            return Err(SimError::NoFinish { finish, count: insns.len() });
        }
        let mut queues: [Vec<u32>; 3] = Default::default();
        for (index, insn) in insns.iter().enumerate() {
            // INSN_COUNT has 32 bits.
            queues[lane(insn.queue())].push(index as u32);
        }
        let limits = Limits { insns: config.insn_queue_depth(), tokens: config.token_queue_depth() };
        Ok(Stream { insns, queues, limits })
    }

    /// An instruction as errors name it.
    pub fn place(&self, insn: usize) -> Place {
        Place { insn, text: self.insns.get(insn).map(|insn| insn.to_string().into()).unwrap_or_default() }
    }

    /// The instruction at the head of a queue.
    pub fn head(&self, progress: &Progress, queue: usize) -> Option<(usize, &Insn)> {
        let index = *self.queues[queue].get(progress.next[queue])? as usize;
        Some((index, self.insns.get(index)?))
    }

    /// Fetches until a queue is full: what is behind an instruction that finds no room stays invisible. Without queues an
    /// instruction is fetched when every earlier one has finished.
    pub fn fetch(&self, progress: &mut Progress) {
        while let Some(insn) = self.insns.get(progress.fetched) {
            let queue = lane(insn.queue());
            let full = match self.limits.insns {
                Some(depth) => progress.entered[queue] - progress.next[queue] >= depth,
                None => progress.entered != progress.next,
            };
            if full {
                break;
            }
            progress.entered[queue] += 1;
            progress.fetched += 1;
        }
    }

    /// Whether the head of a queue has been fetched, its tokens are there, and there is room for those that it pushes.
    pub fn ready(&self, progress: &Progress, queue: usize) -> bool {
        if progress.next[queue] >= progress.entered[queue] {
            return false;
        }
        let Some((_, insn)) = self.head(progress, queue) else { return false };
        pops(queue, insn.dep()).all(|fifo| progress.tokens[fifo] > 0)
            && pushes(queue, insn.dep()).all(|fifo| progress.tokens[fifo] < self.limits.tokens)
    }

    /// What to report when no queue is ready: nothing where all are done and no token is left.
    pub fn end(&self, progress: &Progress) -> Result<(), SimError> {
        let mut blocked: Vec<Blocked> = Vec::new();
        for (at, queue) in Queue::ALL.into_iter().enumerate() {
            // What has not been fetched waits for the units that fill the queues, and they wait for tokens.
            let Some((index, insn)) = self.head(progress, at).filter(|(index, _)| *index < progress.fetched) else {
                continue;
            };
            let missing = pops(at, insn.dep()).find(|&fifo| progress.tokens[fifo] == 0);
            let full = || pushes(at, insn.dep()).find(|&fifo| progress.tokens[fifo] >= self.limits.tokens);
            let cause = match missing {
                Some(fifo) => Cause::Token { from: FIFOS[fifo].0, unfetched: self.unfetched(progress, fifo) },
                None => match full() {
                    Some(fifo) => Cause::Room { to: FIFOS[fifo].1, depth: self.limits.tokens },
                    None => continue,
                },
            };
            blocked.push(Blocked { queue, at: self.place(index), cause });
        }
        if !blocked.is_empty() {
            blocked.sort_by_key(|blocked| blocked.at.insn);
            return Err(SimError::Deadlock { blocked });
        }
        match progress.tokens.iter().position(|&tokens| tokens > 0) {
            Some(fifo) => Err(self.surplus(progress, fifo)),
            None => Ok(()),
        }
    }

    /// The instruction that would push the next token of a FIFO, where it exists and has not been fetched.
    fn unfetched(&self, progress: &Progress, fifo: usize) -> Option<Unfetched> {
        let from = lane(FIFOS[fifo].0);
        let mut waiting = self.queues[from].get(progress.next[from]..)?.iter().map(|&index| index as usize);
        let pusher = waiting
            .find(|&index| self.insns.get(index).is_some_and(|i| pushes(from, i.dep()).any(|pushed| pushed == fifo)))?;
        let full = self.insns.get(progress.fetched)?.queue();
        let depth = self.limits.insns;
        (pusher >= progress.fetched).then(|| Unfetched { needed: self.place(pusher), full, depth })
    }

    /// Tokens come out in the order they went in, so the first one left was pushed right after all that were popped.
    fn surplus(&self, progress: &Progress, fifo: usize) -> SimError {
        let (from, to) = FIFOS[fifo];
        let count = progress.tokens[fifo];
        let pushers: Vec<usize> = self.queues[lane(from)]
            .iter()
            .map(|&index| index as usize)
            .filter(|&index| self.insns.get(index).is_some_and(|i| pushes(lane(from), i.dep()).any(|f| f == fifo)))
            .collect();
        let first = pushers.len().checked_sub(count as usize).and_then(|at| pushers.get(at).copied());
        SimError::Surplus { from, to, count, pushed_by: self.place(first.unwrap_or_default()) }
    }
}

/// The FIFOs that an instruction of a queue pops.
pub(crate) fn pops(queue: usize, dep: Dep) -> impl Iterator<Item = usize> {
    // By queue: what `pop_prev` and `pop_next` mean. The decoder refuses flags towards a neighbour that is not there.
    let (prev, next) = [(None, Some(1)), (Some(0), Some(3)), (Some(2), None)][queue.min(2)];
    prev.filter(|_| dep.pop_prev).into_iter().chain(next.filter(|_| dep.pop_next))
}

/// The FIFOs that an instruction of a queue pushes.
pub(crate) fn pushes(queue: usize, dep: Dep) -> impl Iterator<Item = usize> {
    let (prev, next) = [(None, Some(0)), (Some(1), Some(2)), (Some(3), None)][queue.min(2)];
    prev.filter(|_| dep.push_prev).into_iter().chain(next.filter(|_| dep.push_next))
}
