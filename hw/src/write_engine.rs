//! Writes: the store unit's bursts and words on the AW, W and B channels of the AXI4 master.
//!
//! ```text
//!  request --> AW ----> [ beats ] x 8 --> countdown --> WLAST
//!  data ----> [ word, strobes ] x 32 ------------------> W
//!                                    B --> outstanding - 1
//! ```
//!
//! | port | width | meaning |
//! |---|---|---|
//! | `request_valid`, `_ready`, `_address`, `_beats` | 1, 1, word address, 5 | a burst |
//! | `data_valid`, `data_ready`, `data`, `strobe` | 1, 1, bus, bus / 8 | the words of the bursts, in order |
//! | `flush` | 1 | the store unit has forgotten its bursts: what AW has promised is paid with words without strobes |
//! | `idle` | 1 | every burst has its response and no word waits |
//! | `fault` | 1 | a burst was answered with an error |
//! | `axi_aw*`, `axi_w*`, `axi_b*` | | the AXI4 channels |
//!
//! A word never goes ahead of its burst's address, and once offered stays as it is until it is taken. Latency two cycles; a
//! word a cycle.

use tandem_rtl::{Memory, MemoryStyle, Module, Net};

use crate::queue::queue;
use crate::size::{BURST_BEATS, BURST_BITS, LOG_OUTSTANDING, Sizes};

/// Words that wait for the W channel, as a power of two.
const LOG_WORDS: u32 = 5;

/// The block.
pub(crate) fn write_engine(sizes: &Sizes) -> Module {
    let m = Module::new("write_engine");
    describe(&m, sizes.small(), sizes.word_address, sizes.log_bus_bytes, LOG_OUTSTANDING, LOG_WORDS);
    m
}

/// The same engine for `1 << log_outstanding` bursts under way as `write_proof`, with what is to be proven of it.
///
/// Taken for granted: of the memory, that it answers a burst after its last word, and once; of the store unit, that it asks
/// for 1 to 16 words, as [`crate::burst`] is proven to do. `flush` may come and go at any time. An additional input, `watch`,
/// chooses any burst whose address goes out, and only one at a time, and the proof follows it to its last word.
///
/// | property | |
/// |---|---|
/// | `address_holds`, `word_holds` | what AW and W offer stays, unchanged, until taken |
/// | `address_right` | AW offers what the store unit asked for |
/// | `word_after_address` | W offers nothing before AW has taken the address of its burst |
/// | `last_on_last` | WLAST is set on the last word of each burst, and on no other: a burst has as many words as AW said |
/// | `at_most_all`, `no_underflow` | never more bursts without a response than there is room for, and no response too many |
/// | `word_is_next`, `no_word_lost` | outside a flush W offers the store unit's words, each once |
/// | `burst_follows`, `flush_pays` | a burst is begun as soon as W is through with the one before it; in a flush it goes on without words of the store unit |
/// | `flush_writes_nothing`, `flush_grants_nothing` | words offered in a flush have no strobes, and no burst is taken in one |
/// | `idle_right` | `idle` says that every burst has its response and that AW and W are quiet |
/// | `fault_right` | a fault is an error response outside a flush |
/// | `few`, `counts`, `in_step`, `partial_word`, `lengths_right`, `beats_right`, `begins_at_zero`, `watched_is_inside`, `watched_is_kept`, `watched_left` | what makes these inductive |
pub fn proof(log_outstanding: u32) -> Module {
    const WORDS: u32 = 2;
    let m = Module::new("write_proof");
    let e = describe(&m, MemoryStyle::Distributed, WORDS, 1, log_outstanding, 1);
    let (log, bits) = (log_outstanding, log_outstanding + 1);
    let wide = bits + 1;
    let most = m.lit(BURST_BEATS.into(), BURST_BITS);
    m.assume_always("request_right", e.request_beats.any() & e.request_beats.le(most));

    // What the ports say: bursts promised by AW, ended by W and not answered by B, and words sent of the burst at W.
    let addressed = (e.awvalid & e.awready).named("promises");
    let sent = (e.wvalid & e.wready).named("word_sent");
    let ends = (sent & e.wlast).named("burst_ends");
    let (promised, ended) = (m.reg("promised", bits, 0), m.reg("ended", bits, 0));
    let (unanswered, open) = (m.reg("unanswered", wide, 0), m.reg("open", wide, 0));
    let position = m.reg("position", BURST_BITS, 0);
    m.assume_always("answers_follow", !e.bvalid | unanswered.any() | ends);
    m.when(addressed, || promised.set(promised.inc()));
    m.when(sent, || position.set(position.inc()));
    m.when(ends, || {
        ended.set(ended.inc());
        position.set_to(0);
    });
    unanswered.set(unanswered + ends.zext(wide) - e.bvalid.zext(wide));
    open.set(open + addressed.zext(wide) - e.bvalid.zext(wide));

    let stalled = m.delay("address_stalled", e.awvalid & !e.awready);
    let payload = m.cat(&[e.awaddr, e.awlen]).named("address_now");
    m.assert_always("address_holds", !stalled | (e.awvalid & payload.eq(m.delay("address_before", payload))));
    let asked = m.delay("asked", m.cat(&[m.lit(0, 1), e.request_address, e.request_beats.dec().zext(8)]));
    let granted = m.delay("granted", e.request_ready);
    m.assert_always("address_right", !granted | (e.awvalid & payload.eq(asked)));
    let stalled = m.delay("word_stalled", e.wvalid & !e.wready);
    let payload = m.cat(&[e.wdata, e.wstrb, e.wlast]).named("word_now");
    m.assert_always("word_holds", !stalled | (e.wvalid & payload.eq(m.delay("word_before", payload))));

    let unended = (promised - ended).named("unended");
    m.assert_always("word_after_address", !e.wvalid | unended.any());
    m.assert_always("at_most_all", (open + e.awvalid.zext(wide)).le(m.lit(1 << log, wide)));
    m.assert_always("no_underflow", !e.bvalid | (open.any() & e.outstanding.any()));
    let at_w = (e.wvalid & e.wlast).named("last_at_w");
    let all = m.lit(1 << log, wide);
    m.assert_always("few", open.le(all) & unanswered.le(all) & unended.zext(wide).le(all));
    let under_way = (unended.zext(wide) + unanswered).named("bursts_under_way");
    let right = open.eq(under_way) & e.outstanding.zext(wide).eq(open + e.awvalid.zext(wide));
    m.assert_always("counts", right);
    let begun = e.left.any().zext(bits) + at_w.zext(bits);
    m.assert_always("in_step", promised.eq(e.tail) & e.head.eq(ended + begun) & begun.le(unended));
    m.assert_always("partial_word", !e.wvalid | e.wlast | e.left.any());
    m.assert_always("beats_right", !e.awvalid | e.beats.any());
    let waiting = (e.tail - e.head).named("waiting");
    let lengths_right: Vec<Net<'_>> = (0..1u128 << log)
        .map(|place| {
            let at = m.lit(place, log);
            let waits = (at - e.head.bits(0, log)).zext(bits).lt(waiting);
            !waits | e.lengths.read_now(&format!("length_{place}"), at).any()
        })
        .collect();
    m.assert_always("lengths_right", m.all_of(&lengths_right));

    // A word that stands at W for the first time was offered in the cycle before.
    let new = (e.wvalid & !m.delay("word_stood", e.wvalid & !e.wready)).named("new_word");
    let flushed = m.delay("flushed", e.flush);
    let next = m.delay("next_word", e.word);
    let had_word = m.delay("had_word", e.there);
    let same = m.cat(&[e.wdata, e.wstrb]).eq(next);
    m.assert_always("word_is_next", !new | flushed | (had_word & same));
    let left_queue = m.delay("left_queue", e.there & e.take & !e.flush);
    m.assert_always("no_word_lost", !left_queue | new);
    m.assert_always("flush_writes_nothing", !(new & flushed) | !e.wstrb.any());
    m.assert_always("flush_grants_nothing", !e.flush | !e.request_ready);
    let free = (!e.wvalid | e.wready).named("w_free");
    let pays = m.delay("pays", e.flush & e.left.any() & free);
    m.assert_always("flush_pays", !pays | new);
    let follows = m.delay("follows", waiting.any() & !e.left.any());
    m.assert_always("burst_follows", !follows | e.left.any());
    m.assert_always("idle_right", !e.idle | !(open.any() | e.awvalid | e.wvalid | unended.any() | e.there));
    // A variable of its own: said of the engine's own expression, this would be true whatever the engine does.
    let wrong = m.var("error_seen", e.bresp.bit(1));
    m.assert_always("fault_right", e.fault.eq(e.bvalid & wrong & !e.flush));

    let watch = m.input("watch", 1);
    let (watching, place) = (m.reg("watching", 1, 0), m.data_reg("watched_place", bits));
    let beats = m.data_reg("watched_beats", 8);
    let at_port = (watching & place.eq(ended)).named("at_port");
    m.when_else(
        watching,
        || m.when(at_port & ends, || watching.set_to(0)),
        || {
            m.when(addressed & watch, || {
                watching.set_to(1);
                place.set(promised);
                beats.set(e.awlen.inc());
            });
        },
    );
    let done = (position.zext(8) + e.wvalid.zext(8)).named("words_with_this");
    m.assert_always("last_on_last", !(at_port & e.wvalid) | e.wlast.eq(done.eq(beats)));
    m.assert_always("begins_at_zero", ended.ne(e.head) | !position.any());
    let possible = beats.any() & beats.below(1 << BURST_BITS);
    m.assert_always("watched_is_inside", !watching | ((place - ended).lt(unended) & possible));
    let waits = (place - e.head).lt(waiting).named("watched_waits");
    let length = e.lengths.read_now("watched_length", place.bits(0, log));
    m.assert_always("watched_is_kept", !(watching & waits) | length.zext(8).eq(beats));
    let at_hand = (watching & !waits & e.left.any() & place.inc().eq(e.head)).named("watched_at_hand");
    let behind = at_port.mux(done, m.lit(0, 8));
    m.assert_always("watched_left", !at_hand | (behind + e.left.zext(8)).eq(beats));
    m
}

/// The values of an engine that a proof speaks of.
struct Parts<'m> {
    request_ready: Net<'m>,
    request_address: Net<'m>,
    request_beats: Net<'m>,
    flush: Net<'m>,
    idle: Net<'m>,
    fault: Net<'m>,
    awvalid: Net<'m>,
    awready: Net<'m>,
    awaddr: Net<'m>,
    awlen: Net<'m>,
    wvalid: Net<'m>,
    wready: Net<'m>,
    wdata: Net<'m>,
    wstrb: Net<'m>,
    wlast: Net<'m>,
    bvalid: Net<'m>,
    bresp: Net<'m>,
    outstanding: Net<'m>,
    beats: Net<'m>,
    lengths: Memory<'m>,
    head: Net<'m>,
    tail: Net<'m>,
    left: Net<'m>,
    there: Net<'m>,
    word: Net<'m>,
    take: Net<'m>,
}

fn describe(
    m: &Module,
    small: MemoryStyle,
    words: u32,
    log_bus_bytes: u32,
    log_outstanding: u32,
    log_words: u32,
) -> Parts<'_> {
    let bus = 8 << log_bus_bytes;
    let request_valid = m.input("request_valid", 1);
    let request_address = m.input("request_address", words);
    let request_beats = m.input("request_beats", BURST_BITS);
    let data_valid = m.input("data_valid", 1);
    let data = m.input("data", bus);
    let strobe = m.input("strobe", bus / 8);
    let flush = m.input("flush", 1);
    let awready = m.input("axi_awready", 1);
    let wready = m.input("axi_wready", 1);
    let bvalid = m.input("axi_bvalid", 1);
    let bresp = m.input("axi_bresp", 2);

    // Bursts without a response.
    let outstanding = m.reg("outstanding", log_outstanding + 1, 0);
    let room = (!outstanding.is(1 << log_outstanding)).named("room");
    let awvalid = m.reg("awvalid", 1, 0);
    let address = m.data_reg("address", words);
    let beats = m.data_reg("beats", BURST_BITS);
    let grant = (request_valid & !awvalid & room & !flush).named("grant");
    let addressed = (awvalid & awready).named("addressed");
    m.when(addressed, || awvalid.set_to(0));
    m.when(grant, || {
        awvalid.set_to(1);
        address.set(request_address);
        beats.set(request_beats);
    });
    let answered = bvalid;
    m.when(grant & !answered, || outstanding.set(outstanding.inc()));
    m.when(!grant & answered, || outstanding.set(outstanding.dec()));

    // Lengths of the bursts whose address has gone out.
    let lengths = m.memory("lengths", log_outstanding, BURST_BITS, small);
    let head = m.reg("head", log_outstanding + 1, 0);
    let tail = m.reg("tail", log_outstanding + 1, 0);
    lengths.write(addressed, tail.bits(0, log_outstanding), beats);
    m.when(addressed, || tail.set(tail.inc()));
    let length = lengths.read_now("length", head.bits(0, log_outstanding));

    // Words of the burst at hand that W has not taken.
    let left = m.reg("left", BURST_BITS, 0);
    let wvalid = m.reg("wvalid", 1, 0);
    let wdata = m.data_reg("wdata", bus);
    let wstrb = m.data_reg("wstrb", bus / 8);
    let wlast = m.data_reg("wlast", 1);
    let take = m.var("take", m.lit(0, 1));
    let store = m.instance(
        "words",
        &queue("write_words", bus + bus / 8, log_words, small),
        &[("in_valid", data_valid), ("in_data", m.cat(&[data, strobe])), ("out_ready", take), ("flush", m.lit(0, 1))],
    );
    let there = store.get("out_valid");
    let word = store.get("out_data");
    let sent = (wvalid & wready).named("sent");
    let free = (!wvalid | wready).named("free");
    let offer = (left.any() & free & (there | flush)).named("offer");
    // After a flush whatever is left over belongs to no burst.
    let stale = (flush & !left.any() & head.eq(tail)).named("stale");
    take.set((offer & there) | stale);
    m.when(sent, || wvalid.set_to(0));
    m.when(offer, || {
        wvalid.set_to(1);
        wdata.set(word.bits(0, bus));
        wstrb.set((there & !flush).mux(word.bits(bus, bus / 8), m.lit(0, bus / 8)));
        wlast.set(left.is(1));
        left.set(left.dec());
    });
    // The next burst follows without a gap.
    let next = (!head.eq(tail) & (!left.any() | (offer & left.is(1)))).named("next");
    m.when(next, || {
        left.set(length);
        head.set(head.inc());
    });

    let idle = !outstanding.any() & !there & !wvalid;
    let fault = bvalid & bresp.bit(1) & !flush;
    let awaddr = m.cat(&[m.lit(0, log_bus_bytes), address]);
    let awlen = (beats - m.lit(1, BURST_BITS)).zext(8);
    m.output("request_ready", grant);
    m.output("data_ready", store.get("in_ready"));
    m.output("idle", idle);
    m.output("fault", fault);
    m.output("axi_awvalid", awvalid);
    m.output("axi_awaddr", awaddr.resize(32));
    m.output("axi_awlen", awlen);
    m.output("axi_awsize", m.lit(log_bus_bytes.into(), 3));
    m.output("axi_awburst", m.lit(1, 2));
    m.output("axi_wvalid", wvalid);
    m.output("axi_wdata", wdata);
    m.output("axi_wstrb", wstrb);
    m.output("axi_wlast", wlast);
    m.output("axi_bready", m.lit(1, 1));
    Parts {
        request_ready: grant,
        request_address,
        request_beats,
        flush,
        idle,
        fault,
        awvalid,
        awready,
        awaddr,
        awlen,
        wvalid,
        wready,
        wdata,
        wstrb,
        wlast,
        bvalid,
        bresp,
        outstanding,
        beats,
        lengths,
        head,
        tail,
        left,
        there,
        word,
        take,
    }
}
