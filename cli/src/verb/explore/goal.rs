//! What counts in an exploration: times of models and parts of the chip, each with a weight.

use super::subject::Subject;
use anyhow::{Result, anyhow, bail};
use tandem_boards::Board;
use tandem_boards::area::{RESOURCES, Taken, budget};

/// What counts, in order.
#[derive(Clone, Debug, PartialEq)]
pub struct Goals(Vec<(Goal, f64)>);

/// Something that should be small.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Goal {
    /// The time of one inference of a model, by its index.
    Time(usize),
    /// How much is taken of a resource.
    Area(&'static str),
}

impl Goals {
    /// The goals of a command line; by default each model, look-up tables, and block RAMs by half.
    ///
    /// # Errors
    /// One sentence naming the word that is none.
    pub fn new(words: &[String], subjects: &[Subject]) -> Result<Goals> {
        if words.is_empty() {
            let times = (0..subjects.len()).map(|model| (Goal::Time(model), 1.0));
            let areas = [(Goal::Area("LUT"), 1.0), (Goal::Area("BRAM"), 0.5)];
            return Ok(Goals(times.chain(areas).collect()));
        }
        let mut goals: Vec<(Goal, f64)> = Vec::new();
        for word in words {
            let parsed =
                word.split_once('=').and_then(|(name, weight)| Some((name.trim(), weight.trim().parse().ok()?)));
            let Some((name, weight)) = parsed.filter(|(_, weight): &(&str, f64)| weight.is_finite() && *weight >= 0.0)
            else {
                bail!("--objective {word}: write NAME=WEIGHT with a weight of at least 0, such as lut=0.5");
            };
            let resource = RESOURCES.into_iter().find(|resource| resource.eq_ignore_ascii_case(name));
            let model = subjects.iter().position(|subject| subject.name == name);
            let goal = match (model, resource) {
                (Some(model), _) => Goal::Time(model),
                (None, Some(resource)) => Goal::Area(resource),
                (None, None) => {
                    let names: Vec<&str> = subjects.iter().map(|subject| subject.name.as_str()).collect();
                    return Err(anyhow!(
                        "--objective {word}: there is no model and no resource {name}; name {}, lut, ff, dsp or bram",
                        names.join(", ")
                    ));
                }
            };
            if goals.iter().any(|(other, _)| *other == goal) {
                bail!("--objective {word}: {name} is named twice");
            }
            if weight > 0.0 {
                goals.push((goal, weight));
            }
        }
        if goals.is_empty() {
            bail!("--objective: nothing counts; give something a weight above 0");
        }
        Ok(Goals(goals))
    }

    /// The weights, in the order of the values.
    pub fn weights(&self) -> Vec<f64> {
        self.0.iter().map(|(_, weight)| *weight).collect()
    }

    /// What counts of a design: microseconds, and parts of the chip.
    pub fn values(&self, board: &Board, cycles: &[u64], taken: &Taken, fmax_mhz: f64) -> Vec<f64> {
        let value = |goal: &Goal| match goal {
            Goal::Time(model) => microseconds(cycles.get(*model).copied().unwrap_or(0), fmax_mhz),
            Goal::Area(name) => {
                let used = taken.get(*name).copied().unwrap_or(0) as f64;
                used / budget(board, name).max(1) as f64
            }
        };
        self.0.iter().map(|(goal, _)| value(goal)).collect()
    }

    /// The names of what counts with the weights.
    pub fn names(&self, models: &[String]) -> Vec<(String, f64)> {
        let name = |goal: &Goal| match goal {
            Goal::Time(model) => models.get(*model).cloned().unwrap_or_default(),
            Goal::Area(name) => name.to_lowercase(),
        };
        self.0.iter().map(|(goal, weight)| (name(goal), *weight)).collect()
    }
}

/// How long so many cycles take.
pub fn microseconds(cycles: u64, mhz: f64) -> f64 {
    if mhz > 0.0 { cycles as f64 / mhz } else { f64::INFINITY }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subjects() -> Vec<Subject> {
        let subject =
            |name: &str| Subject { name: name.to_owned(), pieces: Vec::new(), macs: 1, host_nodes: 0, samples: 1 };
        vec![subject("a"), subject("b")]
    }

    fn goals(words: &[&str]) -> Result<Goals> {
        Goals::new(&words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>(), &subjects())
    }

    #[test]
    fn what_counts_has_values_in_its_order() {
        let board = tandem_boards::find("ulx3s-85f").unwrap();
        let taken = Taken::from([("LUT".to_owned(), 8364), ("BRAM".to_owned(), 52)]);
        let values = |goals: Goals| goals.values(&board, &[600, 1200], &taken, 60.0);
        assert_eq!(values(goals(&[]).unwrap()), [10.0, 20.0, 0.1, 0.25]);
        let some = goals(&["bram=2", "b=1", "a=0"]).unwrap();
        assert_eq!((some.weights(), values(some.clone())), (vec![2.0, 1.0], vec![0.25, 20.0]));
        assert_eq!(some.names(&["a".to_owned(), "b".to_owned()])[1], ("b".to_owned(), 1.0));
    }

    #[test]
    fn words_that_are_no_goal_are_refused() {
        for (words, told) in [
            (&["c=1"][..], "no model and no resource c; name a, b, lut"),
            (&["a"], "NAME=WEIGHT"),
            (&["a=-1"], "at least 0"),
            (&["a=x"], "NAME=WEIGHT"),
            (&["a=1", "a=2"], "named twice"),
            (&["a=0"], "nothing counts"),
        ] {
            let error = goals(words).unwrap_err().to_string();
            assert!(error.contains(told), "{words:?}: {error}");
        }
    }
}
