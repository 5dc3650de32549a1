//! A profile on another clock: what was run, as the executor would have run it had everything taken other durations.
//!
//! A simulated device takes this host's time for its simulation, and its own time in cycles. The replay gives every run the time of its
//! device, follows the executor's rules, and so puts all devices on one time axis:
//!
//! - a segment is staged once what it reads is on the host, the oldest request's first, and computes once it is staged and the run
//!   before it has ended;
//! - staging and collecting of a device take turns, beside its computing; a queue that has nothing to stage waits for the end of the
//!   run that computes; and [`SLOTS`] runs of a device are under way at most;
//! - as many requests are under way as in the run: the next one is let in when one ends, and what was handed in together begins when
//!   all before it has ended.

use crate::backend::SLOTS;
use crate::{Profile, Round, Span};
use std::collections::{HashMap, VecDeque};
use std::ops::Range;
use tandem_plan::Device;

/// What a replay gives.
#[derive(Clone, Debug, PartialEq)]
pub struct Timeline {
    /// When each span's phases are, in the order of staging.
    pub runs: Vec<Replayed>,
    /// When each request is let in, and when it ends, in seconds.
    pub requests: Vec<(f64, f64)>,
    /// How long each device is busy.
    pub loads: Vec<Load>,
    /// Samples of all requests.
    pub samples: u64,
    /// When the last request ends.
    pub seconds: f64,
}

/// A span of the profile on the other clock. Phases are begin and end in seconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Replayed {
    /// The span.
    pub span: Span,
    /// Who ran it.
    pub device: Device,
    /// Inputs go to the device.
    pub stage: (f64, f64),
    /// The device computes.
    pub compute: (f64, f64),
    /// Results come back.
    pub collect: (f64, f64),
}

/// How long a device is busy in a replay.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Load {
    /// The device.
    pub device: Device,
    /// Seconds that it computes.
    pub compute_seconds: f64,
    /// Seconds of copies to it and from it.
    pub copy_seconds: f64,
}

impl Load {
    /// The longer of the two: a stage of a pipeline, as computing and copying go on beside each other.
    pub fn stage_seconds(&self) -> f64 {
        self.compute_seconds.max(self.copy_seconds)
    }
}

impl Timeline {
    /// Samples a second.
    pub fn throughput(&self) -> f64 {
        self.samples as f64 / self.seconds
    }

    /// The device that bounds the throughput of a pipeline; `None` where nothing ran.
    pub fn slowest(&self) -> Option<Load> {
        self.loads.iter().copied().max_by(|a, b| a.stage_seconds().total_cmp(&b.stage_seconds()))
    }

    /// The throughput as a part of what the slowest device alone would reach; `None` where nothing ran.
    pub fn efficiency(&self) -> Option<f64> {
        self.slowest().map(|load| load.stage_seconds() / self.seconds)
    }

    /// The requests of this range as a timeline of their own, which begins when the first of them is let in. Requests keep their
    /// numbers in [`Span::request`], and the times of others that are under way beside them are left out.
    pub fn part(&self, range: Range<usize>) -> Timeline {
        let requests = self.requests.get(range.clone()).unwrap_or_default();
        let zero = requests.iter().map(|(begin, _)| *begin).fold(f64::INFINITY, f64::min);
        let shift = |(begin, end): (f64, f64)| (begin - zero, end - zero);
        let requests: Vec<(f64, f64)> = requests.iter().copied().map(shift).collect();
        let own = self.runs.iter().filter(|run| range.contains(&(run.span.request as usize)));
        let runs: Vec<Replayed> = own
            .map(|run| Replayed {
                stage: shift(run.stage),
                compute: shift(run.compute),
                collect: shift(run.collect),
                ..*run
            })
            .collect();
        let mut loads: Vec<Load> = Vec::new();
        let mut samples: HashMap<u64, u64> = HashMap::new();
        let length = |(begin, end): (f64, f64)| end - begin;
        for run in &runs {
            samples.insert(run.span.request, run.span.samples);
            let (compute_seconds, copy_seconds) = (length(run.compute), length(run.stage) + length(run.collect));
            match loads.iter_mut().find(|load| load.device == run.device) {
                Some(load) => {
                    load.compute_seconds += compute_seconds;
                    load.copy_seconds += copy_seconds;
                }
                None => loads.push(Load { device: run.device, compute_seconds, copy_seconds }),
            }
        }
        let seconds = requests.iter().map(|(_, end)| *end).fold(0.0, f64::max);
        Timeline { runs, requests, loads, samples: samples.values().sum(), seconds }
    }
}

/// A device, and how far it is.
struct Lane {
    device: Device,
    /// Spans that can be staged, and since when.
    ready: Vec<(usize, f64)>,
    /// Spans that were staged and not collected, by their indices in the runs.
    under_way: VecDeque<usize>,
    /// When the host has done the copy before, and when the device the run before.
    copies_end: f64,
    compute_end: f64,
    load: Load,
}

/// What can be done next.
#[derive(Clone, Copy, PartialEq)]
enum Action {
    Collect,
    /// A place in [`Lane::ready`].
    Stage(usize),
}

/// Lets requests in.
struct Gate<'a> {
    rounds: &'a [Round],
    /// Requests that are not let in yet, in order.
    waiting: &'a [u64],
    under_way: usize,
    /// Index of the round whose requests are let in.
    round: usize,
}

impl<'a> Gate<'a> {
    /// Those that come in now.
    fn admit(&mut self) -> std::slice::Iter<'a, u64> {
        if self.under_way == 0
            && let Some(first) = self.waiting.first()
        {
            self.round = self.rounds.partition_point(|round| round.first <= *first).saturating_sub(1);
        }
        let in_flight = self.rounds.get(self.round).map_or(1, |round| round.in_flight);
        let end = self.rounds.get(self.round + 1).map_or(u64::MAX, |next| next.first);
        let of_round = self.waiting.partition_point(|&request| request < end);
        let (come, stay) = self.waiting.split_at(of_round.min(in_flight.saturating_sub(self.under_way)));
        self.waiting = stay;
        self.under_way += come.len();
        come.iter()
    }
}

/// A replay under way.
struct Replay<'a> {
    profile: &'a Profile,
    /// The span of a request and a segment.
    span_of: HashMap<(u64, usize), usize>,
    /// For every segment those that read what it makes.
    feeds: Vec<Vec<usize>>,
    lanes: Vec<Lane>,
    runs: Vec<Replayed>,
    /// By span: how many segments it waits for, and when the last of those that are done was.
    missing: Vec<(usize, f64)>,
    /// By request: spans that are left, when it came in, when it ended.
    requests: HashMap<u64, (usize, f64, f64)>,
}

impl Profile {
    /// The runs of the profile with these durations of stage, compute and collect, in seconds. `None` where the profile does not hold all
    /// runs, as it is limited.
    pub fn replay(&self, seconds: &dyn Fn(&Span) -> [f64; 3]) -> Option<Timeline> {
        if self.is_cut() {
            return None;
        }
        let mut replay = Replay::new(self)?;
        let mut numbers: Vec<u64> = replay.requests.keys().copied().collect();
        numbers.sort_unstable();
        let mut gate = Gate { rounds: &self.rounds, waiting: &numbers, under_way: 0, round: 0 };
        let mut last = 0f64;
        gate.admit().try_for_each(|&request| replay.begin(request, 0.0))?;
        // Whatever can be done first is done next; what it makes possible comes later than itself.
        while let Some((begin, action, lane)) = replay.next() {
            let ended = match action {
                Action::Stage(at) => {
                    replay.stage(lane, at, begin, seconds);
                    None
                }
                Action::Collect => replay.collect(lane, begin, seconds)?,
            };
            if let Some(end) = ended {
                gate.under_way -= 1;
                last = last.max(end);
                // A round begins when all of the one before have ended.
                let since = if gate.under_way == 0 { last } else { end };
                gate.admit().try_for_each(|&request| replay.begin(request, since))?;
            }
        }
        let samples: HashMap<u64, u64> = self.spans.iter().map(|span| (span.request, span.samples)).collect();
        let whole =
            |number| replay.requests.get(number).filter(|(left, ..)| *left == 0).map(|&(_, begin, end)| (begin, end));
        let requests: Option<Vec<(f64, f64)>> = numbers.iter().map(whole).collect();
        let (requests, loads) = (requests?, replay.lanes.iter().map(|lane| lane.load).collect());
        Some(Timeline { runs: replay.runs, requests, loads, samples: samples.values().sum(), seconds: last })
    }
}

impl<'a> Replay<'a> {
    fn new(profile: &'a Profile) -> Option<Replay<'a>> {
        let mut replay = Replay {
            profile,
            span_of: HashMap::new(),
            feeds: vec![Vec::new(); profile.needs.len()],
            lanes: Vec::new(),
            runs: Vec::with_capacity(profile.spans.len()),
            missing: Vec::with_capacity(profile.spans.len()),
            requests: HashMap::new(),
        };
        for (segment, needs) in profile.needs.iter().enumerate() {
            needs.iter().for_each(|&need| replay.feeds[need].push(segment));
        }
        for (i, span) in profile.spans.iter().enumerate() {
            let device = profile.segments.get(span.row)?.device;
            if !replay.lanes.iter().any(|lane| lane.device == device) {
                replay.lanes.push(Lane::new(device));
            }
            replay.span_of.insert((span.request, span.segment), i);
            replay.missing.push((profile.needs.get(span.segment)?.len(), 0.0));
            replay.requests.entry(span.request).or_insert((0, 0.0, 0.0)).0 += 1;
        }
        Some(replay)
    }

    /// Lets a request in.
    fn begin(&mut self, request: u64, since: f64) -> Option<()> {
        self.requests.get_mut(&request)?.1 = since;
        let first = (0..self.profile.needs.len()).filter(|&segment| self.profile.needs[segment].is_empty());
        let first: Vec<usize> = first.filter_map(|s| self.span_of.get(&(request, s)).copied()).collect();
        first.into_iter().try_for_each(|span| self.make_ready(span, since))
    }

    fn make_ready(&mut self, span: usize, since: f64) -> Option<()> {
        let device = self.profile.segments.get(self.profile.spans[span].row)?.device;
        self.lanes.iter_mut().find(|lane| lane.device == device)?.ready.push((span, since));
        Some(())
    }

    /// What can be done first, on which lane. Of several runs that a device could stage, the oldest request's goes first, and the
    /// plan's order decides within it.
    fn next(&self) -> Option<(f64, Action, usize)> {
        let of = |(l, lane): (usize, &Lane)| {
            let collect =
                lane.under_way.front().map(|&run| (self.runs[run].compute.1.max(lane.copies_end), Action::Collect, l));
            let room = lane.under_way.len() < SLOTS;
            let order = |&(at, begin): &(usize, f64)| {
                let span = &self.profile.spans[lane.ready[at].0];
                (begin, span.request, span.segment)
            };
            // A queue that has nothing to stage waits for the run that computes, and does not look before its end.
            let looks = |since: f64| room && (lane.under_way.is_empty() || since <= lane.copies_end);
            let begins = lane.ready.iter().enumerate().filter(|(_, (_, since))| looks(*since));
            let begins = begins.map(|(at, (_, since))| (at, since.max(lane.copies_end)));
            let stage = begins.min_by(|a, b| {
                let ((begin, request, segment), other) = (order(a), order(b));
                begin.total_cmp(&other.0).then((request, segment).cmp(&(other.1, other.2)))
            });
            [collect, stage.map(|(at, begin)| (begin, Action::Stage(at), l))]
        };
        let all = self.lanes.iter().enumerate().flat_map(of).flatten();
        all.min_by(|a, b| a.0.total_cmp(&b.0).then((a.1 != Action::Collect).cmp(&(b.1 != Action::Collect))))
    }

    fn stage(&mut self, lane: usize, at: usize, begin: f64, seconds: &dyn Fn(&Span) -> [f64; 3]) {
        let lane = &mut self.lanes[lane];
        let span = self.profile.spans[lane.ready.swap_remove(at).0];
        let [stage, compute, _] = seconds(&span);
        lane.copies_end = begin + stage;
        let start = lane.copies_end.max(lane.compute_end);
        lane.compute_end = start + compute;
        lane.load.copy_seconds += stage;
        lane.load.compute_seconds += compute;
        lane.under_way.push_back(self.runs.len());
        let (stage, compute) = ((begin, lane.copies_end), (start, lane.compute_end));
        self.runs.push(Replayed { span, device: lane.device, stage, compute, collect: (0.0, 0.0) });
    }

    /// Gives when the request ended, where this was the last of it.
    fn collect(&mut self, lane: usize, begin: f64, seconds: &dyn Fn(&Span) -> [f64; 3]) -> Option<Option<f64>> {
        let lane = &mut self.lanes[lane];
        let run = lane.under_way.pop_front()?;
        let span = self.runs[run].span;
        let [_, _, collect] = seconds(&span);
        let end = begin + collect;
        lane.copies_end = end;
        lane.load.copy_seconds += collect;
        self.runs[run].collect = (begin, end);
        for reader in self.feeds.get(span.segment)?.clone() {
            let Some(&i) = self.span_of.get(&(span.request, reader)) else { continue };
            let (missing, since) = &mut self.missing[i];
            (*missing, *since) = (*missing - 1, since.max(end));
            if *missing == 0 {
                let since = *since;
                self.make_ready(i, since)?;
            }
        }
        let (left, _, latest) = self.requests.get_mut(&span.request)?;
        (*left, *latest) = (*left - 1, latest.max(end));
        Some((*left == 0).then_some(*latest))
    }
}

impl Lane {
    fn new(device: Device) -> Lane {
        let load = Load { device, compute_seconds: 0.0, copy_seconds: 0.0 };
        Lane { device, ready: Vec::new(), under_way: VecDeque::new(), copies_end: 0.0, compute_end: 0.0, load }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SegmentProfile;
    use std::time::Duration;

    /// Segment 0 on the CPU, segment 1 on the accelerator, which needs it; so many requests, in order.
    fn profile(requests: u64, in_flight: usize) -> Profile {
        let row = |device| SegmentProfile {
            device,
            ops: String::new(),
            wall: Duration::ZERO,
            samples: 0,
            copied: crate::Copied::default(),
            counters: None,
        };
        let mut profile = Profile {
            segments: vec![row(Device::Cpu), row(Device::Vta(0))],
            needs: vec![vec![], vec![0]],
            rounds: vec![Round { first: 0, in_flight }],
            ..Profile::default()
        };
        for request in 0..requests {
            for segment in 0..2 {
                let mut span =
                    Span { row: segment, segment, request, sample: 3 * request, samples: 3, ..Span::default() };
                span.phases.compute.begin = Duration::from_millis(10 * request + segment as u64);
                profile.spans.push(span);
            }
        }
        profile
    }

    /// The CPU takes 2 s; the accelerator 1 s to copy in, 4 s to compute, 0.5 s to copy out.
    fn seconds(span: &Span) -> [f64; 3] {
        if span.segment == 0 { [0.0, 2.0, 0.0] } else { [1.0, 4.0, 0.5] }
    }

    #[test]
    fn one_request_at_a_time_takes_the_sum() {
        let timeline = profile(3, 1).replay(&seconds).unwrap();
        assert_eq!(timeline.requests, [(0.0, 7.5), (7.5, 15.0), (15.0, 22.5)]);
        assert_eq!((timeline.seconds, timeline.samples), (22.5, 9));
        assert_eq!(timeline.slowest().unwrap().device, Device::Vta(0));
        assert_eq!(timeline.efficiency(), Some(12.0 / 22.5));
    }

    #[test]
    fn a_pipeline_settles_at_its_slowest_stage_and_copies_hide_behind_computing() {
        let timeline = profile(64, 4).replay(&seconds).unwrap();
        // The first one: 2, 1, 4, 0.5; the second is staged behind it: 1; then 4 a request; drain: 0.5.
        assert_eq!(timeline.seconds, 7.5 + 1.0 + 63.0 * 4.0 + 0.5);
        let second = &timeline.runs.iter().find(|run| run.span.request == 1 && run.span.segment == 1).unwrap();
        assert_eq!((second.stage, second.compute, second.collect), ((7.5, 8.5), (8.5, 12.5), (12.5, 13.0)));
        assert!(timeline.efficiency().unwrap() > 0.98);
        let cpu = timeline.loads.iter().find(|load| load.device == Device::Cpu).unwrap();
        assert_eq!(cpu.compute_seconds, 128.0);
    }

    #[test]
    fn a_part_of_a_timeline_begins_at_its_first_request_and_has_its_own_loads() {
        let timeline = profile(5, 1).replay(&seconds).unwrap();
        let part = timeline.part(2..4);
        assert_eq!(part.requests, [(0.0, 7.5), (7.5, 15.0)]);
        assert_eq!((part.seconds, part.samples, part.runs.len()), (15.0, 6, 4));
        let vta = part.loads.iter().find(|load| load.device == Device::Vta(0)).unwrap();
        assert_eq!((vta.compute_seconds, vta.copy_seconds), (8.0, 3.0));
        assert_eq!(part.runs.iter().map(|run| run.compute.0).fold(f64::INFINITY, f64::min), 0.0);
        assert_eq!(timeline.part(0..5).throughput(), timeline.throughput());
        assert!(timeline.part(9..12).runs.is_empty());
    }

    #[test]
    fn two_under_way_is_a_limit_that_shows() {
        // With two requests let in and 3 s on the host, the accelerator waits for 0.5 + 3 + 1 s where it computes 4 s.
        let slower = |span: &Span| if span.segment == 0 { [0.0, 3.0, 0.0] } else { seconds(span) };
        let timeline = profile(64, 2).replay(&slower).unwrap();
        assert!(timeline.seconds > 64.0 * 4.25, "{}", timeline.seconds);
        assert_eq!(profile(64, 3).replay(&slower).unwrap().seconds, 8.5 + 1.0 + 63.0 * 4.0 + 0.5);
        assert!(timeline.requests.iter().zip(&timeline.requests[2..]).all(|(first, third)| third.0 >= first.1));
    }
}
