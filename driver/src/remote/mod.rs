//! A device of another machine, as a bus: batches of bus operations over a byte channel that loses nothing, such as TCP.
//!
//! [`serve`] exports a bus to one client after the other; [`RemoteBus`] is the client. Both prove that they know a [`Token`]
//! without sending it, and seal every frame after that. A client collects writes until it needs an answer, so that a run is a few
//! round trips, and counts them ([`Traffic`]); [`Link`] is what the way was measured to bear.
//!
//! The frames of [`crate::serial`] are for lines that lose and change bytes and for hardware that answers them: 64 words, one
//! request at a time, whoever asks. Here the channel is whole, distance is what costs, and strangers can connect.

mod bus;
mod channel;
mod execute;
#[cfg(test)]
mod fuzz;
mod greet;
mod message;
mod server;
mod token;
mod traffic;

pub use bus::RemoteBus;
pub use execute::execute;
pub use message::{Clock, Facts, MAX_PAYLOAD, Malformed};
pub use server::{Event, Limits, serve};
pub use token::{Token, TokenError};
pub use traffic::{Link, Traffic, TrafficMonitor};
