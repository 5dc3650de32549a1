//! The search for designs: which configurations of the accelerator are worth looking at, and which of them are the best.
//!
//! | what | where |
//! |---|---|
//! | what can be chosen | [`Space`] |
//! | what to look at next, and how closely | [`Search`], a decision at a time |
//! | which points no other one beats | [`front`] |
//!
//! Nothing here measures anything: whoever drives a [`Search`] tells it what designs take.

pub mod front;
mod random;
mod search;
mod space;

pub use random::Random;
pub use search::{Search, Settings, Step};
pub use space::Space;
