//! Vector clocks: what a warp knows to have happened.

/// For each party (a warp of the cluster, or the copies that signal one `mbarrier`) the last of its moments that are
/// known to have passed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Clock {
    seen: Vec<u32>,
    /// Those moments that a `fence.proxy.async` has made visible to the async proxy.
    fenced: Vec<u32>,
}

impl Clock {
    pub fn seen(&self, party: usize) -> u32 {
        self.seen.get(party).copied().unwrap_or(0)
    }

    pub fn fenced(&self, party: usize) -> u32 {
        self.fenced.get(party).copied().unwrap_or(0)
    }

    /// Moves the clock of `party` itself on, and returns its new moment.
    pub fn tick(&mut self, party: usize) -> u32 {
        if self.seen.len() <= party {
            self.seen.resize(party + 1, 0);
        }
        self.seen[party] += 1;
        self.seen[party]
    }

    /// Learns of one moment of another party.
    pub fn learn(&mut self, party: usize, moment: u32) {
        if self.seen.len() <= party {
            self.seen.resize(party + 1, 0);
        }
        self.seen[party] = self.seen[party].max(moment);
    }

    /// Learns all that `other` knows.
    pub fn join(&mut self, other: &Self) {
        merge(&mut self.seen, &other.seen);
        merge(&mut self.fenced, &other.fenced);
    }

    /// Makes all that is known visible to the async proxy.
    pub fn fence(&mut self) {
        merge(&mut self.fenced, &self.seen);
    }
}

fn merge(to: &mut Vec<u32>, from: &[u32]) {
    if to.len() < from.len() {
        to.resize(from.len(), 0);
    }
    for (t, f) in to.iter_mut().zip(from) {
        *t = (*t).max(*f);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fence_covers_what_is_known_and_no_more() {
        let (mut a, mut b) = (Clock::default(), Clock::default());
        let written = a.tick(0);
        a.fence();
        let later = a.tick(0);
        b.join(&a);
        assert!(written <= b.fenced(0) && later > b.fenced(0) && later <= b.seen(0));
    }
}
