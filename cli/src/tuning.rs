//! Tuning: the layers of a command (`layer.rs`), a search for one of them (`run.rs`), what is measured (`job.rs`), by what (`meter.rs`),
//! by whom (`crew.rs` on this machine, `queue.rs` on others), the log of it (`log.rs`), and the options of that (`options.rs`).

pub mod crew;
pub mod job;
pub mod layer;
pub mod log;
pub mod meter;
pub mod options;
pub mod queue;
pub mod run;
