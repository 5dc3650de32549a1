//! The kernels that measure what a device can do at most: that they do as much as is counted, and leave what they should. Times are
//! those of a GPU alone.

mod place;

use tandem_gpu::peak::{Effort, Peaks, Prepared, Probe};
use tandem_gpu::{Device, GpuError, Simulation};
use tandem_tensor::DType;

fn device() -> Option<Device> {
    Some(Device::sim(place::compiler()?, Simulation::seeded(3)))
}

/// The probe's kernel after one launch, with what the simulator counted of it.
fn ran(device: &Device, probe: Probe) -> (Prepared, tandem_ptx::Stats) {
    let prepared = probe.prepare(device, Effort::short(), 11).unwrap();
    device.take_stats();
    prepared.launch(device).unwrap();
    (prepared, device.take_stats().unwrap())
}

fn words(buffer: &tandem_gpu::Buffer) -> Vec<u32> {
    buffer.download([buffer.len()]).unwrap().as_slice::<u32>().unwrap().to_vec()
}

fn xor(words: &[u32]) -> u32 {
    words.iter().fold(0, |all, word| all ^ word)
}

#[test]
fn memory_is_read_and_copied_once_in_whole_sectors() {
    let Some(device) = device() else { return };
    let (read, stats) = ran(&device, Probe::Read);
    let source = words(&read.operands);
    assert_eq!(read.amount, 4.0 * source.len() as f64);
    assert_eq!(xor(&words(&read.out)), xor(&source), "not everything was read once");
    let results = read.out.len() as u64;
    assert_eq!(stats.global_sectors * 32, read.amount as u64 + 32 * results, "and a sector for the word of each warp");
    assert_eq!(stats.global_requests, read.amount as u64 / 512 + results);
    assert!(source.windows(2).filter(|pair| pair[0] == pair[1]).count() < 4, "the words are not at random");

    let (copy, stats) = ran(&device, Probe::Copy);
    assert_eq!(words(&copy.operands), words(&copy.out));
    assert_eq!((stats.global_sectors * 32) as f64, copy.amount);
}

#[test]
fn tensor_instructions_are_as_many_as_are_counted() {
    let Some(device) = device() else { return };
    let issued = |stats: &tandem_ptx::Stats, opcode: &str| -> u64 {
        stats.opcodes.iter().filter(|(name, _)| name.starts_with(opcode)).map(|(_, count)| count).sum()
    };
    let warps = |blocks: u64, each: u64| u64::from(device.facts().multiprocessors) * blocks * each;
    for (probe, opcode, operations) in [
        (Probe::WgmmaBf16, "wgmma.mma_async", 2 * 64 * 256 * 16),
        (Probe::WgmmaF16, "wgmma.mma_async", 2 * 64 * 256 * 16),
        (Probe::WgmmaS8, "wgmma.mma_async", 2 * 64 * 256 * 32),
        (Probe::MmaBf16, "mma.sync", 2 * 16 * 8 * 16),
        (Probe::MmaF16, "mma.sync", 2 * 16 * 8 * 16),
        (Probe::MmaS8, "mma.sync", 2 * 16 * 8 * 32),
    ] {
        let (prepared, stats) = ran(&device, probe);
        // Two rounds: of 16 wgmma, each an instruction of four warps; or of 8 mma.
        let (count, units) = match opcode {
            "wgmma.mma_async" => (warps(1, 8) * 2 * 16, 4),
            _ => (warps(1, 16) * 2 * 8, 1),
        };
        assert_eq!(issued(&stats, opcode), count, "{probe:?}");
        assert_eq!(prepared.amount, (count / units * operations) as f64, "{probe:?}");
        assert_eq!(2.0 * stats.tensor_multiplications as f64, prepared.amount, "{probe:?}");
        assert!(words(&prepared.out).iter().all(|word| *word != 0), "{probe:?}: a warp computed nothing");
    }
    let (prepared, stats) = ran(&device, Probe::Fma);
    let count = warps(2, 16) * 2 * 16 * 8;
    assert_eq!((issued(&stats, "fma.rn.f32"), prepared.amount), (count, (count * 64) as f64));
}

#[test]
fn the_products_of_wgmma_are_those_of_its_operands() {
    let Some(device) = device() else { return };
    let (prepared, _) = ran(&device, Probe::WgmmaS8);
    let operands = prepared.operands.download([prepared.operands.len()]).unwrap();
    let codes = operands.as_slice::<i8>().unwrap();
    // Rows of 128 bytes, whose 16-byte pieces are permuted as TMA's swizzle does.
    let at = |tile: usize, row: usize, byte: usize| {
        i32::from(codes[tile + row * 128 + ((byte / 16) ^ (row % 8)) * 16 + byte % 16])
    };
    let (rows, stage) = (64 * 128, (128 + 256) * 128);
    let mut expected = 0;
    for consumer in 0..2 {
        for row in 0..64 {
            for column in 0..256 {
                let products = (0..4 * 128).map(|k| {
                    let (base, byte) = (k / 128 * stage, k % 128);
                    at(base + consumer * rows, row, byte) * at(base + 2 * rows, column, byte)
                });
                expected ^= products.sum::<i32>() as u32;
            }
        }
    }
    for block in words(&prepared.out).chunks(8) {
        assert_eq!(xor(block), expected);
    }
}

#[test]
fn copies_of_pinned_memory_are_of_buffers_of_the_same_size_and_device() {
    let Some(device) = device() else { return };
    let (pinned, buffer) = (device.pinned(64).unwrap(), device.zeros(DType::U8, 64).unwrap());
    buffer.write(&[7; 64]).unwrap();
    pinned.copy_from(&buffer).unwrap();
    buffer.zero().unwrap();
    pinned.copy_to(&buffer).unwrap();
    assert_eq!(buffer.download([64]).unwrap().as_slice::<u8>().unwrap(), [7; 64]);
    let small = device.zeros(DType::U8, 63).unwrap();
    assert!(matches!(pinned.copy_to(&small), Err(GpuError::Invalid(text)) if text.contains("63")));
    let other = self::device().unwrap().zeros(DType::U8, 64).unwrap();
    assert!(matches!(pinned.copy_from(&other), Err(GpuError::Invalid(text)) if text.contains("two devices")));
}

#[test]
fn a_device_without_a_clock_has_no_figures_and_no_limits() {
    let Some(device) = device() else { return };
    let mut seen = Vec::new();
    let peaks = Peaks::measure(&device, Effort::short(), 1, |probe| seen.push(probe));
    assert_eq!(seen, Probe::ALL);
    for (probe, found) in peaks.iter() {
        // The host's clock tells how long it waits.
        assert!(probe == Probe::RoundTrip || matches!(found, Err(GpuError::Unsupported(_))), "{probe:?}: {found:?}");
    }
    assert!(matches!(peaks.limits("x", "y"), Err(GpuError::Unsupported(text)) if text.contains("no clock")));
}
