//! Reads: three clients share the AR and R channels of the AXI4 master.
//!
//! ```text
//!  fetch   --request--\                 +------> AR
//!  load    --request--- in turn -------|
//!  compute --request--/                 +--> [ client, beats ] x 8 --> who gets each word of R
//! ```
//!
//! | port | width | meaning |
//! |---|---|---|
//! | `request_valid_k`, `_ready_k`, `_address_k`, `_beats_k` | 1, 1, word address, 5 | a burst of client k: 0 fetch, 1 load, 2 compute |
//! | `data_valid_k`, `data_ready_k` | 1 | a word for client k; the word itself is `axi_rdata` |
//! | `flush` | 1 | nobody wants anything any more: requests are ignored, words are dropped |
//! | `idle` | 1 | no burst is under way |
//! | `fault` | 1 | a word came with an error response; `fault_client` says for whom |
//! | `axi_ar*`, `axi_r*` | | the AXI4 channels |
//!
//! Bursts come back in the order of their requests, so a client must be able to take every word that it asked for, whatever
//! the other clients do. Latency two cycles and the memory's; a burst every two cycles and a word a cycle.

use tandem_rtl::{Memory, MemoryStyle, Module, Net};

use crate::arbiter::arbiter;
use crate::size::{BURST_BEATS, BURST_BITS, LOG_OUTSTANDING, Sizes};

/// Clients of the engine.
pub(crate) const READERS: usize = 3;

/// The block.
pub(crate) fn read_engine(sizes: &Sizes) -> Module {
    let m = Module::new("read_engine");
    describe(&m, sizes.small(), sizes.word_address, sizes.log_bus_bytes, LOG_OUTSTANDING);
    m
}

/// The same engine for `1 << log_outstanding` bursts under way as `read_proof`, with what is to be proven of it.
///
/// Taken for granted: of the memory, that it answers the bursts whose address it has taken, in order and with their number of
/// words; of the clients, that a request stays and asks for 1 to 16 words, as [`crate::burst`] is proven to do; of the
/// arbiter, that it grants one of the requests, as [`crate::arbiter`] is proven to do. An additional input, `watch`, chooses
/// any burst that is granted, and only one at a time, and the proof follows it to its last word.
///
/// | property | |
/// |---|---|
/// | `address_holds`, `address_right` | what AR offers stays until taken, and is what the client asked for |
/// | `at_most_all`, `counts` | never more bursts under way than there is room for; `head` never passes `tail` |
/// | `one_taken`, `flush_grants_nothing` | one request at most is taken in a cycle, and none in a flush |
/// | `right_client`, `right_ready` | each word is offered to the client whose burst is the oldest, and to no other, and waits for this client alone |
/// | `exact_words` | a client gets as many words as it asked for |
/// | `ready_under_way` | RREADY is set only while a burst is under way |
/// | `flush_drops`, `flush_takes` | in a flush no client sees a word, and whatever comes is taken at once |
/// | `idle_right` | `idle` says that nothing was granted that has not ended, and so that AR is quiet |
/// | `fault_right`, `fault_client_right` | a fault is a word taken with an error outside a flush, of the client named |
/// | `in_step`, `position_within`, `got_is_position`, `watched_is_inside`, `watched_is_kept`, `watched_length` | what makes these inductive |
pub fn proof(log_outstanding: u32) -> Module {
    const WORDS: u32 = 2;
    let m = Module::new("read_proof");
    let e = describe(&m, MemoryStyle::Distributed, WORDS, 2, log_outstanding);
    let (log, bits) = (log_outstanding, log_outstanding + 1);
    let request = m.cat(&e.request_valid).named("request");
    let taken = m.cat(&e.request_ready).named("taken");
    let (offered, wants) = (m.cat(&e.data_valid).named("offered"), m.cat(&e.data_ready).named("wants"));
    m.assume_always("turn_is_one", !(e.winner & e.winner.dec()).any());
    m.assume_always("turn_is_requested", !(e.winner & !request).any());
    let pending = m.delay("pending", request & !taken);
    m.assume_always("requests_stay", !(pending & !request).any());
    for (k, beats) in e.request_beats.iter().enumerate() {
        m.assume_always(&format!("beats_right_{k}"), beats.any() & beats.le(m.lit(BURST_BEATS.into(), BURST_BITS)));
    }

    // The memory: the lengths of the bursts that it has taken, less one, and the words that it has given of the oldest.
    let accepted = (e.arvalid & e.arready).named("accepted");
    let (first, last) = (m.reg("first", bits, 0), m.reg("last", bits, 0));
    let position = m.reg("position", 8, 0);
    let lengths = m.memory("lengths", log, 8, MemoryStyle::Distributed);
    lengths.write(accepted, last.bits(0, log), e.arlen);
    m.when(accepted, || last.set(last.inc()));
    let word = (e.rvalid & e.rready).named("word_taken");
    let ends = (word & e.rlast).named("burst_ends");
    m.when(word, || position.set(position.inc()));
    m.when(ends, || {
        position.set_to(0);
        first.set(first.inc());
    });
    let due = lengths.read_now("due", first.bits(0, log));
    m.assume_always("words_of_accepted", !e.rvalid | first.ne(last));
    m.assume_always("last_at_the_end", !e.rvalid | e.rlast.eq(position.eq(due)));

    m.assert_always("position_within", first.ne(last).mux(position.le(due), !position.any()));

    let stalled = m.delay("stalled", e.arvalid & !e.arready);
    let payload = m.cat(&[e.araddr, e.arlen]).named("payload");
    m.assert_always("address_holds", !stalled | (e.arvalid & payload.eq(m.delay("payload_before", payload))));

    let open = m.reg("open", bits + 1, 0);
    open.set(open + taken.any().zext(bits + 1) - ends.zext(bits + 1));
    m.assert_always("at_most_all", open.le(m.lit(1 << log, bits + 1)));
    m.assert_always("counts", open.eq((e.tail - e.head).zext(bits + 1)));
    m.assert_always("idle_right", e.idle.eq(!open.any()) & (!e.idle | !e.arvalid));
    m.assert_always("in_step", first.eq(e.head) & (last + e.arvalid.zext(bits)).eq(e.tail));
    m.assert_always("one_taken", !(taken & taken.dec()).any() & !(taken & !request).any());
    m.assert_always("flush_grants_nothing", !e.flush | !taken.any());
    m.assert_always("flush_drops", !e.flush | !offered.any());
    m.assert_always("flush_takes", !e.flush | e.idle | e.rready);
    m.assert_always("ready_under_way", !e.rready | open.any());
    // A variable of its own: said of the engine's own expression, this would be true whatever the engine does.
    let wrong = m.var("error_seen", e.rresp.bit(1));
    m.assert_always("fault_right", e.fault.eq(word & wrong & !e.flush));

    let watch = m.input("watch", 1);
    let (watching, place) = (m.reg("watching", 1, 0), m.data_reg("watched_place", bits));
    let client = m.data_reg("watched_client", READERS as u32);
    let (address, beats) = (m.data_reg("watched_address", WORDS), m.data_reg("watched_beats", BURST_BITS));
    // Words that the client has taken, and whether a flush has kept some from it.
    let (got, cut) = (m.data_reg("got", BURST_BITS), m.data_reg("cut", 1));
    let at_head = (watching & place.eq(e.head)).named("at_head");
    let gets = (at_head & (offered & wants & client).any()).named("gets");
    m.when_else(
        watching,
        || {
            m.when(gets, || got.set(got.inc()));
            m.when(at_head & e.flush, || cut.set_to(1));
            m.when(at_head & ends, || watching.set_to(0));
        },
        || {
            m.when(taken.any() & watch, || {
                watching.set_to(1);
                place.set(e.tail);
                client.set(taken);
                address.set(of_one(taken, &e.request_address));
                beats.set(of_one(taken, &e.request_beats));
                got.set_to(0);
                cut.set_to(0);
            });
        },
    );
    let fine = (at_head & !e.flush).named("fine");
    m.assert_always("right_client", !(fine & e.rvalid) | offered.eq(client));
    m.assert_always("right_ready", !fine | e.rready.eq((client & wants).any()));
    let code = m.cat(&[client.bit(1), client.bit(2)]);
    m.assert_always("fault_client_right", !(fine & e.fault) | e.fault_client.eq(code));
    let complete = (got + gets.zext(BURST_BITS)).eq(beats);
    m.assert_always("exact_words", !(fine & ends) | cut | complete);
    let counted = at_head.mux(got.zext(8).eq(position), !got.any());
    m.assert_always("got_is_position", !watching | cut | counted);

    let waits = (watching & e.arvalid & place.inc().eq(e.tail)).named("waits_for_ar");
    let aligned = m.cat(&[m.lit(0, 2), address]);
    let right = e.araddr.eq(aligned) & e.arlen.inc().eq(beats.zext(8));
    m.assert_always("address_right", !waits | right);
    m.assert_always("watched_is_inside", !watching | ((place - e.head).lt(e.tail - e.head) & beats.any()));
    let low = place.bits(0, log);
    m.assert_always("watched_is_kept", !watching | e.under_way.read_now("whose", low).eq(client));
    let length = lengths.read_now("length_there", low);
    m.assert_always("watched_length", !watching | waits | length.inc().eq(beats.zext(8)));
    m
}

/// The values of an engine that a proof speaks of; one net a client in the vectors.
struct Parts<'m> {
    request_valid: Vec<Net<'m>>,
    request_address: Vec<Net<'m>>,
    request_beats: Vec<Net<'m>>,
    request_ready: Vec<Net<'m>>,
    data_valid: Vec<Net<'m>>,
    data_ready: Vec<Net<'m>>,
    flush: Net<'m>,
    idle: Net<'m>,
    fault: Net<'m>,
    fault_client: Net<'m>,
    arvalid: Net<'m>,
    arready: Net<'m>,
    araddr: Net<'m>,
    arlen: Net<'m>,
    rvalid: Net<'m>,
    rready: Net<'m>,
    rresp: Net<'m>,
    rlast: Net<'m>,
    head: Net<'m>,
    tail: Net<'m>,
    winner: Net<'m>,
    under_way: Memory<'m>,
}

fn describe(m: &Module, small: MemoryStyle, words: u32, log_bus_bytes: u32, log_outstanding: u32) -> Parts<'_> {
    let each =
        |name: &str, width| -> Vec<Net<'_>> { (0..READERS).map(|k| m.input(format!("{name}_{k}"), width)).collect() };
    let request_valid = each("request_valid", 1);
    let request_address = each("request_address", words);
    let request_beats = each("request_beats", BURST_BITS);
    let data_ready = each("data_ready", 1);
    let flush = m.input("flush", 1);
    let arready = m.input("axi_arready", 1);
    let rvalid = m.input("axi_rvalid", 1);
    let rresp = m.input("axi_rresp", 2);
    let rlast = m.input("axi_rlast", 1);

    // Whose bursts are under way, in order; one bit a client.
    let under_way = m.memory("under_way", log_outstanding, READERS as u32, small);
    let head = m.reg("head", log_outstanding + 1, 0);
    let tail = m.reg("tail", log_outstanding + 1, 0);
    let empty = head.eq(tail).named("empty");
    let full = (tail - head).named("count").is(1 << log_outstanding).named("full");

    let arvalid = m.reg("arvalid", 1, 0);
    let address = m.data_reg("address", words);
    let beats = m.data_reg("beats", BURST_BITS);
    let room = (!arvalid & !full & !flush).named("room");
    let turn = m.instance("turn", &arbiter(READERS as u32), &[("request", m.cat(&request_valid)), ("accept", room)]);
    let winner = turn.get("grant");
    let grant = (room & turn.get("granted")).named("grant");
    m.when(arvalid & arready, || arvalid.set_to(0));
    m.when(grant, || {
        arvalid.set_to(1);
        address.set(selected(winner, &request_address));
        beats.set(selected(winner, &request_beats));
        tail.set(tail.inc());
    });
    under_way.write(grant, tail.bits(0, log_outstanding), winner);
    let client = under_way.read_now("client", head.bits(0, log_outstanding));

    let rready = (!empty & (flush | (client & m.cat(&data_ready)).any())).named("ready");
    let word = (rvalid & rready).named("word");
    m.when(word & rlast, || head.set(head.inc()));

    let (mut request_ready, mut data_valid) = (Vec::new(), Vec::new());
    for k in 0..READERS {
        let mine = grant & winner.bit(k as u32);
        request_ready.push(mine);
        m.output(format!("request_ready_{k}"), mine);
        let mine = !empty & !flush & client.bit(k as u32) & rvalid;
        data_valid.push(mine);
        m.output(format!("data_valid_{k}"), mine);
    }
    let fault = word & rresp.bit(1) & !flush;
    let fault_client = m.cat(&[client.bit(1), client.bit(2)]);
    let araddr = m.cat(&[m.lit(0, log_bus_bytes), address]);
    let arlen = (beats - m.lit(1, BURST_BITS)).zext(8);
    m.output("idle", empty);
    m.output("fault", fault);
    m.output("fault_client", fault_client);
    m.output("axi_arvalid", arvalid);
    m.output("axi_araddr", araddr.resize(32));
    m.output("axi_arlen", arlen);
    m.output("axi_arsize", m.lit(log_bus_bytes.into(), 3));
    m.output("axi_arburst", m.lit(1, 2));
    m.output("axi_rready", rready);
    Parts {
        request_valid,
        request_address,
        request_beats,
        request_ready,
        data_valid,
        data_ready,
        flush,
        idle: empty,
        fault,
        fault_client,
        arvalid,
        arready,
        araddr,
        arlen,
        rvalid,
        rready,
        rresp,
        rlast,
        head,
        tail,
        winner,
        under_way,
    }
}

/// The value whose bit is set, or the last.
fn selected<'m>(bits: Net<'m>, values: &[Net<'m>]) -> Net<'m> {
    let last = values.len() - 1;
    (0..last).fold(values[last], |rest, at| bits.bit(at as u32).mux(values[at], rest))
}

/// The values whose bits are set, one over the other.
fn of_one<'m>(bits: Net<'m>, values: &[Net<'m>]) -> Net<'m> {
    let each = values.iter().zip(bits.lanes(values.len() as u32));
    each.map(|(value, bit)| *value & bit.repeat(value.width())).reduce(|all, value| all | value).unwrap_or(bits)
}
