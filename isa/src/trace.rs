//! What a run did: one event a line, comparable unit by unit.
//!
//! The three units run concurrently and are ordered by tokens only, so two correct runs may interleave their events differently.
//! Traces are compared per unit, never as one global order.

use std::fmt;
use std::str::FromStr;

use crate::{IsaError, Queue};

/// One thing a unit did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Event {
    /// An instruction began, after its tokens were popped.
    Begin {
        /// The unit.
        unit: Queue,
        /// Index in the instruction stream.
        insn: u32,
    },
    /// An instruction finished, before its tokens are pushed.
    Finish {
        /// The unit.
        unit: Queue,
        /// Index in the instruction stream.
        insn: u32,
    },
    /// A unit took a token that another one gave.
    Pop {
        /// The unit that took it.
        unit: Queue,
        /// Index in the instruction stream.
        insn: u32,
        /// The unit that gave it.
        from: Queue,
    },
    /// A unit gave a token to another one.
    Push {
        /// The unit that gave it.
        unit: Queue,
        /// Index in the instruction stream.
        insn: u32,
        /// The unit that may take it.
        to: Queue,
    },
    /// The store unit wrote a row of bytes to DRAM. A row is told as it stands once the instruction has finished, so that one
    /// that a later row of the same instruction overwrites is told with what that has left.
    Write {
        /// Index in the instruction stream.
        insn: u32,
        /// First byte address.
        addr: u32,
        /// Bytes written.
        bytes: u32,
        /// [`Event::digest`] of the bytes, as the finished store leaves them: rows may overlap.
        digest: u32,
    },
}

/// The events of a run, in the order one observer saw them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trace {
    /// The events.
    pub events: Vec<Event>,
}

/// The first difference between two traces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Divergence {
    /// The unit whose streams differ.
    pub unit: Queue,
    /// Position in that unit's stream.
    pub position: usize,
    /// What the left trace has there.
    pub left: Option<Event>,
    /// What the right trace has there.
    pub right: Option<Event>,
}

impl Event {
    /// The unit whose stream the event belongs to.
    pub fn unit(&self) -> Queue {
        match self {
            Event::Begin { unit, .. }
            | Event::Finish { unit, .. }
            | Event::Pop { unit, .. }
            | Event::Push { unit, .. } => *unit,
            Event::Write { .. } => Queue::Store,
        }
    }

    /// The instruction that did it.
    pub fn insn(&self) -> u32 {
        match self {
            Event::Begin { insn, .. }
            | Event::Finish { insn, .. }
            | Event::Pop { insn, .. }
            | Event::Push { insn, .. }
            | Event::Write { insn, .. } => *insn,
        }
    }

    /// The digest of written bytes: FNV-1a, 32 bits.
    pub fn digest(bytes: &[u8]) -> u32 {
        bytes.iter().fold(0x811c_9dc5, |hash, &byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
    }
}

impl Trace {
    /// The events of one unit, in order.
    pub fn unit(&self, unit: Queue) -> impl Iterator<Item = &Event> {
        self.events.iter().filter(move |event| event.unit() == unit)
    }

    /// The first difference between the streams of a unit, load before compute before store; `None` where all agree.
    pub fn compare(&self, other: &Trace) -> Option<Divergence> {
        Queue::ALL.into_iter().find_map(|unit| {
            let (mut left, mut right) = (self.unit(unit), other.unit(unit));
            (0..).find_map(|position| match (left.next().copied(), right.next().copied()) {
                (None, None) => Some(None),
                (left, right) if left != right => Some(Some(Divergence { unit, position, left, right })),
                _ => None,
            })?
        })
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Event::Begin { unit, insn } => write!(f, "{unit} {insn} begin"),
            Event::Finish { unit, insn } => write!(f, "{unit} {insn} finish"),
            Event::Pop { unit, insn, from } => write!(f, "{unit} {insn} pop {from}"),
            Event::Push { unit, insn, to } => write!(f, "{unit} {insn} push {to}"),
            Event::Write { insn, addr, bytes, digest } => {
                write!(f, "store {insn} write {addr:#x} {bytes} {digest:#010x}")
            }
        }
    }
}

impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.events.iter().try_for_each(|event| writeln!(f, "{event}"))
    }
}

impl fmt::Display for Divergence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let side = |event: Option<Event>| event.map_or("nothing".to_owned(), |event| format!("`{event}`"));
        let (left, right) = (side(self.left), side(self.right));
        write!(f, "the {} unit's event {} is {left} on one side and {right} on the other", self.unit, self.position)
    }
}

impl FromStr for Trace {
    type Err = IsaError;

    fn from_str(text: &str) -> Result<Trace, IsaError> {
        let mut events = Vec::new();
        for (index, line) in text.lines().enumerate() {
            let line = line.trim();
            if !line.is_empty() {
                events.push(parse_event(line).map_err(|problem| IsaError::TraceText { line: index + 1, problem })?);
            }
        }
        Ok(Trace { events })
    }
}

fn parse_event(line: &str) -> Result<Event, String> {
    let words: Vec<&str> = line.split_whitespace().take(8).collect();
    let queue = |word: &str| {
        let found = Queue::ALL.into_iter().find(|queue| queue.name() == word);
        found.ok_or_else(|| format!("`{word}` is no unit: use load, compute or store"))
    };
    let number = |word: &str| {
        let value = match word.strip_prefix("0x") {
            Some(hex) => u32::from_str_radix(hex, 16),
            None => word.parse(),
        };
        value.map_err(|_| format!("`{word}` is no 32-bit number"))
    };
    match words.as_slice() {
        [unit, insn, "begin"] => Ok(Event::Begin { unit: queue(unit)?, insn: number(insn)? }),
        [unit, insn, "finish"] => Ok(Event::Finish { unit: queue(unit)?, insn: number(insn)? }),
        [unit, insn, "pop", from] => Ok(Event::Pop { unit: queue(unit)?, insn: number(insn)?, from: queue(from)? }),
        [unit, insn, "push", to] => Ok(Event::Push { unit: queue(unit)?, insn: number(insn)?, to: queue(to)? }),
        ["store", insn, "write", addr, bytes, digest] => Ok(Event::Write {
            insn: number(insn)?,
            addr: number(addr)?,
            bytes: number(bytes)?,
            digest: number(digest)?,
        }),
        _ => Err(
            "an event is `UNIT INSN begin|finish`, `UNIT INSN pop|push UNIT` or `store INSN write ADDR BYTES DIGEST`"
                .into(),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Trace {
        Trace {
            events: vec![
                Event::Begin { unit: Queue::Load, insn: 0 },
                Event::Finish { unit: Queue::Load, insn: 0 },
                Event::Push { unit: Queue::Load, insn: 0, to: Queue::Compute },
                Event::Pop { unit: Queue::Compute, insn: 1, from: Queue::Load },
                Event::Begin { unit: Queue::Compute, insn: 1 },
                Event::Write { insn: 2, addr: 0x3000, bytes: 16, digest: Event::digest(&[1, 2, 3]) },
            ],
        }
    }

    #[test]
    fn a_trace_survives_its_text() {
        let text = sample().to_string();
        assert_eq!(text.lines().next_back(), Some("store 2 write 0x3000 16 0x56cf37ab"));
        assert_eq!(text.parse::<Trace>().unwrap(), sample());
    }

    #[test]
    fn interleavings_of_the_same_unit_streams_agree() {
        let mut other = sample();
        other.events.rotate_left(3);
        assert_eq!(sample().compare(&other), None);
    }

    #[test]
    fn the_first_difference_names_its_unit() {
        let mut other = sample();
        other.events.remove(4);
        let divergence = sample().compare(&other).unwrap();
        assert_eq!((divergence.unit, divergence.position, divergence.right), (Queue::Compute, 1, None));
        assert_eq!(
            divergence.to_string(),
            "the compute unit's event 1 is `compute 1 begin` on one side and nothing on the other"
        );
    }

    #[test]
    fn a_malformed_line_is_refused_with_its_number() {
        let error = "load 0 begin\nload x begin\n".parse::<Trace>().unwrap_err();
        assert_eq!(error.to_string(), "trace line 2: `x` is no 32-bit number");
        assert!("fetch 0 begin".parse::<Trace>().is_err());
        assert!("load 0 write 0 0 0".parse::<Trace>().is_err());
    }
}
