//! The bridge: from bytes of the serial line to words of the board's address space.
//!
//! ```text
//!  byte --> border, escape --> header, payload, CRC --> right? --> words, one at a time --> reply --> byte
//!                                   |  ^--- [ 64 words ] ---^
//!           plain command ----------+--> a word at a time
//! ```
//!
//! | port | width | meaning |
//! |---|---|---|
//! | `rx_valid`, `rx_data` | 1, 8 | a byte from the host, for one cycle |
//! | `tx_valid`, `tx_data`, `tx_ready` | 1, 8, 1 | a byte to the host |
//! | `access`, `write`, `address`, `wdata` | 1, 1, 30, 32 | a word is to be read or written, until `done` |
//! | `done`, `failed`, `missing` | 1 | it has been; with an error; nothing has this address |
//! | `own`, `from_core`, `core_data`, `memory_data` | 1, 1, 32, bus | what was read is one of the shell's words; the core's; else memory's |
//! | `tick` | 1 | every so many cycles: a plain command that two of them find silent is forgotten |
//! | `unlock` | 1 | plain commands are taken again |
//! | `active` | 1 | a frame or a command is at hand |
//!
//! Two languages. *Plain* commands are uartbone's, as LiteX tools speak it: 01 write, 02 read, 03 and 04 the same without counting
//! up; a number of words (1 to 255), a word address, words, all big-endian. Nothing protects them, so from the first checked frame
//! on they are ignored, until `unlock`.
//!
//! *Checked frames* stand between two borders (C0; inside, C0 is DB DC and DB is DB DD): kind (11 write, 12 read), sequence number,
//! words (1 to 64), word address, words, CRC-32 (IEEE 802.3), most significant byte first. The reply: kind + 80, sequence number,
//! status (0 done, 1 bus error, 2 no such address), words read where that is 0, CRC-32. What is not a frame executes nothing and
//! is answered with kind FF, number 0, status EE. A write is buffered and executed when its CRC has been found right. A write
//! with the number and the CRC of the last good frame, if that was a write, is the same one sent again: it is answered and not
//! executed again.
//!
//! The CRC takes a bit a cycle, a word of memory what the memory takes. Bytes that arrive while a frame executes or is answered
//! are lost. The address counts within the memory and one bit beyond; no frame that begins inside leaves it for another window.

use tandem_rtl::{MemoryStyle, Module, Net};

const BORDER: u128 = 0xc0;
const ESCAPE: u128 = 0xdb;
const ESCAPED_BORDER: u128 = 0xdc;
const ESCAPED_ESCAPE: u128 = 0xdd;
const WRITE: u128 = 0x11;
const READ: u128 = 0x12;
/// The generator of CRC-32, reflected.
const POLYNOMIAL: u128 = 0xedb8_8320;
/// Words of the longest checked frame, as a power of two.
const LOG_WORDS: u32 = 6;
/// Bits of the number of a shell word.
const OWN_BITS: u32 = 3;

/// What the shell says of itself: its words, of which number [`REFUSALS`] is counted here.
pub(super) struct Words {
    pub constants: [u32; 1 << OWN_BITS],
    /// The word with the number of frames refused.
    pub refusals: usize,
}

/// The block, on a board with `1 << log_bytes` bytes of memory behind a bus of so many bits.
pub(crate) fn bridge(bus: u32, log_bytes: u32, words: &Words) -> Module {
    let m = Module::new("bridge");
    let (rx_valid, rx_data) = (m.input("rx_valid", 1), m.input("rx_data", 8));
    let tx_ready = m.input("tx_ready", 1);
    let [done, failed, missing, own, from_core, tick, unlock] =
        ["done", "failed", "missing", "own", "from_core", "tick", "unlock"].map(|name| m.input(name, 1));
    let (core_data, memory_data) = (m.input("core_data", 32), m.input("memory_data", bus));
    let (no, yes) = (m.lit(0, 1), m.lit(1, 1));

    let state = m.fsm("state", &["hunt", "plain", "plain_word", "frame", "next", "load", "access", "send"]);
    let at = |name: &str| state.at(name).named(&format!("at_{name}"));
    // The frame or command at hand.
    let (writes, fixed, plain) = (m.data_reg("writes", 1), m.data_reg("fixed", 1), m.data_reg("is_plain", 1));
    let (seq, count) = (m.data_reg("seq", 8), m.data_reg("count", 8));
    let (address, status) = (m.data_reg("at_address", 30), m.data_reg("status", 2));
    let (field, lane, word) = (m.data_reg("field", 3), m.data_reg("lane", 2), m.data_reg("word", 8));
    let (escaped, bad, complete) = (m.data_reg("escaped", 1), m.data_reg("bad", 1), m.data_reg("complete", 1));
    let (locked, silent) = (m.reg("locked", 1, 0), m.data_reg("silent", 1));
    let refuse = m.data_reg("refuse", 1);
    let counters = ["clear", "next_word", "next_lane", "next_field"];
    let [clear, next_word, next_lane, next_field] = counters.map(|name| m.var(name, no));
    m.when(next_field, || field.set(field.inc()));
    m.when(next_word, || word.set(word.inc()));
    m.when(next_lane, || lane.set(lane.inc()));
    m.when(clear, || {
        word.set_to(0);
        lane.set_to(0);
    });
    let all_words = word.eq(count).named("all_words");
    // The number of the last good frame, if that was a write; its CRC is in the buffer, behind the words, in one of two places.
    let (known, last_seq, differs) = (m.reg("known", 1, 0), m.data_reg("last_seq", 8), m.data_reg("differs", 1));
    let place = m.data_reg("crc_place", 1);

    // CRC-32, a bit a cycle.
    let (crc, crc_data, crc_left) = (m.data_reg("crc", 32), m.data_reg("crc_data", 8), m.reg("crc_left", 4, 0));
    let (start_crc, add_to_crc, added) = (m.var("start_crc", no), m.var("add_to_crc", no), m.var("added", rx_data));
    let crc_busy = crc_left.any().named("crc_busy");
    let feedback = (crc.bit(0) ^ crc_data.bit(0)).named("feedback");
    m.when(crc_busy, || {
        let shifted = m.cat(&[crc.bits(1, 31), no]);
        crc.set(shifted ^ (feedback.repeat(32) & m.lit(POLYNOMIAL, 32)));
    });
    m.when(start_crc, || crc.set_to(0xffff_ffff));
    m.when(crc_busy | add_to_crc, || {
        crc_data.set(add_to_crc.mux(added, m.cat(&[crc_data.bits(1, 7), no])));
        crc_left.set(add_to_crc.mux(m.lit(8, 4), crc_left.dec()));
    });
    // Most significant byte first.
    let crc_byte = (!crc).pick(!lane, 8).named("crc_byte");

    // Bytes from the line.
    let border = (rx_valid & rx_data.is(BORDER)).named("border");
    let escape = (rx_valid & rx_data.is(ESCAPE)).named("escape");
    let odd = rx_data.bit(0);
    let original = m.cat(&[odd, odd, no, odd, odd, no, m.lit(3, 2)]);
    let value = escaped.mux(original, rx_data).named("value");
    let in_frame = (at("frame") & rx_valid & !border & (escaped | !escape)).named("in_frame");

    // The buffer: bytes from the line, words from where they were read, the CRC of the last write.
    let buffer = m.memory("buffer", LOG_WORDS + 1, 32, MemoryStyle::Block);
    let lanes: Vec<Net<'_>> = (0..4).map(|byte| (!lane).is(byte)).collect();
    let (put_byte, put_word) = (m.var("put_byte", no), m.var("put_word", no));
    let halves = match (bus / 32).trailing_zeros() {
        1 => memory_data.lanes(2),
        bits => vec![memory_data.pick(address.bits(0, bits), 32); 2],
    };
    // A word of the shell is kept as its number.
    let number = own.repeat(OWN_BITS);
    let halves: Vec<Net<'_>> = halves
        .into_iter()
        .map(|half| {
            let low = (address.bits(0, OWN_BITS) & number) | (half.bits(0, OWN_BITS) & !number);
            m.cat(&[low, half.bits(OWN_BITS, 32 - OWN_BITS)])
        })
        .collect();
    let payload = (writes & !complete & !all_words).named("is_payload");
    let into = slot(&m, word, at("frame") & !payload, place);
    let lanes = m.cat(&lanes) & put_byte.repeat(4) | put_word.repeat(4);
    // One of four, by two bits, is two look-up tables a bit.
    let sources = m.cat(&[halves[0], halves[1], core_data, value.repeat(4)]);
    let source = m.cat(&[!put_word | (!from_core & address.bit(0)), !put_word | from_core]).named("source");
    buffer.write(lanes, into, sources.pick(source, 32));
    // A word that is written is not read in the same cycle.
    let load = at("send") | at("load") | at("frame");
    let stored = buffer.read("stored", load.named("load_word"), slot(&m, word, at("frame"), !place));
    // The byte at hand. It has many cycles to get through its registers, and block RAM is slow.
    let (stored_byte, sent_byte) = (m.data_reg("stored_byte", 8), m.data_reg("sent_byte", 8));
    stored_byte.set(stored.pick(!lane, 8));

    // What begins.
    let begin = || {
        for flag in [escaped, bad, complete, refuse] {
            flag.set_to(0);
        }
        clear.set_to(1);
        start_crc.set_to(1);
    };
    m.when(unlock, || locked.set_to(0));
    m.when(at("hunt"), || {
        begin();
        silent.set_to(0);
        plain.set(!border);
        writes.set(rx_data.bit(0));
        fixed.set(!border & (rx_data.bit(2) | rx_data.bits(0, 2).all()));
        field.set(m.cat(&[no, !border, no]));
        let command = !rx_data.bits(3, 5).any() & (rx_data.bit(2) ^ rx_data.bits(0, 2).any());
        m.when(rx_valid & !locked & command, || state.go("plain"));
        m.when(border, || state.go("frame"));
    });
    let collecting = (at("plain") | at("plain_word")).named("collecting");
    m.when(collecting & tick, || {
        silent.set_to(1);
        m.when(silent, || state.go("hunt"));
    });
    m.when(rx_valid, || silent.set_to(0));

    // Headers: kind and number of a frame, then the number of words and the address of both.
    m.when(at("frame") & rx_valid, || {
        escaped.set(!escaped & escape);
        let strange = escaped & !rx_data.is(ESCAPED_BORDER) & !rx_data.is(ESCAPED_ESCAPE);
        m.when(strange, || bad.set_to(1));
    });
    let header = ((in_frame & !field.all()) | (at("plain") & rx_valid)).named("header");
    m.when(header, || {
        next_field.set_to(1);
        m.when(field.is(0), || {
            writes.set(value.bit(0));
            bad.set(bad | !(value.is(WRITE) | value.is(READ)));
        });
        m.when(field.is(1), || {
            seq.set(value);
            differs.set(value.ne(last_seq) | !known);
        });
        m.when(field.is(2), || {
            count.set(value);
            m.when(!value.any() | value.bit(7) | (value.bit(6) & value.bits(0, 6).any()), || bad.set_to(1));
        });
        m.when(field.bit(2) | field.is(3), || address.set(m.cat(&[value, address.bits(0, 22)])));
        m.when(field.is(6) & plain, || state.go("next"));
    });
    m.when(in_frame & (!field.all() | payload), || add_to_crc.set_to(1));

    // Payload and CRC of a frame.
    m.when(in_frame & field.all(), || {
        put_byte.set_to(1);
        next_lane.set_to(1);
        m.when_else(
            payload,
            || next_word.set(lane.all()),
            || {
                m.when(complete | value.ne(crc_byte), || bad.set_to(1));
                m.when(value.ne(stored_byte), || differs.set_to(1));
                m.when(lane.all(), || complete.set_to(1));
            },
        );
    });
    let right = (complete & !bad & !escaped).named("is_right");
    let again = (writes & !differs).named("is_again");
    m.when(at("frame") & border & (field.any() | escaped), || {
        begin();
        field.set_to(0);
        refuse.set(!right);
        m.when(right, || {
            locked.set_to(1);
            known.set(writes);
            last_seq.set(seq);
            place.set(!place);
        });
        m.when(right & !again, || status.set_to(0));
        m.when_else(right & !again, || state.go("next"), || state.go("send"));
    });

    // Words of a frame or command.
    m.when(at("next"), || {
        m.when_else(
            all_words,
            || {
                clear.set_to(1);
                m.when_else(plain, || state.go("hunt"), || state.go("send"));
            },
            || m.when_else(plain & writes, || state.go("plain_word"), || state.go("load")),
        );
    });
    m.when(at("plain_word") & rx_valid, || {
        put_byte.set_to(1);
        next_lane.set_to(1);
        m.when(lane.all(), || state.go("load"));
    });
    m.when(at("load"), || state.go("access"));
    let asks_plainly = (plain & !writes).named("asks_plainly");
    m.when(at("access") & done, || {
        put_word.set(!writes);
        m.when(failed, || status.set_to(1));
        m.when(missing, || status.set_to(2));
        let counted = (log_bytes - 1).min(30);
        let low = address.bits(0, counted);
        let next = if counted == 30 { low.inc() } else { m.cat(&[low.inc(), address.bits(counted, 30 - counted)]) };
        m.when(!fixed, || address.set(next));
        m.when_else(
            asks_plainly,
            || {
                // The word has to come out of the buffer first, for which the CRC takes its time.
                add_to_crc.set_to(1);
                state.go("send");
            },
            || {
                next_word.set_to(1);
                state.go("next");
            },
        );
    });

    // Replies.
    let refusals = m.reg("refusals", 8, 0);
    let own_words: Vec<Net<'_>> = (0..4 << OWN_BITS)
        .map(|at| {
            let (number, lane) = (at / 4, at % 4);
            if number == words.refusals && lane == 3 {
                return refusals;
            }
            m.lit(words.constants[number].to_be_bytes()[lane].into(), 8)
        })
        .collect();
    let number = m.data_reg("own_number", OWN_BITS);
    number.set(stored.bits(0, OWN_BITS));
    let own_byte = m.cat(&own_words).named("own_words").pick(m.cat(&[lane, number]), 8);
    let shell_word = m.data_reg("is_shell_word", 1);
    m.when(at("access"), || shell_word.set(own));
    let kind = m.cat(&[writes, !writes, m.lit(0b10_0100, 6)]).named("reply_kind");
    let of_field = |number, more| (field.is(number) & more).repeat(8);
    let edge = (!field.any() | field.is(6)).named("is_edge");
    // A plain command stays in the field after its header, where nothing but a word is sent.
    let of_word = (field.is(4) | plain).named("of_word");
    // Sums of what is chosen: fewer look-up tables than a choice.
    let fixed_byte = (m.lit(BORDER, 8) & edge.repeat(8))
        | ((kind | refuse.repeat(8)) & of_field(1, yes))
        | (refuse.mux(m.lit(0xee, 8), status.zext(8)) & of_field(3, yes))
        | (own_byte & (of_word & shell_word).repeat(8));
    let moving = (stored_byte & (of_word & !shell_word).repeat(8)) | (crc_byte & of_field(5, yes));
    sent_byte.set(moving | (seq & of_field(2, !refuse)) | fixed_byte);
    let item = sent_byte;
    added.set(at("send").mux(item, value));
    let special = (!edge & !plain & (item.is(BORDER) | item.is(ESCAPE))).named("special");
    let second = m.cat(&[item.bit(0), m.lit(ESCAPED_BORDER >> 1, 7)]).named("second");
    let sends = (at("send") & m.delay("was_at_send", at("send")) & !crc_busy).named("sends");
    let first = (special & !escaped).named("escapes");
    let out = special.mux(escaped.mux(second, m.lit(ESCAPE, 8)), item).named("out");
    let sent = (sends & tx_ready).named("sent");
    // Where there are no words, or no more.
    let ended = all_words | writes | refuse | status.any();
    m.when(at("send") & !plain & field.is(4) & !lane.any() & ended, || next_field.set_to(1));
    m.when(sent, || {
        escaped.set(first);
        m.when(!first, || {
            add_to_crc.set(!edge & !field.is(5));
            let many = (of_word | field.is(5)).named("many");
            next_lane.set(many);
            next_field.set(!many | (field.is(5) & lane.all()));
            next_word.set(lane.all());
            m.when(plain & lane.all(), || state.go("next"));
            m.when(field.is(6), || {
                m.when(refuse, || refusals.set(refusals.inc()));
                state.go("hunt");
            });
        });
    });

    m.output("tx_valid", sends);
    m.output("tx_data", out);
    m.output("access", at("access"));
    m.output("write", writes);
    m.output("address", address);
    m.output("wdata", stored);
    m.output("active", !at("hunt"));
    m
}

/// Where a word lies in the buffer: among the words, or in one of two places for a CRC.
fn slot<'m>(m: &'m Module, word: Net<'m>, crc: Net<'m>, place: Net<'m>) -> Net<'m> {
    let rest = word.bits(1, LOG_WORDS - 1) & (!crc).repeat(LOG_WORDS - 1);
    m.cat(&[crc.mux(place, word.bit(0)), rest, crc])
}
