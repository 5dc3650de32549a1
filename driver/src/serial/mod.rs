//! Boards behind a byte channel: a serial line, a network connection, or a wire inside this process.
//!
//! [`SerialBus`] speaks checked frames ([`frame`]) over any [`Port`] and survives a line that loses, changes and doubles bytes.
//! Ports are [`Tty`] and [`TcpPort`]. [`FrameServer`] is the other end, over any bus. [`Loopback`] joins both in one process, with noise and a clock of its own.

mod bus;
pub mod frame;
mod link;
mod loopback;
mod noise;
mod port;
#[cfg(unix)]
mod pty;
mod server;
mod tcp;
#[cfg(unix)]
pub(crate) mod tty;

pub use bus::{BoardFacts, SerialBus};
pub use link::{LinkCounts, SILENCE};
pub use loopback::{Cable, Loopback, Wire};
pub use noise::Noise;
pub use port::Port;
pub(crate) use port::long;
pub use server::FrameServer;
pub use tcp::{Served, TcpPort, relay, serve};
#[cfg(unix)]
pub use {pty::Pty, tty::Tty};
