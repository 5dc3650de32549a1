//! A picture of launches: one track a unit, one slice an instruction, in the format that Chrome and Perfetto open.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io;

use tandem_isa::{HwConfig, Queue};

use super::collect::Fetched;
use super::diagnose::token_queue;
use super::sys::RawEvent;
use super::{Activity, UnitCycles, UnitState};

/// A stall inside an instruction is drawn from so many cycles on; shorter ones are in the numbers of the slice alone.
const DRAWN: u64 = 16;
/// The tracks, in the order of their numbers; the units first.
const TRACKS: [&str; 8] =
    ["load", "compute", "store", "fetch", "program", "load stalls", "compute stalls", "store stalls"];
/// How the text of a GEMM begins that clears sums.
const RESET: &str = "gemm reset";
/// The track of the launches.
const PROGRAM: usize = 4;
/// The track of a unit's stalls comes so many after the unit's own.
const STALLS: usize = 5;

/// What each unit did and when, over one or several launches.
///
/// # Units
/// One cycle is one microsecond of the picture, since its format has no cycles.
///
/// Slices of a track do not overlap, and their `args` hold the cycles by state; added up over the track of a unit they are
/// [`Activity`]'s numbers, idle cycles being the gaps. What an instruction waited for is drawn once more below its unit, on a
/// track of stalls.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Timeline {
    slices: Vec<Slice>,
    activity: Activity,
    launches: u32,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Slice {
    track: usize,
    category: &'static str,
    name: Box<str>,
    insn: Option<u32>,
    /// Cycles since the first launch.
    begin: u64,
    end: u64,
    cycles: UnitCycles,
}

/// What a track is in the middle of.
#[derive(Clone, Copy, Debug)]
struct Open {
    state: UnitState,
    insn: u32,
    /// Since when the state holds.
    since: u64,
    /// The first cycle of the slice.
    begin: u64,
    cycles: UnitCycles,
}

/// Makes a [`Timeline`] from the records of the simulation.
#[derive(Debug, Default)]
pub(super) struct Recorder {
    timeline: Timeline,
    origin: Option<u64>,
    open: [Option<Open>; 4],
    launched: Option<u64>,
}

/// The kinds of states that share a slice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Gap,
    Token(UnitState, u32),
    Instruction(u32),
    /// Fetch has no instruction at hand; each of its states is a slice.
    Fetch(UnitState),
}

impl Recorder {
    /// What happened in one cycle; the states hold until the next record.
    pub fn record(&mut self, event: &RawEvent, fetched: &Fetched, config: &HwConfig) {
        let origin = *self.origin.get_or_insert(event.cycle);
        let now = event.cycle.saturating_sub(origin);
        let running = event.running != 0;
        if running && self.launched.is_none() {
            self.launched = Some(now);
        }
        for track in 0..4 {
            let state = UnitState::of(event.state[track]);
            let insn = if state == UnitState::Idle { 0 } else { event.insn.get(track).copied().unwrap_or(0) };
            let next = running.then_some((state, insn));
            self.advance(track, next, now, fetched, config);
        }
        if !running && let Some(begin) = self.launched.take() {
            self.timeline.launches += 1;
            let name = format!("launch {}", self.timeline.launches).into();
            let cycles = UnitCycles::default();
            self.timeline.slices.push(Slice {
                track: PROGRAM,
                category: "launch",
                name,
                insn: None,
                begin,
                end: now,
                cycles,
            });
        }
    }

    /// Ends whatever is open: the program was abandoned, or hangs. Cycle `now` is the last that was counted.
    pub fn close(&mut self, now: u64, fetched: &Fetched, config: &HwConfig) {
        if self.launched.is_some() {
            let end = RawEvent {
                cycle: now + 1,
                begin: 0,
                finish: 0,
                push: 0,
                pop: 0,
                state: [0; 4],
                insn: [0; 3],
                running: 0,
            };
            self.record(&end, fetched, config);
        }
    }

    /// The picture of all launches so far, whose activity is given.
    pub fn timeline(&self, activity: Activity) -> Timeline {
        Timeline { activity, ..self.timeline.clone() }
    }

    fn advance(
        &mut self,
        track: usize,
        next: Option<(UnitState, u32)>,
        now: u64,
        fetched: &Fetched,
        config: &HwConfig,
    ) {
        if let Some(open) = &mut self.open[track] {
            if next == Some((open.state, open.insn)) {
                return;
            }
            let (since, state) = (open.since, open.state);
            open.cycles.0[state as usize] += now - since;
            open.since = now;
            let stalled = matches!(kind(track, state, open.insn), Kind::Instruction(_)) && state != UnitState::Busy;
            if stalled && now - since >= DRAWN {
                let mut cycles = UnitCycles::default();
                cycles.0[state as usize] = now - since;
                let (name, insn) = (stall(state).into(), Some(open.insn));
                self.timeline.slices.push(Slice {
                    track: track + STALLS,
                    category: "stall",
                    name,
                    insn,
                    begin: since,
                    end: now,
                    cycles,
                });
            }
        }
        let same = |open: &Open| next.is_some_and(|(s, i)| kind(track, s, i) == kind(track, open.state, open.insn));
        match (&mut self.open[track], next) {
            (Some(open), Some((state, _))) if same(open) => open.state = state,
            (open, next) => {
                let fresh = next.map(|(state, insn)| Open {
                    state,
                    insn,
                    since: now,
                    begin: now,
                    cycles: UnitCycles::default(),
                });
                if let Some(done) = std::mem::replace(open, fresh) {
                    self.timeline.slices.extend(slice(track, &done, now, fetched, config));
                }
            }
        }
    }
}

impl Timeline {
    /// What the launches in the picture did with their cycles.
    pub fn activity(&self) -> &Activity {
        &self.activity
    }

    /// The cycles of a unit by state, added up over its slices; `None` is the instruction fetch. Idle cycles are those of the
    /// launches that no slice covers.
    pub fn cycles(&self, unit: Option<Queue>) -> UnitCycles {
        let track = unit.map_or(3, crate::queue::lane);
        let own = self.slices.iter().filter(|slice| slice.track == track);
        let mut sum = own.fold(UnitCycles::default(), |sum, slice| sum + slice.cycles);
        let launched: u64 = self.slices.iter().filter(|s| s.track == PROGRAM).map(|s| s.end - s.begin).sum();
        sum.0[UnitState::Idle as usize] = launched.saturating_sub(sum.total());
        sum
    }

    /// The cycles of a unit by the first word of its instructions' text, such as `gemm` or `load.acc`; `gemm reset` is apart from
    /// `gemm`, as it multiplies nothing. Waits for tokens are under `wait`; what no slice covers is nowhere.
    pub fn by_instruction(&self, unit: Queue) -> BTreeMap<&str, UnitCycles> {
        let mut sums: BTreeMap<&str, UnitCycles> = BTreeMap::new();
        for slice in self.slices.iter().filter(|slice| slice.track == crate::queue::lane(unit)) {
            let name = match slice.name.split(' ').next() {
                _ if slice.name.starts_with(RESET) => RESET,
                Some(word) => word,
                None => continue,
            };
            let sum = sums.entry(name).or_default();
            *sum = *sum + slice.cycles;
        }
        sums
    }

    /// Writes the JSON of Chrome's trace viewer and of Perfetto.
    ///
    /// # Errors
    /// Those of the writer.
    pub fn write(&self, to: &mut dyn io::Write) -> io::Result<()> {
        let mut line = String::from("{\"displayTimeUnit\":\"ns\",\"otherData\":{\"unit\":\"1 us is 1 cycle\"");
        let _ = write!(line, ",\"launches\":{},\"cycles\":{}", self.launches, self.activity.cycles);
        for (track, cycles) in self.activity.units.iter().chain([&self.activity.fetch]).enumerate() {
            let _ = write!(line, ",\"{}\":{{{}}}", TRACKS[track], by_state(cycles, true));
        }
        line.push_str("},\n\"traceEvents\":[\n");
        line.push_str("{\"ph\":\"M\",\"pid\":1,\"name\":\"process_name\",\"args\":{\"name\":\"tandem\"}}");
        for (tid, name) in TRACKS.iter().enumerate() {
            let _ = write!(
                line,
                ",\n{{\"ph\":\"M\",\"pid\":1,\"tid\":{tid},\"name\":\"thread_name\",\"args\":{{\"name\":\"{name}\"}}}}"
            );
        }
        to.write_all(line.as_bytes())?;
        for slice in &self.slices {
            line.clear();
            let (begin, dur) = (slice.begin, slice.end - slice.begin);
            let (track, category) = (slice.track, slice.category);
            let _ = write!(line, ",\n{{\"ph\":\"X\",\"pid\":1,\"tid\":{track},\"ts\":{begin},\"dur\":{dur}");
            let _ = write!(line, ",\"cat\":\"{category}\",\"name\":\"{}\",\"args\":{{", escaped(&slice.name));
            let insn = slice.insn.map(|insn| format!("\"insn\":{insn}"));
            let cycles = Some(by_state(&slice.cycles, false)).filter(|text| !text.is_empty());
            let parts: Vec<String> = insn.into_iter().chain(cycles).collect();
            let _ = write!(line, "{}}}}}", parts.join(","));
            to.write_all(line.as_bytes())?;
        }
        to.write_all(b"\n]}\n")
    }
}

fn kind(track: usize, state: UnitState, insn: u32) -> Kind {
    match state {
        UnitState::Idle => Kind::Gap,
        _ if track == 3 => Kind::Fetch(state),
        UnitState::TokenFromPrev | UnitState::TokenFromNext => Kind::Token(state, insn),
        _ => Kind::Instruction(insn),
    }
}

/// The slice of something that has ended; none for a gap.
fn slice(track: usize, done: &Open, end: u64, fetched: &Fetched, config: &HwConfig) -> Option<Slice> {
    let (category, name, insn): (_, Box<str>, _) = match kind(track, done.state, done.insn) {
        Kind::Gap => return None,
        Kind::Fetch(UnitState::Busy) => ("instruction", "fetch".into(), None),
        Kind::Fetch(state) => ("wait", stall(state).into(), None),
        Kind::Token(state, insn) => {
            let from = Queue::ALL.get(track).and_then(|&unit| token_queue(unit, state));
            let name = from.map_or_else(|| "wait token".to_owned(), |(from, _)| format!("wait token from {from}"));
            ("wait", name.into(), Some(insn))
        }
        Kind::Instruction(insn) => ("instruction", fetched.place(insn, config).text, Some(insn)),
    };
    Some(Slice { track, category, name, insn, begin: done.begin, end, cycles: done.cycles })
}

fn stall(state: UnitState) -> &'static str {
    match state {
        UnitState::Idle | UnitState::Busy => "busy",
        UnitState::TokenFromPrev | UnitState::TokenFromNext => "wait token",
        UnitState::ReadData => "wait read data",
        UnitState::WriteChannel => "wait write channel",
        UnitState::Hazard => "wait own pipeline",
        UnitState::QueueRoom => "wait queue room",
    }
}

/// The states of a JSON object that are not zero, or all of them.
fn by_state(cycles: &UnitCycles, all: bool) -> String {
    let states = UnitState::ALL.iter().filter(|&&state| all || cycles.of(state) > 0);
    states.map(|&state| format!("\"{}\":{}", state.name(), cycles.of(state))).collect::<Vec<_>>().join(",")
}

/// A text as it stands between the quotes of a JSON string.
fn escaped(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut out, c| {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            c if u32::from(c) < 0x20 => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
        out
    })
}
