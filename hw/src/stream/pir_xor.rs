//! XOR of the buckets that each of many queries asks for, over one pass of a database.
//!
//! ```text
//!  request --> [ queue ] --Q bits-------------------------+
//!                                                         v
//!  words ----> [ word | index ] --------------> word & bit q ^ [ accumulators of query q, a word an index ] x Q
//!                                                                  |
//!  results <-- [ out register ] <-- query `drain_query` of Q <-----+   after the last bucket
//! ```
//!
//! `out[q][w]` is the XOR, over the buckets b whose bit q is set, of word w of bucket b. Nothing but data depends on a bit of a
//! request: the words that move, the addresses and the cycles are the same whatever is asked for.
//!
//! | port | | width | |
//! |---|---|---|---|
//! | `request_valid`, `request_ready`, `request_data`, `request_last` | in | 1, 1, Q, 1 | bit q: whether query q wants this bucket; one beat a bucket, `last` with the last bucket |
//! | `in_valid`, `in_ready`, `in_data`, `in_last` | in | 1, 1, T, 1 | the words of the buckets, `last` with the last one of each |
//! | `out_valid`, `out_ready`, `out_data`, `out_last` | out | 1, 1, T, 1 | results, query by query, word by word; `last` with the last |
//! | `malformed` | out | 1 | a bucket had another number of words than the first, or more than there is room for; stays until reset |
//!
//! All buckets of a scan have as many words as its first one. Scans follow one another without a reset; accumulators need no
//! clearing, because the first bucket overwrites them. A result does not depend on what comes after it, and words of the next
//! scan wait until all results of this one are out.
//!
//! Throughput: a word a cycle, across buckets too, and then a result a cycle. Where there is room for two words a bucket or more,
//! buckets of a single word take two cycles each, because a memory does not read what it is being given. Latency: a request is
//! good for words from the next cycle on; the first result stands at the output [`PirXor::LATENCY`] cycles after the last word was
//! taken. `in_ready`, `request_ready` and `out_valid` depend on registers alone.
//!
//! Area: Q * T look-up tables for the accumulators, and about as many for the choice of a result. ECP5, yosys 0.70,
//! `synth_ecp5`, no place and route:
//!
//! | Q | T | words | LUT4 | registers | DP16KD | LUT RAM |
//! |---|---|---|---|---|---|---|
//! | 16 | 32 | 512 | 1,057 | 140 | 16 | 5 |
//! | 16 | 64 | 512 | 1,958 | 204 | 32 | 5 |
//! | 128 | 32 | 512 | 8,258 | 258 | 128 | 33 |
//! | 128 | 64 | 1 | 16,035 | 8,481 | 0 | 33 |

use tandem_rtl::{MemoryStyle, Module, Net, clog2};

use super::{StreamError, check_count, check_width, style};
use crate::queue::queue;
use crate::target::Target;

/// Queries at most.
const MAX_QUERIES: u32 = 128;
/// Words of a bucket at most.
const MAX_WORDS: u32 = 1 << 16;
/// Requests that wait, as a power of two.
const LOG_REQUESTS: u32 = 2;

/// The sizes of the block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PirXor {
    queries: u32,
    word_bits: u32,
    words: u32,
}

/// The accumulators of one word in flight, and how they are read and written.
struct Scan<'m> {
    /// A word is taken in this cycle, and where it belongs.
    take: Net<'m>,
    index: Net<'m>,
    /// The stage behind: a word with the bits of its bucket.
    busy: Net<'m>,
    at: Net<'m>,
    word: Net<'m>,
    bits: Net<'m>,
    first: Net<'m>,
}

impl PirXor {
    /// Cycles from the last word of a scan to its first result.
    pub const LATENCY: u64 = 4;

    /// A block for so many queries at once, over words of 32 or 64 bits, with room for so many words a bucket.
    ///
    /// # Errors
    /// [`StreamError`]: another width, no queries or more than 128, no words or more than 65,536.
    pub fn new(queries: u32, word_bits: u32, words: u32) -> Result<PirXor, StreamError> {
        check_width(word_bits)?;
        check_count("queries", queries, MAX_QUERIES)?;
        check_count("words a bucket", words, MAX_WORDS)?;
        Ok(PirXor { queries, word_bits, words })
    }

    /// Queries.
    pub fn queries(&self) -> u32 {
        self.queries
    }

    /// Bits of a word.
    pub fn word_bits(&self) -> u32 {
        self.word_bits
    }

    /// Words that a bucket may have.
    pub fn words(&self) -> u32 {
        self.words
    }

    /// The block, as module `pir_xor`.
    pub fn module(&self, target: &Target) -> Module {
        let m = Module::new("pir_xor");
        let (t, q) = (self.word_bits, self.queries);
        let address = clog2(self.words as usize);
        let (in_valid, in_data, in_last) = (m.input("in_valid", 1), m.input("in_data", t), m.input("in_last", 1));
        let requests = requests(&m, q, target);
        let phase = m.fsm("phase", &["scan", "drain", "finish"]);

        let index = m.reg("index", address, 0);
        let (opening, top) = (m.reg("opening", 1, 1), m.data_reg("top", address));
        let busy = m.reg("busy", 1, 0);
        let at = m.data_reg("at", address);
        let waits = if self.words > 1 { busy & at.eq(index) } else { m.lit(0, 1) };
        let ready = (phase.at("scan") & requests.valid & !waits).named("ready");
        let take = (in_valid & ready).named("take");
        let ends = (take & in_last).named("ends");
        requests.pop.set(ends);

        let scan = Scan {
            take,
            index,
            busy,
            at,
            word: m.data_reg("word", t),
            bits: m.data_reg("bits", q),
            first: m.data_reg("first", 1),
        };
        busy.set(take);
        m.when(take, || {
            at.set(index);
            scan.word.set(in_data);
            scan.bits.set(requests.data);
            scan.first.set(opening);
            index.set(in_last.mux(m.lit(0, address), index.inc()));
        });
        m.when(ends, || {
            opening.set(requests.last);
            m.when(opening, || top.set(index));
            m.when(requests.last, || phase.go("drain"));
        });
        let malformed = m.reg("wrong_length", 1, 0);
        let beyond = index.is(u128::from(self.words - 1)) & !in_last;
        let unequal = !opening & in_last.ne(index.eq(top));
        m.when(take & (beyond | unequal), || malformed.set_to(1));

        self.results(&m, &scan, phase, top, target);
        m.output("in_ready", ready);
        m.output("malformed", malformed);
        m
    }

    /// Everything behind the last word: the walk over the accumulators, and the stream of results.
    fn results<'m>(&self, m: &'m Module, scan: &Scan<'m>, phase: tandem_rtl::Fsm<'m>, top: Net<'m>, target: &Target) {
        let address = top.width();
        let log_queries = clog2(self.queries as usize);
        let out_ready = m.input("out_ready", 1);
        let (word, query) = (m.reg("drain_word", address, 0), m.reg("drain_query", log_queries, 0));
        // The stage of the accumulators' read registers, then the output register.
        let (read, leaves) = (m.reg("read", 1, 0), m.reg("leaves", 1, 0));
        let room = (!leaves | out_ready).named("room");
        let moves = (read & room).named("moves");
        let fire = (phase.at("drain") & !scan.busy & (!read | room)).named("fire");
        let (read_query, read_last) = (m.data_reg("read_query", log_queries), m.data_reg("read_last", 1));
        let (last_word, last_query) = (word.eq(top), query.is(u128::from(self.queries - 1)));
        m.when(fire, || {
            word.set(last_word.mux(m.lit(0, address), word.inc()));
            read_query.set(query);
            read_last.set(last_word & last_query);
            m.when(last_word, || query.set(last_query.mux(m.lit(0, log_queries), query.inc())));
            m.when(last_word & last_query, || phase.go("finish"));
        });
        m.when(!read | room, || read.set(fire));
        m.when(phase.at("finish") & (!read | room), || phase.go("scan"));

        let lanes = self.accumulators(m, scan, fire, word, target);
        let missing = (1u32 << log_queries) - self.queries;
        let padded: Vec<Net<'m>> = lanes.into_iter().chain((0..missing).map(|_| m.lit(0, self.word_bits))).collect();
        let all = m.cat(&padded).named("accumulated");
        let (data, last) = (m.data_reg("result", self.word_bits), m.data_reg("result_last", 1));
        m.when(room, || leaves.set(read));
        m.when(moves, || {
            data.set(all.pick(read_query, self.word_bits));
            last.set(read_last);
        });
        m.output("out_valid", leaves);
        m.output("out_data", data);
        m.output("out_last", last);
    }

    /// The accumulators of each query, one cycle after they were asked for.
    fn accumulators<'m>(
        &self,
        m: &'m Module,
        scan: &Scan<'m>,
        fire: Net<'m>,
        word: Net<'m>,
        target: &Target,
    ) -> Vec<Net<'m>> {
        let enable = (scan.take | fire).named("enable");
        let address = scan.take.mux(scan.index, word).named("address");
        let t = self.word_bits;
        let fold = |q: u32, old: Net<'m>| (old & (!scan.first).repeat(t)) ^ (scan.word & scan.bits.bit(q).repeat(t));
        // Block RAM beats registers where look-up tables cannot be memory.
        let style = if target.lut_ram { style(target, self.words) } else { MemoryStyle::Block };
        let lane = |q: u32| {
            if self.words == 1 {
                let only = m.data_reg(format!("lane_{q}"), t);
                m.when(scan.busy, || only.set(fold(q, only)));
                return only;
            }
            let memory = m.memory(&format!("lane_{q}"), address.width(), t, style);
            let old = memory.read(&format!("lane_{q}_word"), enable, address);
            memory.write(scan.busy, scan.at, fold(q, old));
            old
        };
        (0..self.queries).map(lane).collect()
    }
}

/// The requests, behind their queue.
struct Requests<'m> {
    valid: Net<'m>,
    data: Net<'m>,
    last: Net<'m>,
    /// A variable: takes the request at hand.
    pop: Net<'m>,
}

fn requests<'m>(m: &'m Module, queries: u32, target: &Target) -> Requests<'m> {
    let (valid, data) = (m.input("request_valid", 1), m.input("request_data", queries));
    let entry = m.cat(&[data, m.input("request_last", 1)]);
    let pop = m.var("request_done", m.lit(0, 1));
    let storage = queue("pir_xor_requests", queries + 1, LOG_REQUESTS, style(target, 1 << LOG_REQUESTS));
    let pins = [("in_valid", valid), ("in_data", entry), ("out_ready", pop), ("flush", m.lit(0, 1))];
    let waiting = m.instance("requests", &storage, &pins);
    m.output("request_ready", waiting.get("in_ready"));
    let head = waiting.get("out_data");
    Requests { valid: waiting.get("out_valid"), data: head.bits(0, queries), last: head.bit(queries), pop }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_that_do_not_fit_are_refused_in_a_sentence() {
        let error = |q, t, w| PirXor::new(q, t, w).unwrap_err().to_string();
        assert_eq!(error(4, 16, 4), "a stream of 16-bit words: the words of this block have 32 or 64 bits");
        assert_eq!(error(0, 32, 4), "0 queries: this block has between 1 and 128");
        assert_eq!(error(129, 32, 4), "129 queries: this block has between 1 and 128");
        assert_eq!(error(4, 64, 0), "0 words a bucket: this block has between 1 and 65536");
        assert!(PirXor::new(128, 64, 65536).is_ok());
    }

    #[test]
    fn every_size_is_a_module() {
        for (queries, word_bits, words) in [(1, 32, 1), (128, 64, 1), (3, 32, 2), (16, 64, 65536)] {
            for lut_ram in [false, true] {
                let block = PirXor::new(queries, word_bits, words).unwrap();
                let text = block.module(&Target { lut_ram, ..Target::default() }).verilog();
                assert!(text.contains("module pir_xor"), "{queries} queries of {words} {word_bits}-bit words");
            }
        }
    }
}
