//! Checked frames: how a request and its reply stand on the wire, and the addresses behind the bridge.
//!
//! ```text
//! C0 | kind  seq  count  address (4, big-endian)  data (4 count)  CRC-32 (4) | C0     request: write 11, read 12
//! C0 | kind  seq  status  data (4 count)                          CRC-32 (4) | C0     reply: kind + 80, or FF for a refusal
//! ```
//!
//! What stands between two borders is escaped, so that a border is a border wherever it is seen: a receiver that lost its place
//! finds it again at the next one. Words are big-endian, the address counts words.

/// Begins and ends a frame; several in a row are one border.
pub const BORDER: u8 = 0xc0;
/// Begins the two bytes that stand for a border or for itself inside a frame.
pub const ESCAPE: u8 = 0xdb;
/// After [`ESCAPE`]: a border.
pub const ESCAPED_BORDER: u8 = 0xdc;
/// After [`ESCAPE`]: an escape.
pub const ESCAPED_ESCAPE: u8 = 0xdd;
/// Most words of one frame.
pub const MAX_WORDS: usize = 64;
/// Bytes of the longest frame between its borders, before escaping.
const MAX_BYTES: usize = 7 + 4 * MAX_WORDS + 4;

/// First byte of a request or of a reply.
pub mod kind {
    /// Writes words.
    pub const WRITE: u8 = 0x11;
    /// Reads words.
    pub const READ: u8 = 0x12;
    /// Set in the reply to either.
    pub const REPLY: u8 = 0x80;
    /// The reply to a frame that was not understood, with sequence number 0.
    pub const REFUSED: u8 = 0xff;
}

/// Third byte of a reply.
pub mod status {
    /// Done.
    pub const OK: u8 = 0;
    /// The bus behind the bridge reported an error.
    pub const BUS: u8 = 1;
    /// Nothing has this address.
    pub const ADDRESS: u8 = 2;
    /// The frame was not understood and nothing was done.
    pub const REFUSED: u8 = 0xee;
}

/// The address space of the bridge, in bytes.
pub mod window {
    /// The registers of the core.
    pub const REGISTERS: u32 = 0xf000_0000;
    /// The words of the shell.
    pub const SHELL: u32 = 0xf000_1000;
    /// Bytes of either window.
    pub const BYTES: u32 = 0x1000;
}

/// The words of the shell, by their number.
pub mod shell {
    /// Reads [`MAGIC_VALUE`].
    pub const MAGIC: u32 = 0;
    /// Version: major in the high half.
    pub const VERSION: u32 = 1;
    /// Bytes of device memory.
    pub const MEMORY_BYTES: u32 = 2;
    /// The clock in hertz.
    pub const CLOCK_HZ: u32 = 3;
    /// Bits a second on the wire.
    pub const BAUD: u32 = 4;
    /// Checked frames that were refused.
    pub const REFUSED: u32 = 5;
    /// Written with 1: plain commands may write again.
    pub const PLAIN: u32 = 6;
    /// First byte of device memory, from version 1.1 on; before that it is 0.
    pub const MEMORY_BASE: u32 = 7;
    /// What the first word reads.
    pub const MAGIC_VALUE: u32 = 0x5444_4d31;
    /// The version whose device memory begins at 0.
    pub const VERSION_1_0: u32 = 0x0001_0000;
    /// The version that says where device memory begins.
    pub const VERSION_1_1: u32 = 0x0001_0001;
}

/// What a request asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// Writes words from a word address on.
    Write {
        /// Byte address divided by four.
        word_addr: u32,
        /// What is written.
        words: Vec<u32>,
    },
    /// Reads words from a word address on.
    Read {
        /// Byte address divided by four.
        word_addr: u32,
        /// How many.
        count: usize,
    },
}

/// A reply whose checksum is right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The kind of the request with [`kind::REPLY`], or [`kind::REFUSED`].
    pub kind: u8,
    /// The sequence number of the request.
    pub seq: u8,
    /// How it went.
    pub status: u8,
    /// The words of a read.
    pub words: Vec<u32>,
}

/// A chunk between two borders that is no frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Garbled;

/// Collects bytes until a frame is complete.
#[derive(Clone, Debug, Default)]
pub struct Deframer {
    bytes: Vec<u8>,
    escaped: bool,
    garbled: bool,
}

impl Request {
    /// The first byte.
    pub fn kind(&self) -> u8 {
        match self {
            Request::Write { .. } => kind::WRITE,
            Request::Read { .. } => kind::READ,
        }
    }

    /// The words that it moves.
    pub fn count(&self) -> usize {
        match self {
            Request::Write { words, .. } => words.len(),
            Request::Read { count, .. } => *count,
        }
    }

    /// What stands between the borders, checksum included, before escaping.
    pub fn bytes(&self, seq: u8) -> Vec<u8> {
        let (word_addr, words): (u32, &[u32]) = match self {
            Request::Write { word_addr, words } => (*word_addr, words),
            Request::Read { word_addr, .. } => (*word_addr, &[]),
        };
        let mut bytes = vec![self.kind(), seq, self.count() as u8];
        bytes.extend(word_addr.to_be_bytes());
        bytes.extend(words.iter().flat_map(|word| word.to_be_bytes()));
        sealed(bytes)
    }

    /// Bytes on the wire of request and reply together, escapes not counted.
    pub fn wire_bytes(&self) -> usize {
        // Borders, header and checksum of both directions, and the words once.
        2 + 7 + 4 + 2 + 3 + 4 + 4 * self.count()
    }

    /// The request in the content of a frame and its sequence number; `None` where the form is wrong.
    pub fn parse(content: &[u8]) -> Option<(u8, Request)> {
        let (head, data) = content.split_first_chunk::<7>()?;
        let [kind, seq, count, address @ ..] = *head;
        let (count, word_addr) = (usize::from(count), u32::from_be_bytes(address));
        if !(1..=MAX_WORDS).contains(&count) {
            return None;
        }
        match kind {
            kind::WRITE if data.len() == 4 * count => Some((seq, Request::Write { word_addr, words: words(data) })),
            kind::READ if data.is_empty() => Some((seq, Request::Read { word_addr, count })),
            _ => None,
        }
    }
}

impl Reply {
    /// What stands between the borders, checksum included, before escaping.
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = vec![self.kind, self.seq, self.status];
        bytes.extend(self.words.iter().flat_map(|word| word.to_be_bytes()));
        sealed(bytes)
    }

    /// The reply in the content of a frame; `None` where the form is wrong.
    pub fn parse(content: &[u8]) -> Option<Reply> {
        let ([kind, seq, status], data) = content.split_first_chunk::<3>()?;
        let whole = data.len().is_multiple_of(4);
        whole.then(|| Reply { kind: *kind, seq: *seq, status: *status, words: words(data) })
    }
}

impl Deframer {
    /// One more byte. At a border that ends a chunk: its content without the checksum, or that it is no frame.
    pub fn push(&mut self, byte: u8) -> Option<Result<Vec<u8>, Garbled>> {
        if byte == BORDER {
            let whole = std::mem::take(self);
            return (!whole.is_empty()).then(|| whole.content().ok_or(Garbled));
        }
        match (self.escaped, byte) {
            (false, ESCAPE) => self.escaped = true,
            (false, plain) => self.keep(plain),
            (true, ESCAPED_BORDER) => self.keep(BORDER),
            (true, ESCAPED_ESCAPE) => self.keep(ESCAPE),
            (true, _) => self.garbled = true,
        }
        None
    }

    /// Whether nothing stands behind the last border.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty() && !self.escaped && !self.garbled
    }

    fn keep(&mut self, byte: u8) {
        self.escaped = false;
        if self.bytes.len() < MAX_BYTES {
            self.bytes.push(byte);
        } else {
            self.garbled = true;
        }
    }

    fn content(mut self) -> Option<Vec<u8>> {
        let end = self.bytes.len().checked_sub(4)?;
        let sum = self.bytes.split_off(end);
        let right = !self.garbled && !self.escaped && sum == crc32(&self.bytes).to_be_bytes();
        right.then_some(self.bytes)
    }
}

/// Appends content to a line: escaped, with a border before (`borders` of them) and one behind.
pub fn put(line: &mut Vec<u8>, content: &[u8], borders: usize) {
    line.resize(line.len() + borders, BORDER);
    for &byte in content {
        match byte {
            BORDER => line.extend([ESCAPE, ESCAPED_BORDER]),
            ESCAPE => line.extend([ESCAPE, ESCAPED_ESCAPE]),
            plain => line.push(plain),
        }
    }
    line.push(BORDER);
}

/// CRC-32 of IEEE 802.3: reflected, with all ones before and behind.
pub fn crc32(bytes: &[u8]) -> u32 {
    let step = |crc: u32, &byte: &u8| (crc >> 8) ^ CRC_TABLE[usize::from(crc as u8 ^ byte)];
    !bytes.iter().fold(u32::MAX, step)
}

const CRC_TABLE: [u32; 256] = {
    let mut table = [0; 256];
    let mut index = 0;
    while index < 256 {
        let (mut crc, mut bit) = (index as u32, 0);
        while bit < 8 {
            crc = if crc & 1 == 1 { (crc >> 1) ^ 0xedb8_8320 } else { crc >> 1 };
            bit += 1;
        }
        table[index] = crc;
        index += 1;
    }
    table
};

fn sealed(mut bytes: Vec<u8>) -> Vec<u8> {
    let sum = crc32(&bytes);
    bytes.extend(sum.to_be_bytes());
    bytes
}

fn words(data: &[u8]) -> Vec<u32> {
    data.as_chunks::<4>().0.iter().map(|&word| u32::from_be_bytes(word)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn receive(line: &[u8]) -> Vec<Result<Vec<u8>, Garbled>> {
        let mut deframer = Deframer::default();
        line.iter().filter_map(|&byte| deframer.push(byte)).collect()
    }

    #[test]
    fn the_checksum_is_that_of_ieee_802_3() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
        assert_eq!(crc32(b""), 0);
    }

    #[test]
    fn a_request_stands_on_the_wire_as_the_contract_says() {
        let request = Request::Read { word_addr: 0xf000_1000 / 4, count: 3 };
        let mut line = Vec::new();
        put(&mut line, &request.bytes(7), 1);
        let sum = crc32(&[0x12, 7, 3, 0x3c, 0, 0x04, 0]).to_be_bytes();
        assert_eq!(line[..8], [0xc0, 0x12, 7, 3, 0x3c, 0, 0x04, 0]);
        assert_eq!(line[8..], [sum[0], sum[1], sum[2], sum[3], 0xc0]);
    }

    #[test]
    fn requests_and_replies_come_back_from_the_wire_whatever_bytes_they_hold() {
        for fill in [0u32, 0xc0c0_c0c0, 0xdbdb_dbdb, 0xdbdc_c0dd, u32::MAX] {
            for count in [1, 2, 63, 64] {
                let request = Request::Write { word_addr: fill, words: vec![fill; count] };
                let mut line = Vec::new();
                put(&mut line, &request.bytes(0xc0), 2);
                let [Ok(content)] = &receive(&line)[..] else { panic!("one frame") };
                assert_eq!(Request::parse(content), Some((0xc0, request)));
                let reply = Reply { kind: kind::READ | kind::REPLY, seq: 0xdb, status: 0, words: vec![fill; count] };
                let mut line = Vec::new();
                put(&mut line, &reply.bytes(), 1);
                let [Ok(content)] = &receive(&line)[..] else { panic!("one frame") };
                assert_eq!(Reply::parse(content), Some(reply));
            }
        }
    }

    #[test]
    fn a_frame_with_any_byte_changed_lost_or_doubled_is_garbled() {
        let request = Request::Write { word_addr: 0x00db_c000, words: vec![1, 0xc000_00db] };
        let mut line = Vec::new();
        put(&mut line, &request.bytes(9), 1);
        for at in 1..line.len() - 1 {
            let mut changed = line.clone();
            changed[at] ^= 0x10;
            let mut lost = line.clone();
            lost.remove(at);
            let mut doubled = line.clone();
            doubled.insert(at, line[at]);
            for wrong in [changed, lost, doubled] {
                assert!(receive(&wrong).iter().all(Result::is_err), "{wrong:x?}");
            }
        }
    }

    #[test]
    fn frames_of_a_wrong_form_are_no_requests() {
        for content in [
            &[][..],
            &[0x12, 0, 1, 0, 0, 0],
            &[0x12, 0, 0, 0, 0, 0, 0],
            &[0x12, 0, 65, 0, 0, 0, 0],
            &[0x12, 0, 1, 0, 0, 0, 0, 1],
            &[0x11, 0, 1, 0, 0, 0, 0],
            &[0x13, 0, 1, 0, 0, 0, 0],
        ] {
            assert_eq!(Request::parse(content), None, "{content:?}");
        }
        assert_eq!(Reply::parse(&[0x92, 0]), None);
        assert_eq!(Reply::parse(&[0x92, 0, 0, 1]), None);
    }

    #[test]
    fn an_endless_chunk_takes_no_endless_memory() {
        let mut deframer = Deframer::default();
        for _ in 0..100_000 {
            assert_eq!(deframer.push(1), None);
        }
        assert!(deframer.bytes.len() <= MAX_BYTES);
        assert_eq!(deframer.push(BORDER), Some(Err(Garbled)));
        assert!(deframer.is_empty());
    }
}
