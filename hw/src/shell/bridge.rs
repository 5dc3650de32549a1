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
//! | `done`, `rdata`, `failed`, `missing` | 1, 32, 1, 1 | it has been; with an error; nothing has this address |
//! | `tick` | 1 | every so many cycles: a plain command that two of them find silent is forgotten |
//! | `unlock` | 1 | plain commands are taken again |
//! | `active` | 1 | a frame or a command is at hand |
//! | `refused` | 1 | a frame was refused: for the counter |
//!
//! Two languages. *Plain* commands are uartbone's, as LiteX tools speak it: 01 write, 02 read, 03 and 04 the same without counting
//! up; a number of words (1 to 255), a word address, words, all big-endian. Nothing protects them, so from the first checked frame on
//! they are ignored, until `unlock`.
//!
//! *Checked frames* stand between two borders (C0; inside, C0 is DB DC and DB is DB DD): kind (11 write, 12 read), sequence number,
//! words (1 to 64), word address, words, CRC-32 (IEEE 802.3), most significant byte first. The reply: kind + 80, sequence number,
//! status (0 done, 1 bus error, 2 no such address), words read, CRC-32. What is not a frame executes nothing and is answered
//! with kind FF, number 0, status EE. A write is buffered and executed when its CRC has been found right; a write with the
//! sequence number of the frame before it is the same one sent again, and is answered and not executed again.
//!
//! The CRC takes a bit a cycle, a word of memory what the memory takes. Bytes that arrive while a frame executes are lost.

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

/// The block.
pub(crate) fn bridge() -> Module {
    let m = Module::new("bridge");
    let (rx_valid, rx_data) = (m.input("rx_valid", 1), m.input("rx_data", 8));
    let tx_ready = m.input("tx_ready", 1);
    let (done, rdata) = (m.input("done", 1), m.input("rdata", 32));
    let [failed, missing, tick, unlock] = ["failed", "missing", "tick", "unlock"].map(|name| m.input(name, 1));
    let no = m.lit(0, 1);

    let state =
        m.fsm("state", &["hunt", "plain", "plain_word", "plain_send", "frame", "look", "run", "access", "send"]);
    let at = |name: &str| state.at(name).named(&format!("at_{name}"));
    // The frame or command at hand.
    let (writes, fixed, plain) = (m.data_reg("writes", 1), m.data_reg("fixed", 1), m.data_reg("is_plain", 1));
    let (seq, count) = (m.data_reg("seq", 8), m.data_reg("count", 8));
    let (address, status) = (m.data_reg("at_address", 30), m.data_reg("status", 2));
    let (field, lane, word) = (m.data_reg("field", 3), m.data_reg("lane", 2), m.data_reg("word", LOG_WORDS + 1));
    let (escaped, bad, complete) = (m.data_reg("escaped", 1), m.data_reg("bad", 1), m.data_reg("complete", 1));
    let (locked, silent) = (m.reg("locked", 1, 0), m.data_reg("silent", 1));
    // The number of the frame before, if there was one.
    let (known, last_seq) = (m.reg("known", 1, 0), m.data_reg("last_seq", 8));

    // CRC-32, a bit a cycle.
    let (crc, crc_data, crc_left) = (m.data_reg("crc", 32), m.data_reg("crc_data", 8), m.reg("crc_left", 4, 0));
    let crc_busy = crc_left.any().named("crc_busy");
    let feedback = (crc.bit(0) ^ crc_data.bit(0)).named("feedback");
    m.when(crc_busy, || {
        let shifted = m.cat(&[crc.bits(1, 31), no]);
        crc.set(shifted ^ (feedback.repeat(32) & m.lit(POLYNOMIAL, 32)));
        crc_data.set(m.cat(&[crc_data.bits(1, 7), no]));
        crc_left.set(crc_left.dec());
    });
    let add_to_crc = |byte: Net<'_>| {
        crc_data.set(byte);
        crc_left.set_to(8);
    };
    let start_crc = || crc.set_to(0xffff_ffff);
    // Most significant byte first.
    let crc_byte = (!crc).pick(!lane, 8).named("crc_byte");

    // The buffer: bytes from the line, words from memory.
    let buffer = m.memory("buffer", LOG_WORDS, 32, MemoryStyle::Block);
    let (buffer_lanes, buffer_data) = (m.var("buffer_lanes", m.lit(0, 4)), m.var("buffer_data", rx_data.repeat(4)));
    let slot = word.bits(0, LOG_WORDS).named("slot");
    let lanes: Vec<Net<'_>> = (0..4).map(|byte| (!lane).is(byte)).collect();
    let this_lane = m.cat(&lanes).named("this_lane");
    buffer.write(buffer_lanes, slot, buffer_data);
    let load = m.var("load_word", no);
    let stored = buffer.read("stored", load, slot);

    // What the line brings.
    let border = (rx_valid & rx_data.is(BORDER)).named("border");
    let begin_frame = || {
        start_crc();
        for flag in [escaped, bad, complete, plain, fixed] {
            flag.set_to(0);
        }
        field.set_to(0);
        lane.set_to(0);
        word.set_to(0);
        state.go("frame");
    };
    m.when(unlock, || locked.set_to(0));
    m.when(at("hunt") & border, begin_frame);
    let command = (rx_valid & !locked & !rx_data.bits(3, 5).any() & rx_data.any()).named("command");
    let command = (command & (!rx_data.bit(2) | !rx_data.bits(0, 2).any())).named("plain_command");
    m.when(at("hunt") & command, || {
        plain.set_to(1);
        writes.set(rx_data.bit(0));
        fixed.set(rx_data.bit(2) | rx_data.bits(0, 2).all());
        field.set_to(2);
        lane.set_to(0);
        word.set_to(0);
        silent.set_to(0);
        state.go("plain");
    });
    let collecting = (at("plain") | at("plain_word")).named("collecting");
    m.when(collecting & tick, || {
        silent.set_to(1);
        m.when(silent, || state.go("hunt"));
    });
    m.when(collecting & rx_valid, || silent.set_to(0));

    // Headers: kind and number of a frame, then the number of words and the address of both.
    let escape = (rx_valid & rx_data.is(ESCAPE)).named("escape");
    let unescaped = escaped.mux(rx_data.is(ESCAPED_BORDER).mux(m.lit(BORDER, 8), m.lit(ESCAPE, 8)), rx_data);
    let unescaped = unescaped.named("unescaped");
    let in_frame = (at("frame") & rx_valid & !border & (escaped | !escape)).named("in_frame");
    let header = ((in_frame & !field.all()) | (at("plain") & rx_valid)).named("header");
    let value = plain.mux(rx_data, unescaped).named("value");
    m.when(at("frame") & rx_valid, || {
        escaped.set(!escaped & escape);
        let strange = escaped & !rx_data.is(ESCAPED_BORDER) & !rx_data.is(ESCAPED_ESCAPE);
        m.when(strange, || bad.set_to(1));
    });
    m.when(header, || {
        field.set(field.inc());
        m.when(field.is(0), || {
            writes.set(value.bit(0));
            bad.set(bad | !(value.is(WRITE) | value.is(READ)));
        });
        m.when(field.is(1), || seq.set(value));
        m.when(field.is(2), || {
            count.set(value);
            m.when(!value.any() | (value.bit(7) | (value.bit(6) & value.bits(0, 6).any())), || bad.set_to(1));
        });
        m.when(field.bit(2) | field.is(3), || address.set(m.cat(&[value, address.bits(0, 22)])));
        m.when(field.is(6) & plain, || {
            m.when_else(writes, || state.go("plain_word"), || state.go("access"));
            m.when(!count.any(), || state.go("hunt"));
        });
    });
    m.when(in_frame & !field.all(), || add_to_crc(value));

    // Payload and CRC of a frame.
    let payload = (writes & !complete & !word.eq(count.bits(0, LOG_WORDS + 1))).named("payload");
    m.when(in_frame & field.all(), || {
        lane.set(lane.inc());
        m.when_else(
            payload,
            || {
                buffer_lanes.set(this_lane);
                buffer_data.set(value.repeat(4));
                add_to_crc(value);
                m.when(lane.all(), || word.set(word.inc()));
            },
            || {
                m.when(complete | value.ne(crc_byte), || bad.set_to(1));
                m.when(lane.all(), || complete.set_to(1));
            },
        );
    });
    let begun = (field.any() | escaped).named("begun");
    let refuse = m.data_reg("refuse", 1);
    m.when(at("frame") & border & begun, || {
        lane.set_to(0);
        word.set_to(0);
        let right = complete & !bad & !escaped;
        refuse.set(!right);
        m.when_else(
            right,
            || state.go("look"),
            || {
                start_crc();
                field.set_to(0);
                state.go("send");
            },
        );
    });

    // A frame that is right.
    m.when(at("look"), || {
        locked.set_to(1);
        known.set_to(1);
        last_seq.set(seq);
        start_crc();
        field.set_to(0);
        m.when_else(
            known & writes & seq.eq(last_seq),
            || state.go("send"),
            || {
                status.set_to(0);
                state.go("run");
            },
        );
    });
    let last_word = word.zext(8).eq(count).named("all_words");
    m.when(at("run"), || {
        load.set_to(1);
        m.when_else(
            last_word,
            || {
                word.set_to(0);
                state.go("send");
            },
            || state.go("access"),
        );
    });
    m.when(at("access") & done, || {
        m.when(!writes, || {
            buffer_lanes.set_to(15);
            buffer_data.set(rdata);
        });
        m.when(failed, || status.set_to(1));
        m.when(missing, || status.set_to(2));
        m.when(!fixed, || address.set(address.inc()));
        m.when_else(
            plain,
            || {
                count.set(count.dec());
                m.when_else(
                    writes,
                    || m.when_else(count.is(1), || state.go("hunt"), || state.go("plain_word")),
                    || state.go("plain_send"),
                );
            },
            || {
                word.set(word.inc());
                state.go("run");
            },
        );
    });
    m.when(at("plain_word") & rx_valid, || {
        buffer_lanes.set(this_lane);
        lane.set(lane.inc());
        m.when(lane.all(), || state.go("run"));
    });

    // Replies.
    let refused_kind = m.lit(0xff, 8);
    let kind = m.cat(&[writes, !writes, m.lit(0b10_0100, 6)]).named("reply_kind");
    let items = [
        m.lit(BORDER, 8),
        refuse.mux(refused_kind, kind),
        refuse.mux(m.lit(0, 8), seq),
        refuse.mux(m.lit(0xee, 8), status.zext(8)),
        stored.pick(!lane, 8).named("stored_byte"),
        crc_byte,
        m.lit(BORDER, 8),
        m.lit(BORDER, 8),
    ];
    let item = m.cat(&items).named("items").pick(field, 8).named("item");
    let edge = (!field.any() | field.is(6)).named("is_edge");
    let special = (!edge & (item.is(BORDER) | item.is(ESCAPE))).named("special");
    let second = m.cat(&[item.is(ESCAPE), m.lit(ESCAPED_BORDER >> 1, 7)]).named("second");
    let sends = (at("send") & !crc_busy).named("sends");
    // The word has to come out of the buffer first.
    let raw = (at("plain_send") & m.delay("in_plain_send", at("plain_send"))).named("raw");
    let first = (special & !escaped).named("escapes");
    let out = special.mux(escaped.mux(second, m.lit(ESCAPE, 8)), item).named("out");
    let sent = (sends & tx_ready).named("sent");
    m.when(sent, || {
        escaped.set(first);
        m.when(!first, || {
            m.when(!edge & !field.is(5), || add_to_crc(item));
            field.set(field.inc());
            m.when(field.is(3) & (writes | refuse | status.any()), || field.set_to(5));
            m.when(field.is(4) | field.is(5), || {
                lane.set(lane.inc());
                m.when(!lane.all(), || field.set(field));
            });
            m.when(field.is(4) & lane.all(), || {
                word.set(word.inc());
                m.when(!word.inc().zext(8).eq(count), || field.set(field));
            });
            m.when(field.is(6), || {
                escaped.set_to(0);
                state.go("hunt");
            });
        });
    });
    m.when(at("send"), || load.set_to(1));
    m.when(raw & tx_ready, || {
        lane.set(lane.inc());
        m.when(lane.all(), || m.when_else(count.any(), || state.go("access"), || state.go("hunt")));
    });
    m.when(at("plain_send"), || load.set_to(1));

    m.output("tx_valid", sends | raw);
    m.output("tx_data", raw.mux(items[4], out));
    m.output("access", at("access"));
    m.output("write", writes);
    m.output("address", address);
    m.output("wdata", stored);
    m.output("active", !at("hunt"));
    m.output("refused", sent & refuse & field.is(6));
    m
}
