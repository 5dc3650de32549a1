//! Backends of other machines: graphs and samples there, results back, on the transport of [`tandem_driver::remote`].
//!
//! [`BackendService`] exports a backend, [`RemoteBackend`] is one. A plan asks what runs there in one round trip for a graph, compiling
//! a segment is one more, and so is every run of it. What a client holds at the server is bounded ([`Bounds`]), and given up when it
//! leaves. Errors keep their class; a connection that is lost is a fault.

mod client;
mod message;
mod server;

pub use client::RemoteBackend;
pub use message::{Facts, Kind};
pub use server::{BackendService, Bounds};
