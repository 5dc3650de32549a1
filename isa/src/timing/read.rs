//! The read engine: three clients take turns at the address channel.

use super::hardware::BURSTS_UNDER_WAY;
use super::machine::NEVER;

/// The clients: instruction fetch, load unit, compute unit.
pub(super) const CLIENTS: usize = 3;

/// The arbiter and what is under way.
#[derive(Clone, Debug)]
pub(super) struct Reads {
    /// When the request of each client stands.
    pub asks: [u64; CLIENTS],
    /// The clients behind the one granted last, whose turn comes first.
    after: usize,
    /// The cycle behind the last grant: from here on the next one is chosen.
    choose: u64,
    /// The first cycle in which there is room for another address.
    room: u64,
    /// Bursts granted and not yet complete.
    under_way: usize,
}

impl Reads {
    pub fn new() -> Reads {
        Reads { asks: [NEVER; CLIENTS], after: 0, choose: 0, room: 0, under_way: 0 }
    }

    /// When the next burst is granted, as far as is known.
    pub fn due(&self) -> u64 {
        let asked = self.asks[0].min(self.asks[1]).min(self.asks[2]);
        if asked == NEVER || self.room == NEVER || self.under_way >= BURSTS_UNDER_WAY {
            NEVER
        } else {
            asked.max(self.room)
        }
    }

    /// Grants a burst in cycle `now` and says whose.
    pub fn grant(&mut self, now: u64) -> usize {
        // Who is chosen stays so until there is room.
        let asked = self.asks[0].min(self.asks[1]).min(self.asks[2]);
        let chosen_at = asked.max(self.choose);
        let order = (0..CLIENTS).map(|k| (self.after + k) % CLIENTS);
        let client = order.into_iter().find(|&k| self.asks[k] <= chosen_at).unwrap_or(0);
        self.after = (client + 1) % CLIENTS;
        self.choose = now + 1;
        self.under_way += 1;
        self.asks[client] = NEVER;
        // Until memory takes the address.
        self.room = NEVER;
        client
    }

    /// Memory takes an address in this cycle.
    pub fn accepted(&mut self, at: u64) {
        self.room = at + 1;
    }

    /// The last word of a burst goes in this cycle.
    pub fn completed(&mut self, at: u64) {
        if self.under_way >= BURSTS_UNDER_WAY && self.room != NEVER {
            self.room = self.room.max(at + 1);
        }
        self.under_way -= 1;
    }
}
