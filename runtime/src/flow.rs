//! Which segments of which requests can run: a value without threads, so that the order of work is a decision that tests can read.

use crate::wiring::Ends;
use std::collections::BTreeSet;
use std::sync::Arc;

/// The state of requests under way. A segment can run once all that it reads is made; of several, the oldest request's goes first,
/// and within a request the plan's order decides.
pub(crate) struct Flow {
    segments: Arc<[Ends]>,
    /// Segments of a request.
    count: usize,
    requests: Vec<Progress>,
    /// What can run, by request and segment.
    ready: BTreeSet<(usize, usize)>,
}

#[derive(Default)]
struct Progress {
    /// For each segment, how many of those that it needs are not done.
    missing: Vec<usize>,
    /// Segments that are not done.
    left: usize,
}

impl Flow {
    /// No request yet.
    pub(crate) fn new(segments: Arc<[Ends]>) -> Flow {
        let count = segments.iter().filter(|ends| ends.is_live()).count();
        Flow { segments, count, requests: Vec::new(), ready: BTreeSet::new() }
    }

    /// Lets the next request in, whose number is how many came before, and tells whether it has anything to run.
    pub(crate) fn admit(&mut self) -> bool {
        let request = self.requests.len();
        let missing: Vec<usize> = self.segments.iter().map(|ends| ends.needs.len()).collect();
        let first = self.segments.iter().enumerate().filter(|(_, ends)| ends.is_live() && ends.needs.is_empty());
        self.ready.extend(first.map(|(s, _)| (request, s)));
        self.requests.push(Progress { missing, left: self.count });
        self.count > 0
    }

    /// Takes what is to run next among segments for which that is asked.
    pub(crate) fn pick(&mut self, wanted: impl Fn(usize) -> bool) -> Option<(usize, usize)> {
        let next = self.ready.iter().find(|(_, segment)| wanted(*segment)).copied()?;
        self.ready.remove(&next);
        Some(next)
    }

    /// Gives back what was taken and has not run.
    pub(crate) fn put_back(&mut self, request: usize, segment: usize) {
        self.ready.insert((request, segment));
    }

    /// A segment of a request has run; tells whether the request is done.
    pub(crate) fn finish(&mut self, request: usize, segment: usize) -> bool {
        let Some(progress) = self.requests.get_mut(request) else { return false };
        for &next in &self.segments[segment].feeds {
            progress.missing[next] -= 1;
            if progress.missing[next] == 0 {
                self.ready.insert((request, next));
            }
        }
        progress.left -= 1;
        progress.left == 0
    }

    /// Whether a request can need two devices at once: some segments of different devices do not wait for each other.
    pub(crate) fn branches<D: PartialEq>(segments: &[Ends], device: impl Fn(usize) -> D) -> bool {
        // What each segment waits for, directly or not; the plan's order is a topological one.
        let mut before: Vec<Vec<bool>> = Vec::with_capacity(segments.len());
        for (s, ends) in segments.iter().enumerate() {
            let mut all = vec![false; s];
            for &need in &ends.needs {
                all[need] = true;
                before[need].iter().enumerate().for_each(|(earlier, &waits)| all[earlier] |= waits);
            }
            before.push(all);
        }
        let live = |&s: &usize| segments[s].is_live();
        let apart = |s: usize| (0..s).filter(live).any(|e| !before[s][e] && device(e) != device(s));
        (0..segments.len()).filter(live).any(apart)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A segment that makes one wire and needs these segments.
    fn plan(needs: &[&[usize]]) -> Vec<Ends> {
        let mut segments: Vec<Ends> = needs.iter().map(|needs| Ends::of(needs)).collect();
        for (s, needs) in needs.iter().enumerate() {
            needs.iter().for_each(|&need| segments[need].feeds.push(s));
        }
        segments
    }

    #[test]
    fn the_oldest_request_goes_first_and_the_plan_decides_within_it() {
        let segments = plan(&[&[], &[], &[0, 1], &[2]]);
        let mut flow = Flow::new(segments.into());
        assert!(flow.admit() && flow.admit());
        assert_eq!(flow.pick(|s| s == 1), Some((0, 1)));
        assert_eq!(flow.pick(|_| true), Some((0, 0)));
        assert_eq!(flow.pick(|s| s == 2), None);
        assert!(!flow.finish(0, 1));
        flow.put_back(0, 0);
        assert_eq!(flow.pick(|_| true), Some((0, 0)));
        assert!(!flow.finish(0, 0));
        assert_eq!(
            [flow.pick(|_| true), flow.pick(|_| true), flow.pick(|s| s > 1)],
            [Some((0, 2)), Some((1, 0)), None]
        );
        assert!(!flow.finish(0, 2));
        assert_eq!(flow.pick(|s| s == 3), Some((0, 3)));
        assert!(flow.finish(0, 3));
        assert_eq!(flow.pick(|_| true), Some((1, 1)));
        assert_eq!(flow.pick(|_| true), None);
    }

    #[test]
    fn a_chain_does_not_branch_and_a_diamond_does() {
        let other = |s: usize| s == 1;
        assert!(!Flow::branches(&plan(&[&[], &[0], &[1]]), other));
        assert!(!Flow::branches(&plan(&[&[], &[0], &[0, 1]]), other));
        assert!(Flow::branches(&plan(&[&[], &[0], &[0], &[1, 2]]), other));
        // Both halves on one device take turns anyway.
        assert!(!Flow::branches(&plan(&[&[], &[0], &[0], &[1, 2]]), |_| 0));
    }
}
