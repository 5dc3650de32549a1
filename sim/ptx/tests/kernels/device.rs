//! A device for tests: a module, memory, and launches with typed parameters.

use tandem_ptx::{Asynchrony, Fault, Launch, Memory, Module, Options, Stats, Swizzle, TensorMap, run};

/// A parameter of a kernel.
pub enum Arg {
    U64(u64),
    U32(u32),
    F32(f32),
    Map([u8; 128]),
}

/// A module and the memory that its kernels run on.
pub struct Device {
    pub module: Module,
    pub memory: Memory,
}

/// The shape of a launch.
#[derive(Clone, Copy)]
pub struct Shape {
    pub grid: [u32; 3],
    pub block: u32,
    pub cluster: u32,
    pub shared: u32,
    pub cooperative: bool,
}

impl Shape {
    pub fn new(grid: [u32; 3], block: u32) -> Self {
        Self { grid, block, cluster: 1, shared: 0, cooperative: false }
    }
}

/// Eager once, then late with each of `seeds` seeds.
pub fn modes(seeds: u64) -> impl Iterator<Item = Options> {
    let eager = Options { asynchrony: Asynchrony::Eager, ..Options::default() };
    std::iter::once(eager).chain(late(seeds))
}

pub fn late(seeds: u64) -> impl Iterator<Item = Options> {
    (0..seeds).map(|seed| Options { seed, max_instructions: 20_000_000, ..Options::default() })
}

impl Device {
    pub fn new(ptx: &str) -> Self {
        Self { module: Module::parse(ptx).unwrap_or_else(|e| panic!("{e}")), memory: Memory::new() }
    }

    pub fn floats(&mut self, values: &[f32]) -> u64 {
        let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        self.bytes(&bytes)
    }

    pub fn words(&mut self, values: &[u32]) -> u64 {
        let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        self.bytes(&bytes)
    }

    pub fn halves(&mut self, values: &[u16]) -> u64 {
        let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        self.bytes(&bytes)
    }

    fn bytes(&mut self, bytes: &[u8]) -> u64 {
        let address = self.memory.alloc(bytes.len() as u64);
        self.memory.write(address, bytes).unwrap();
        address
    }

    pub fn read_words(&self, address: u64, count: usize) -> Vec<u32> {
        let mut bytes = vec![0; 4 * count];
        self.memory.read(address, &mut bytes).unwrap();
        bytes.chunks(4).map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()
    }

    pub fn read_floats(&self, address: u64, count: usize) -> Vec<f32> {
        self.read_words(address, count).into_iter().map(f32::from_bits).collect()
    }

    pub fn launch(&mut self, kernel: &str, shape: Shape, args: &[Arg], options: &Options) -> Result<Stats, Fault> {
        let mut params = Vec::new();
        for (arg, param) in args.iter().zip(self.module.kernel(kernel).unwrap().params()) {
            params.resize(param.offset as usize, 0);
            match arg {
                Arg::U64(n) => params.extend(n.to_le_bytes()),
                Arg::U32(n) => params.extend(n.to_le_bytes()),
                Arg::F32(n) => params.extend(n.to_le_bytes()),
                Arg::Map(map) => params.extend(map),
            }
        }
        let launch = Launch {
            module: &self.module,
            kernel,
            grid: shape.grid,
            block: [shape.block, 1, 1],
            cluster: [shape.cluster, 1, 1],
            dynamic_shared: shape.shared,
            cooperative: shape.cooperative,
            params: &params,
        };
        run(&mut self.memory, &launch, options)
    }
}

/// The map of a matrix of `rows` × `columns` elements in `tile` boxes of rows × columns.
pub fn matrix_map(element: u32, address: u64, size: [usize; 2], tile: [u32; 2], swizzle: Swizzle) -> Arg {
    let [rows, columns] = size.map(|s| s as u64);
    let stride = columns * u64::from(element);
    let map = TensorMap::tiled(element, 2, address, &[columns, rows], &[stride], &[tile[1], tile[0]], swizzle);
    Arg::Map(map.unwrap())
}

/// Numbers that repeat and are exact in bf16.
pub fn pattern(count: usize, salt: u32) -> Vec<f32> {
    let mut state = salt;
    (0..count)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            ((state >> 24) as f32 - 128.0) / 64.0
        })
        .collect()
}

/// The upper halves of floats, which are bf16 without rounding for those of [`pattern`].
pub fn bf16(values: &[f32]) -> Vec<u16> {
    values.iter().map(|v| (v.to_bits() >> 16) as u16).collect()
}
