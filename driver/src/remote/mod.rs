//! Devices of another machine, over a byte channel that loses nothing, such as TCP.
//!
//! [`serve`] exports a [`Service`] to one client after the other; [`Connection`] is the client's end. Both prove that they know a
//! [`Token`] without sending it, and seal every frame after that. What travels are requests and replies of bytes, of which the
//! client counts the round trips ([`Traffic`]); [`Link`] is what the way was measured to bear. [`Cursor`], [`put_bytes`] and
//! [`put_text`] are for the bytes of services.
//!
//! A bus is a service ([`BusService`], [`RemoteBus`]): its requests are batches of operations. A client collects writes until it
//! needs an answer, so that a run is a few round trips.
//!
//! The frames of [`crate::serial`] are for lines that lose and change bytes and for hardware that answers them: 64 words, one
//! request at a time, whoever asks. Here the channel is whole, distance is what costs, and strangers can connect.

mod bus;
mod channel;
mod connection;
mod execute;
#[cfg(test)]
mod fuzz;
mod greet;
mod message;
mod server;
mod service;
mod token;
mod traffic;

pub use bus::RemoteBus;
pub use connection::{Answer, Connection};
pub use execute::BusService;
pub use message::{Clock, Cursor, Facts, MAX_PAYLOAD, Malformed, Served, put_bytes, put_text};
pub use server::{Event, Limits, serve};
pub use service::{Service, reply};
pub use token::{Token, TokenError};
pub use traffic::{Link, Traffic, TrafficMonitor};
