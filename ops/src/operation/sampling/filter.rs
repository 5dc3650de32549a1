//! Which tokens may be drawn: temperature, top-k, top-p and min-p of a row.
//!
//! Tokens are ordered by deficit, the smallest first, and those of one deficit by index. Every filter keeps a beginning of this order,
//! so that all of them together do.

use super::weight::{ONE, deficit, part, scale, weight};

/// What a row is filtered by.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Filter {
    /// Divides logits; at 0 the largest one is taken.
    pub temperature: f32,
    /// Tokens that are kept; 0 for all.
    pub top_k: i32,
    /// The part of the mass, of what top-k keeps, that is kept at least.
    pub top_p: f32,
    /// The least weight that is kept, as a part of the largest.
    pub min_p: f32,
}

impl Filter {
    /// A filter that keeps everything, at temperature 1.
    pub const NONE: Filter = Filter { temperature: 1.0, top_k: 0, top_p: 1.0, min_p: 0.0 };

    /// What differences of logits are multiplied by.
    pub fn scale(&self) -> f32 {
        scale(self.temperature)
    }

    /// How many of `n` tokens top-k keeps; one at temperature 0.
    pub fn count(&self, n: usize) -> usize {
        match usize::try_from(self.top_k) {
            _ if self.temperature == 0.0 => n.min(1),
            Ok(count) if count > 0 => n.min(count),
            _ => n,
        }
    }

    /// The least mass that top-p keeps of `mass`: top_p in units of 2^-32, rounded up, of it, rounded up, and at least 1; `None`
    /// where it keeps all.
    pub fn mass(&self, mass: u64) -> Option<u64> {
        let units = (self.top_p < 1.0).then(|| (self.top_p * 4_294_967_296.0).ceil() as u32)?;
        Some(((u128::from(mass) * u128::from(units)).div_ceil(1 << 32) as u64).max(1))
    }

    /// The least weight that min-p keeps.
    pub fn least(&self) -> u32 {
        (self.min_p * ONE as f32).ceil() as u32
    }

    /// Whether all numbers are in their ranges; otherwise what is wrong.
    pub(super) fn wrong(&self) -> Option<(&'static str, String)> {
        let Filter { temperature, top_k, top_p, min_p } = *self;
        let part = |name, x: f32| (!(0.0..=1.0).contains(&x)).then(|| (name, format!("is {x}, not one of 0 to 1")));
        let cold = !(temperature.is_finite() && temperature >= 0.0);
        let cold = cold.then(|| ("temperature", format!("is {temperature}, not a number of at least 0")));
        let few = (top_k < 0).then(|| ("top_k", format!("is {top_k}, and there is no such number of tokens")));
        cold.or(few).or_else(|| part("top_p", top_p)).or_else(|| part("min_p", min_p))
    }
}

/// The largest logit, NaNs left out; -inf where there is none.
pub fn top(logits: &[f32]) -> f32 {
    logits.iter().fold(f32::NEG_INFINITY, |top, &logit| if logit > top { logit } else { top })
}

/// The tokens of a row that may be drawn, by index, with the mass up to each and with it. None, where no logit is above -inf.
#[derive(Clone, Debug)]
pub struct Kept(Vec<(i32, u64)>);

impl Kept {
    /// What a filter keeps of a row: the definition, by sorting.
    pub fn of(logits: &[f32], filter: &Filter) -> Kept {
        let (top, scale) = (top(logits), filter.scale());
        if top == f32::NEG_INFINITY {
            return Kept(Vec::new());
        }
        let deficits = logits.iter().map(|&logit| deficit(top, logit, scale));
        let mut order: Vec<(u32, usize)> = deficits.zip(0..).collect();
        order.sort_unstable();
        order.truncate(filter.count(logits.len()));
        let all = order.iter().map(|&(deficit, _)| u64::from(weight(deficit))).sum();
        if let Some(least) = filter.mass(all) {
            let mut mass = 0;
            let kept = order.iter().take_while(|&&(deficit, _)| {
                let before = mass;
                mass += u64::from(weight(deficit));
                before < least
            });
            order.truncate(kept.count());
        }
        order.retain(|&(deficit, _)| weight(deficit) >= filter.least());
        order.sort_unstable_by_key(|&(_, token)| token);
        let ends = order.iter().scan(0, |mass, &(deficit, token)| {
            *mass += u64::from(weight(deficit));
            Some((token as i32, *mass))
        });
        Kept(ends.collect())
    }

    /// The tokens with their weights.
    pub fn weights(&self) -> impl Iterator<Item = (i32, u64)> + '_ {
        let before = std::iter::once(0).chain(self.0.iter().map(|&(_, end)| end));
        self.0.iter().zip(before).map(|(&(token, end), before)| (token, end - before))
    }

    /// The token that 64 random bits draw: the first up to which there is more mass than the part of all that the bits are. -1 where
    /// there is none.
    pub fn draw(&self, bits: u64) -> i32 {
        let mass = self.0.last().map_or(0, |&(_, mass)| mass);
        let at = self.0.partition_point(|&(_, end)| end <= part(bits, mass));
        self.0.get(at).map_or(-1, |&(token, _)| token)
    }
}
