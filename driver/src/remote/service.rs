//! What a server exports, behind requests and replies of bytes.

use std::time::Instant;

use super::message::{Malformed, Served};

/// Bytes of a reply before what was asked for, or the error: the status, and the time of the device.
pub(super) const HEAD: usize = 9;

/// Something that is exported to one client after the other.
pub trait Service: Send {
    /// What is told to every client first.
    fn served(&self) -> Served;

    /// Most bytes of a request that does not fit into one frame.
    fn most(&self) -> usize;

    /// Answers a request: appends what was asked for to the reply and says true, or an error and says false. What stands in the reply
    /// already stays.
    ///
    /// # Errors
    /// [`Malformed`], where nothing has been done; the client is dropped.
    fn answer(&mut self, request: &[u8], reply: &mut Vec<u8>) -> Result<bool, Malformed>;

    /// The client has left: what it holds is given up, before the next one comes.
    fn leave(&mut self);
}

/// Has a service answer a request; the payload of the reply.
///
/// # Errors
/// [`Malformed`], where nothing has been done.
pub fn reply(service: &mut dyn Service, request: &[u8]) -> Result<Vec<u8>, Malformed> {
    let begin = Instant::now();
    // The head is known at the end.
    let mut reply = vec![0; HEAD];
    let done = service.answer(request, &mut reply)?;
    let nanos = u64::try_from(begin.elapsed().as_nanos()).unwrap_or(u64::MAX);
    let head = [u8::from(!done)].into_iter().chain(nanos.to_le_bytes());
    reply.iter_mut().zip(head).for_each(|(to, from)| *to = from);
    Ok(reply)
}
