//! How long launches take on a GPU: graphs of many of them, timed by events, after a while of the same work.

use crate::device::Device;
use crate::error::{GpuError, Result};

/// How launches are timed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// Launches of a graph.
    pub launches: usize,
    /// Graphs that are timed, one after the other.
    pub graphs: usize,
    /// Milliseconds of work before that, so that clocks and power are those of work and not those of idleness.
    pub warm_up_ms: u32,
    /// Seconds that all of it may take. Where launches are so long that it would be more, there are fewer of them and of graphs.
    pub budget_s: u32,
}

impl Timing {
    /// What figures are quoted for: graphs of 20 launches, the median of 30.
    pub const USUAL: Timing = Timing { launches: 20, graphs: 30, warm_up_ms: 100, budget_s: 20 };
    /// As little as shows that it works, for devices whose times mean nothing.
    pub const SHORT: Timing = Timing { launches: 2, graphs: 3, warm_up_ms: 0, budget_s: 1 };

    /// The same with at least so many launches of a graph, in multiples of that.
    pub fn in_turns(self, sets: usize) -> Timing {
        Timing { launches: self.launches.next_multiple_of(sets.max(1)), ..self }
    }

    /// Graphs of fewer launches, and fewer graphs, where one launch takes so long that all would not fit the budget.
    fn within_budget(self, one_s: f64) -> Timing {
        let fits = (f64::from(self.budget_s) / one_s.max(1e-9)) as usize;
        if fits >= self.launches.saturating_mul(self.graphs) {
            return self;
        }
        let launches = (fits / self.graphs.max(1)).clamp(1, self.launches);
        Timing { launches, graphs: (fits / launches).clamp(3, self.graphs.max(3)), warm_up_ms: 0, ..self }
    }
}

/// Times of one launch, ascending.
#[derive(Clone, Debug, PartialEq)]
pub struct Times {
    /// Seconds, one for each graph.
    pub seconds: Vec<f64>,
    /// Launches of each graph.
    pub launches: usize,
}

impl Times {
    /// The median.
    pub fn median(&self) -> f64 {
        self.seconds.get(self.seconds.len() / 2).copied().unwrap_or(f64::NAN)
    }

    /// The shortest.
    pub fn best(&self) -> f64 {
        self.seconds.first().copied().unwrap_or(f64::NAN)
    }
}

impl Device {
    /// Times launches; `launch` makes the launch of that number of a graph, which may be more than one kernel.
    ///
    /// # Errors
    /// Unsupported on the simulator, which has no clock; the closure's and the device's.
    pub fn time(&self, timing: Timing, mut launch: impl FnMut(usize) -> Result<()>) -> Result<Times> {
        let one = self.capture(|_| launch(0))?;
        let seconds = |graph: &crate::device::Graph| -> Result<f64> {
            let begin = self.record()?;
            graph.launch()?;
            let milliseconds = begin.elapsed_ms(&self.record()?)?;
            let none = || GpuError::Unsupported("the simulator has no clock, so nothing can be timed on it".into());
            Ok(f64::from(milliseconds.ok_or_else(none)?) / 1e3)
        };
        // The first launch may load code.
        seconds(&one)?;
        let timing = timing.within_budget(seconds(&one)?);
        let graph = self.capture(|_| (0..timing.launches).try_for_each(&mut launch))?;
        let (mut warm, mut rounds) = (0.0, 0);
        while rounds < 3 || (warm * 1e3 < f64::from(timing.warm_up_ms) && rounds < 10_000) {
            warm += seconds(&graph)?;
            rounds += 1;
            // Long launches need no more of them.
            if warm > 1.0 {
                break;
            }
        }
        let mut all: Vec<f64> = Vec::with_capacity(timing.graphs);
        for _ in 0..timing.graphs {
            all.push(seconds(&graph)? / timing.launches as f64);
        }
        all.sort_by(f64::total_cmp);
        Ok(Times { seconds: all, launches: timing.launches })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn launches_that_take_long_are_timed_less_often() {
        let usual = Timing::USUAL;
        assert_eq!(usual.within_budget(1.4e-3), usual);
        let longer = usual.within_budget(0.1);
        assert_eq!((longer.launches, longer.graphs), (6, 30));
        let longest = usual.within_budget(5.0);
        assert_eq!((longest.launches, longest.graphs), (1, 4));
        assert_eq!(usual.within_budget(f64::INFINITY).graphs, 3);
        assert_eq!(
            (usual.in_turns(16).launches, usual.in_turns(1).launches, usual.in_turns(90).launches),
            (32, 20, 90)
        );
    }

    #[test]
    fn the_median_is_one_of_the_times() {
        let times = Times { seconds: vec![1.0, 2.0, 7.0], launches: 4 };
        assert_eq!((times.median(), times.best()), (2.0, 1.0));
        assert!(Times { seconds: Vec::new(), launches: 0 }.median().is_nan());
    }
}
