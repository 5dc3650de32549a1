//! Rows of invariant bit packing to words, at a word a cycle.
//!
//! A row has as many words of T bits as there are columns. Column by column it is known which bits are nearly always the same:
//! those of `mask`, with the values in `bitval`. A word *participates* where its masked bits have them, and then only the others
//! are sent. A packed row is
//!
//! ```text
//!  participation bits, least significant first, in words    bits of column 0 | of column 1 | ...   most significant first, in words
//! ```
//!
//! where a participating column sends its bits outside `mask`, most significant first, and another one all T. Zeros fill the last
//! word. A row that would not be shorter comes raw: its words, without participation bits.
//!
//! ```text
//!        +--> [ rows ] ---------> column walk --> width, participates --> n bits
//!  in ---+--> [ participation ] -----^                                    |
//!        +--> [ bits ] --> A | B ----- the T bits from bit `offset` <-----+   offset += n, modulo T; A, B and the queue move up
//!                                           |
//!                     stages 0..4 of the butterfly --> the other stages --> bitval outside the network's bits --> out
//! ```
//!
//! | port | | width | |
//! |---|---|---|---|
//! | `in_valid`, `in_ready`, `in_data`, `in_last`, `in_raw` | in | 1, 1, T, 1, 1 | the words of a row; `raw` counts with its first, `last` comes with its last |
//! | `out_valid`, `out_ready`, `out_data`, `out_last` | out | 1, 1, T, 1 | the words of the row, column by column |
//! | `config_valid`, `config_ready`, `config_data`, `config_last` | in | 1, 1, T, 1 | six words a column, as [`IbpUnpack::configuration`] makes them; `last` with the last word of the last column, which sets how many there are |
//! | `malformed` | out | 1 | the words of a row ended before its columns or after them, or a configuration did not fit; stays until reset |
//!
//! A packed row without any of the bits that it should have is not found out: it takes those of the next one.
//!
//! A configuration is taken while no row is inside and none is offered; rows wait until there is one. `config_ready` depends on
//! `in_valid`, and every other output on registers alone. `out_ready` reaches the enables of all stages within its cycle.
//!
//! Throughput: a word a cycle, from row to row too. While a row leaves, the participation bits of the next one are fetched; the
//! queues have room for them and for as many words of bits, so that even a row of one word less than raw holds up nothing.
//! Latency: [`IbpUnpack::latency`] cycles, 6 or 7.
//!
//! Six of T bits and fewer are the memories of a column: width, mask, bitval and three words of controls of the
//! [network](super::butterfly). Each is read when its stage comes. Area on ECP5, yosys 0.70, `synth_ecp5`, no place and route:
//!
//! | T | columns | LUT4 | registers | DP16KD | LUT RAM |
//! |---|---|---|---|---|---|
//! | 32 | 512 | 798 | 290 | 7 | 19 |
//! | 64 | 512 | 2,061 | 446 | 11 | 50 |

use tandem_rtl::{MemoryStyle, Module, Net, clog2};

use super::butterfly::{self, stage_bits};
use super::{StreamError, check_count, check_width, style};
use crate::queue::queue;
use crate::target::Target;

/// Words of a configuration for each column: bits outside the mask, mask, bitval, controls of two stages each.
pub const CONFIG_WORDS: usize = 6;
/// Columns at most.
const MAX_COLUMNS: u32 = 1 << 14;
/// Rows that wait, as a power of two.
const LOG_ROWS: u32 = 3;
/// Words of bits that wait beside those that the participation bits of a row take the place of.
const SLACK: u32 = 8;
/// Stages of the network before the register in its middle.
const EARLY: u32 = 4;
/// What the words of a configuration are called.
const FIELDS: [&str; CONFIG_WORDS] = ["free", "mask", "bitval", "controls_0", "controls_1", "controls_2"];

/// The sizes of the block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct IbpUnpack {
    word_bits: u32,
    columns: u32,
}

/// What is known of the columns, from the configuration stream.
struct Columns<'m> {
    m: &'m Module,
    loaded: Net<'m>,
    /// The number of the last column.
    top: Net<'m>,
    /// The column that is written, its word, and which field of it that is.
    column: Net<'m>,
    data: Net<'m>,
    writes: Vec<Net<'m>>,
}

/// The queues behind the input: what waits in them, and variables that take it.
struct Front<'m> {
    row: Head<'m>,
    participation: Head<'m>,
    bits: Head<'m>,
    /// No row is inside.
    empty: Net<'m>,
}

/// The oldest word of a queue.
#[derive(Clone, Copy)]
struct Head<'m> {
    valid: Net<'m>,
    data: Net<'m>,
    /// A variable: takes the word.
    take: Net<'m>,
}

/// A stage of the pipeline: whether it holds a column, and what it knows of it.
#[derive(Clone, Copy)]
struct Stage<'m> {
    full: Net<'m>,
    /// Whether the column's word lacks its masked bits, whether it is the last of its row, and its number.
    known: [Net<'m>; 3],
    /// A variable: the stage behind takes what this one holds.
    leaves: Net<'m>,
}

impl<'m> Stage<'m> {
    fn new(m: &'m Module, name: &str, column_bits: u32) -> Stage<'m> {
        let known = [("participates", 1), ("last", 1), ("column", column_bits)];
        Stage {
            full: m.reg(format!("{name}_full"), 1, 0),
            known: known.map(|(what, bits)| m.data_reg(format!("{name}_{what}"), bits)),
            leaves: m.var(format!("{name}_leaves"), m.lit(0, 1)),
        }
    }

    /// Whether it can take a column in this cycle.
    fn ready(self) -> Net<'m> {
        !self.full | self.leaves
    }

    /// Takes a column where `fire` is set, which needs [`Stage::ready`].
    fn take(self, m: &'m Module, fire: Net<'m>, known: [Net<'m>; 3]) {
        m.when(self.ready(), || self.full.set(fire));
        m.when(fire, || self.known.iter().zip(known).for_each(|(held, new)| held.set(new)));
    }
}

impl<'m> Columns<'m> {
    /// A field of a column, a cycle after it was asked for.
    fn read(&self, field: usize, bits: u32, enable: Net<'m>, column: Net<'m>) -> Net<'m> {
        let name = FIELDS[field];
        let memory = self.m.memory(&format!("all_{name}"), self.column.width(), bits, MemoryStyle::Block);
        memory.write(self.writes[field], self.column, self.data.bits(0, bits));
        memory.read(name, enable, column)
    }
}

impl IbpUnpack {
    /// A block for rows of words of 32 or 64 bits, with room for so many columns.
    ///
    /// # Errors
    /// [`StreamError`]: another width, no columns or more than 16,384.
    pub fn new(word_bits: u32, columns: u32) -> Result<IbpUnpack, StreamError> {
        check_width(word_bits)?;
        check_count("columns", columns, MAX_COLUMNS)?;
        Ok(IbpUnpack { word_bits, columns })
    }

    /// Bits of a word.
    pub fn word_bits(&self) -> u32 {
        self.word_bits
    }

    /// Columns that a row may have.
    pub fn columns(&self) -> u32 {
        self.columns
    }

    /// Cycles after which a word stands at the output at the latest, counted from the one in which the last beat that it needs was
    /// offered, where neither a word ahead of it nor the sink holds it up.
    pub fn latency(&self) -> u64 {
        if 1 << self.log_participation() > super::SHALLOW { 7 } else { 6 }
    }

    /// The words of the configuration stream for columns of these masks and values; bits beyond the width of a word count for
    /// nothing.
    pub fn configuration(&self, columns: &[(u64, u64)]) -> Vec<u64> {
        let all = u64::MAX >> (64 - self.word_bits);
        let half = stage_bits(self.word_bits);
        let words = |&(mask, bitval): &(u64, u64)| -> [u64; CONFIG_WORDS] {
            let stages = butterfly::controls(mask & all, self.word_bits);
            let pair = |at: usize| stages[2 * at] | stages.get(2 * at + 1).map_or(0, |second| second << half);
            let free = (!mask & all).count_ones();
            [free.into(), mask & all, bitval & mask & all, pair(0), pair(1), pair(2)]
        };
        columns.iter().flat_map(words).collect()
    }

    /// The block, as module `ibp_unpack`.
    pub fn module(&self, target: &Target) -> Module {
        let m = Module::new("ibp_unpack");
        let (t, log) = (self.word_bits, self.word_bits.trailing_zeros());
        let malformed = m.reg("wrong", 1, 0);
        let [width, take, early, late] =
            ["width", "take", "early", "late"].map(|name| Stage::new(&m, name, self.column_bits()));
        let leaving = m.reg("leaving", 1, 0);
        let (in_valid, out_ready) = (m.input("in_valid", 1), m.input("out_ready", 1));
        let empty = m.var("empty", m.lit(0, 1));
        let columns = self.configure(&m, empty, in_valid, malformed);
        let front = self.front(&m, in_valid, &columns, malformed, target);
        let stages = [width.full, take.full, early.full, late.full, leaving];
        empty.set(front.empty & !m.any_of(&stages));

        let (walks, known) = self.walk(&m, &columns, &front, width.ready());
        width.take(&m, walks, known);
        let free = columns.read(0, log + 1, walks, known[2]);

        let counts = (width.full & take.ready()).named("counts");
        width.leaves.set(counts);
        take.take(&m, counts, width.known);
        let count = m.data_reg("count", log + 1);
        m.when(counts, || count.set(width.known[0].mux(free, m.lit(t.into(), log + 1))));

        let (takes, chosen) = self.window(&m, &front.bits, take, count, early.ready(), malformed);
        take.leaves.set(takes);
        early.take(&m, takes, take.known);
        let bits = m.data_reg("bits", t);
        m.when(takes, || bits.set(chosen));
        let first = [3, 4].map(|field| columns.read(field, t, takes, take.known[2]));

        let spreads = (early.full & late.ready()).named("spreads");
        early.leaves.set(spreads);
        late.take(&m, spreads, early.known);
        let spread = m.data_reg("spread", t);
        m.when(spreads, || spread.set(self.network(&m, bits, &first, 0..EARLY, early.known[0])));
        let rest = (log - EARLY) * stage_bits(t);
        let [second, mask, bitval] =
            [(5, rest), (1, t), (2, t)].map(|(field, bits)| columns.read(field, bits, spreads, early.known[2]));

        let room = (!leaving | out_ready).named("out_room");
        let finishes = (late.full & room).named("finishes");
        late.leaves.set(finishes);
        let (out_data, out_last) = (m.data_reg("word", t), m.data_reg("word_last", 1));
        m.when(room, || leaving.set(finishes));
        m.when(finishes, || {
            let deposited = self.network(&m, spread, &[second], EARLY..log, late.known[0]);
            out_data.set(late.known[0].mux(deposited & !mask | bitval, deposited));
            out_last.set(late.known[1]);
        });
        m.output("out_valid", leaving);
        m.output("out_data", out_data);
        m.output("out_last", out_last);
        m.output("malformed", malformed);
        m
    }

    /// The memories' side of the configuration stream.
    fn configure<'m>(&self, m: &'m Module, empty: Net<'m>, in_valid: Net<'m>, malformed: Net<'m>) -> Columns<'m> {
        let address = self.column_bits();
        let (valid, last) = (m.input("config_valid", 1), m.input("config_last", 1));
        let data = m.input("config_data", self.word_bits);
        let (loaded, top) = (m.reg("loaded", 1, 0), m.data_reg("top", address));
        let (field, column) = (m.reg("config_field", 3, 0), m.reg("config_column", address, 0));
        let ready = (empty & !(in_valid & loaded)).named("config_room");
        let load = (valid & ready).named("load");
        let complete = field.is(CONFIG_WORDS as u128 - 1);
        m.when(load, || {
            loaded.set(last);
            field.set(complete.mux(m.lit(0, 3), field.inc()));
            m.when(complete, || column.set(column.inc()));
            m.when(last, || {
                top.set(column);
                field.set_to(0);
                column.set_to(0);
            });
            let full = column.is(u128::from(self.columns - 1));
            m.when(last.mux(!complete, complete & full), || malformed.set_to(1));
        });
        m.output("config_ready", ready);
        let writes = (0..CONFIG_WORDS).map(|at| load & field.is(at as u128)).collect();
        Columns { m, loaded, top, column, data, writes }
    }

    /// The queues behind the input, and who gets what.
    fn front<'m>(
        &self,
        m: &'m Module,
        valid: Net<'m>,
        columns: &Columns<'m>,
        malformed: Net<'m>,
        target: &Target,
    ) -> Front<'m> {
        let data = m.input("in_data", self.word_bits);
        let (last, raw) = (m.input("in_last", 1), m.input("in_raw", 1));
        let room = m.var("room", m.lit(0, 1));
        let ready = (columns.loaded & room).named("in_room");
        let enters = (valid & ready).named("enters");
        // The next word begins a row; it is one of participation bits, and which.
        let log = self.word_bits.trailing_zeros();
        let final_word = columns.top.bits(log, self.column_bits() - log);
        let (between, more) = (m.reg("between", 1, 1), m.data_reg("more_participation", 1));
        let number = m.reg("participation_number", final_word.width(), 0);
        let participation = between.mux(!raw, more).named("is_participation");
        let final_one = number.eq(final_word);
        m.when(enters, || {
            between.set(last);
            more.set(participation & !final_one);
            m.when(participation, || number.set((final_one | last).mux(m.lit(0, number.width()), number.inc())));
            m.when(participation & last & !final_one, || malformed.set_to(1));
        });
        let queue = |name: &str, log_depth: u32, push: Net<'m>, data: Net<'m>| {
            let style = style(target, 1 << log_depth);
            let storage = queue(&format!("ibp_unpack_{name}"), data.width(), log_depth, style);
            let take = m.var(format!("{name}_done"), m.lit(0, 1));
            let pins = [("in_valid", push), ("in_data", data), ("out_ready", take), ("flush", m.lit(0, 1))];
            let queue = m.instance(name, &storage, &pins);
            let head = Head { valid: queue.get("out_valid"), data: queue.get("out_data"), take };
            (head, queue.get("in_ready"), queue.get("level"))
        };
        let (row, row_room, rows) = queue("rows", LOG_ROWS, enters & between, raw);
        let (words, words_room, _) = queue("participation", self.log_participation(), enters & participation, data);
        let entry = m.cat(&[data, last]);
        let (bits, bits_room, _) = queue("stream", self.log_stream(), enters & !participation, entry);
        room.set(row_room & words_room & bits_room);
        m.output("in_ready", ready);
        Front { row, participation: words, bits, empty: between & !rows.any() }
    }

    /// The walk over the columns of a row: whether a column goes on, and what is known of it.
    fn walk<'m>(
        &self,
        m: &'m Module,
        columns: &Columns<'m>,
        front: &Front<'m>,
        ready: Net<'m>,
    ) -> (Net<'m>, [Net<'m>; 3]) {
        let column = m.reg("column", self.column_bits(), 0);
        let packed = !front.row.data;
        let fire = (front.row.valid & (front.row.data | front.participation.valid) & ready).named("walks");
        let last = column.eq(columns.top).named("last_column");
        let place = column.bits(0, self.word_bits.trailing_zeros());
        let participates = (packed & front.participation.data.pick(place, 1)).named("participates");
        m.when(fire, || column.set(last.mux(m.lit(0, column.width()), column.inc())));
        front.row.take.set(fire & last);
        front.participation.take.set(fire & packed & (last | place.all()));
        (fire, [participates, last, column])
    }

    /// The two words at hand and the place in them: whether the column's bits are there and go on, and those bits, first ones
    /// most significant, with what follows them behind.
    fn window<'m>(
        &self,
        m: &'m Module,
        queue: &Head<'m>,
        stage: Stage<'m>,
        count: Net<'m>,
        ready: Net<'m>,
        malformed: Net<'m>,
    ) -> (Net<'m>, Net<'m>) {
        let (t, log) = (self.word_bits, self.word_bits.trailing_zeros());
        let [_, last, _] = stage.known;
        let offset = m.reg("offset", log, 0);
        let [(a_full, a), (b_full, b)] =
            ["a", "b"].map(|name| (m.reg(format!("{name}_full"), 1, 0), m.data_reg(name, t + 1)));
        // The place behind the column's bits: in A, at its end, or in B.
        let end = (offset.zext(log + 1) + count).named("bits_end");
        let (whole, inside) = (end.bit(log), end.bits(0, log).any().named("ends_inside"));
        let enough = (!end.any() | a_full) & (!(whole & inside) | b_full);
        let fire = (stage.full & enough & ready).named("takes");
        // The last column's word is followed by zeros that nobody wants.
        let uses_a = (fire & (whole | last & inside)).named("uses_a");
        let uses_b = (fire & whole & last & inside).named("uses_b");
        m.when(fire, || offset.set(last.mux(m.lit(0, log), end.bits(0, log))));

        // A takes B, or the next word where B is used or empty; B takes the next word where A does not.
        let (shifts, loads) = (uses_a & b_full & !uses_b, (uses_a & !(b_full & !uses_b)) | !a_full);
        let fills = (a_full & !uses_a & !b_full) | shifts;
        queue.take.set(loads | fills);
        m.when(loads, || a.set(queue.data));
        m.when(shifts, || a.set(b));
        m.when(loads | shifts, || a_full.set(shifts | queue.valid));
        m.when(fills, || b.set(queue.data));
        m.when(fills | uses_b, || b_full.set(fills & queue.valid));

        // Where the words of the row end, columns of no bits may follow, and no others.
        let spent = m.reg("spent", 1, 0);
        m.when(fire, || spent.set(!last & (spent | uses_a & a.sign())));
        let short = spent & count.any();
        let long = last & uses_a & !uses_b & !a.sign();
        let beside = uses_b & (a.sign() | !b.sign());
        m.when(fire & (short | long | beside), || malformed.set_to(1));

        let both = m.cat(&[b.bits(0, t), a.bits(0, t)]).named("both");
        (fire, both.shl(offset).bits(t, t))
    }

    /// Some stages of the network, from words of controls for two stages each.
    fn network<'m>(
        &self,
        m: &'m Module,
        word: Net<'m>,
        controls: &[Net<'m>],
        stages: std::ops::Range<u32>,
        enable: Net<'m>,
    ) -> Net<'m> {
        let first = stages.start;
        stages.fold(word, |word, number| {
            let (pair, half) = ((number - first) / 2, (number - first) % 2);
            let bits = stage_bits(self.word_bits);
            butterfly::stage(m, number, word, controls[pair as usize].bits(half * bits, bits), enable)
        })
    }

    /// Bits of a column's number, more than those of a bit's number in a word.
    fn column_bits(&self) -> u32 {
        clog2(self.columns as usize).max(self.word_bits.trailing_zeros() + 1)
    }

    /// The participation bits of two rows.
    fn log_participation(&self) -> u32 {
        clog2(2 * self.columns.div_ceil(self.word_bits) as usize + 1).max(3)
    }

    /// What may wait of a row while the participation bits of the next one come.
    fn log_stream(&self) -> u32 {
        clog2((self.columns.div_ceil(self.word_bits) + SLACK) as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_that_do_not_fit_are_refused_in_a_sentence() {
        let error = |t, c| IbpUnpack::new(t, c).unwrap_err().to_string();
        assert_eq!(error(128, 4), "a stream of 128-bit words: the words of this block have 32 or 64 bits");
        assert_eq!(error(32, 0), "0 columns: this block has between 1 and 16384");
        assert_eq!(error(64, 16385), "16385 columns: this block has between 1 and 16384");
        assert!(IbpUnpack::new(64, 16384).is_ok());
    }

    #[test]
    fn every_size_is_a_module() {
        for (word_bits, columns) in [(32, 1), (64, 1), (32, 33), (64, 512), (32, 16384)] {
            for lut_ram in [false, true] {
                let module =
                    IbpUnpack::new(word_bits, columns).unwrap().module(&Target { lut_ram, ..Target::default() });
                assert!(module.verilog().contains("module ibp_unpack"), "{word_bits} bits, {columns} columns");
            }
        }
    }

    #[test]
    fn a_configuration_has_six_words_a_column_that_fit() {
        let block = IbpUnpack::new(32, 4).unwrap();
        let words = block.configuration(&[(0, 0), (u64::MAX, u64::MAX), (0xffff_0000, 0x1234_5678)]);
        assert_eq!(words.len(), 3 * CONFIG_WORDS);
        assert!(words.iter().all(|&word| word <= u64::from(u32::MAX)));
        assert_eq!(words[..6], [32, 0, 0, 0, 0, 0]);
        assert_eq!(words[6..9], [0, 0xffff_ffff, 0xffff_ffff]);
        assert_eq!(words[12..15], [16, 0xffff_0000, 0x1234_0000]);
    }
}
