//! Memories: one write port with lanes, and read ports.

use crate::module::Module;
use crate::net::Net;

/// What a memory should become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemoryStyle {
    /// Block RAM: reads take a cycle.
    Block,
    /// Look-up tables: small and read at once.
    Distributed,
    /// Registers: as [`MemoryStyle::Distributed`] where look-up tables cannot be memory.
    Registers,
}

/// What synthesis has to find room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryShape {
    /// Words of it.
    pub words: usize,
    /// Bits of a word.
    pub width: u32,
    /// Equal parts of a word that are written apart; none where nothing is written.
    pub lanes: u32,
    /// Read ports.
    pub reads: usize,
    /// What it should become.
    pub style: MemoryStyle,
}

/// A memory of a module. It is written with the clock; its content after power-up is undefined.
#[derive(Clone, Copy)]
pub struct Memory<'m> {
    module: &'m Module,
    index: usize,
    width: u32,
    address_width: u32,
}

/// What the printer needs.
#[derive(Clone, Debug)]
pub(crate) struct MemoryText {
    pub name: String,
    pub depth: usize,
    pub width: u32,
    pub style: MemoryStyle,
    /// Enable with a bit a lane, address, data.
    pub write: Option<(u32, u32, u32)>,
    /// Output net, enable, address; an output without an enable is read at once.
    pub reads: Vec<(u32, Option<u32>, u32)>,
}

impl Module {
    /// A memory of `1 << address_width` words.
    pub fn memory(&self, name: &str, address_width: u32, width: u32, style: MemoryStyle) -> Memory<'_> {
        let depth = 1usize << address_width;
        let text = MemoryText { name: name.to_owned(), depth, width, style, write: None, reads: Vec::new() };
        let index = self.add_memory(text);
        Memory { module: self, index, width, address_width }
    }

    /// Its own memories, without those of its instances.
    pub fn memories(&self) -> Vec<MemoryShape> {
        let inner = self.inner.borrow();
        let shape = |memory: &MemoryText| MemoryShape {
            words: memory.depth,
            width: memory.width,
            lanes: memory.write.map_or(0, |(enable, ..)| inner.nodes[enable as usize].width),
            reads: memory.reads.len(),
            style: memory.style,
        };
        inner.memories.iter().map(shape).collect()
    }
}

impl<'m> Memory<'m> {
    /// The write port: `enable` has one bit for each equal lane of the word.
    #[track_caller]
    pub fn write(self, enable: Net<'m>, address: Net<'m>, data: Net<'m>) {
        self.check(address);
        assert!(
            data.width() == self.width && self.width.is_multiple_of(enable.width()),
            "{}: {} bits in {} lanes written to words of {} bits",
            self.module.name(),
            data.width(),
            enable.width(),
            self.width
        );
        let port = (self.module.own(enable), self.module.own(address), self.module.own(data));
        self.module.with_memory(self.index, |memory| {
            assert!(memory.write.is_none(), "memory {} has a write port already", memory.name);
            memory.write = Some(port);
        });
    }

    /// A read port: the word of the cycle before, held while `enable` is low.
    ///
    /// Reading and writing one word in the same cycle gives an undefined word; simulation reports it.
    #[track_caller]
    pub fn read(self, name: &str, enable: Net<'m>, address: Net<'m>) -> Net<'m> {
        self.port(name, Some(enable), address)
    }

    /// A read port without a register.
    #[track_caller]
    pub fn read_now(self, name: &str, address: Net<'m>) -> Net<'m> {
        self.port(name, None, address)
    }

    #[track_caller]
    fn port(self, name: &str, enable: Option<Net<'m>>, address: Net<'m>) -> Net<'m> {
        self.check(address);
        let enable = enable.map(|enable| {
            assert!(enable.width() == 1, "{}: an enable of {} bits", self.module.name(), enable.width());
            self.module.own(enable)
        });
        let (address, out) = (self.module.own(address), self.module.declare(name, self.width));
        self.module.with_memory(self.index, |memory| {
            memory.reads.push((out.id, enable, address));
        });
        out
    }

    #[track_caller]
    fn check(self, address: Net<'m>) {
        assert!(
            address.width() == self.address_width,
            "{}: an address of {} bits, expected {}",
            self.module.name(),
            address.width(),
            self.address_width
        );
    }
}
