//! `tandem ibp`: files packed and unpacked.

#[allow(dead_code, reason = "nothing here needs hardware")]
mod command;

use command::{Folder, good, models, refused};
use serde_json::Value;
use tandem_ops::def::Random;
use tandem_tensor::{Tensor, write_npy};

/// Rows of halves of binary32 numbers, as bfloat16 is stored.
fn weights(rows: usize, columns: usize) -> Vec<u8> {
    let mut random = Random::new(5);
    let half = |random: &mut Random| ((0.02 * random.normal()) as f32).to_bits() >> 16;
    let codes = (0..rows * columns).map(|_| half(&mut random) as u16).collect();
    write_npy(&Tensor::from_vec([rows, columns], codes).unwrap())
}

/// Rows of which one number in twenty is not zero.
fn sparse(rows: usize, columns: usize) -> Vec<u8> {
    let mut random = Random::new(6);
    let number = |random: &mut Random| if random.within(0, 20) == 0 { random.normal() as f32 } else { 0.0 };
    let numbers = (0..rows * columns).map(|_| number(&mut random)).collect();
    write_npy(&Tensor::from_vec([rows, columns], numbers).unwrap())
}

/// Packs and unpacks a file, and gives the report of packing.
fn there_and_back(folder: &Folder, file: &str, more: &[&str]) -> Value {
    let (archive, again) = (folder.path("archive.ibp"), folder.path("again"));
    let arguments = [&["ibp", "pack", file, "-o", &archive, "--format", "json"][..], more].concat();
    let report = serde_json::from_str(&good(&arguments)).unwrap();
    good(&["ibp", "unpack", &archive, "-o", &again]);
    assert!(std::fs::read(file).unwrap() == std::fs::read(&again).unwrap(), "{file} differs");
    report
}

#[test]
fn matrices_are_packed_without_loss_and_as_well_as_their_bits_allow() {
    let folder = Folder::new("ibp-matrices");
    let file = folder.file("weights.npy", weights(400, 512));
    let report = there_and_back(&folder, &file, &[]);
    let ratio = report["ratio"].as_f64().unwrap();
    assert!(ratio > 1.25 && ratio < 1.35, "{report}");
    assert_eq!((report["rows"].as_u64(), report["row_bytes"].as_u64()), (Some(400), Some(1024)), "{report}");
    for (bits, least) in [("32", 1.22), ("64", 1.25)] {
        let report = there_and_back(&folder, &file, &["--word-bits", bits, "--clusters", "2"]);
        assert!(report["ratio"].as_f64().unwrap() > least, "{report}");
    }
    let file = folder.file("sparse.npy", sparse(300, 256));
    let report = there_and_back(&folder, &file, &[]);
    assert!(report["ratio"].as_f64().unwrap() > 8.0 && report["rows_packed"] == 300, "{report}");
    let rows = folder.path("rows");
    good(&["ibp", "unpack", &folder.path("archive.ibp"), "--rows", "7..20", "-o", &rows]);
    let (rows, whole) = (std::fs::read(&rows).unwrap(), std::fs::read(&file).unwrap());
    let begin = whole.len() - 300 * 1024;
    assert!(rows[..] == whole[begin + 7 * 1024..begin + 20 * 1024]);
}

#[test]
fn any_file_is_packed_without_loss() {
    let folder = Folder::new("ibp-files");
    for (name, bytes) in
        [("empty", vec![]), ("one", vec![7]), ("short", vec![1; 63]), ("text", b"no matrix".repeat(999))]
    {
        let file = folder.file(name, &bytes);
        let report = there_and_back(&folder, &file, &[]);
        assert_eq!(report["bytes"].as_u64(), Some(bytes.len() as u64));
    }
    let Some(models) = models() else { return };
    for model in ["llm/stories260K.bin", "mlperf-tiny/models/ad01_fp32.tflite", "mlperf-tiny/models/ad01_int8.tflite"] {
        let report = there_and_back(&folder, &models.join(model).display().to_string(), &[]);
        assert!(report["ratio"].as_f64().unwrap() > 1.05, "{model}: {report}");
    }
}

#[test]
fn what_is_no_archive_is_cut_off_or_damaged_is_refused_and_nothing_is_written() {
    let folder = Folder::new("ibp-damaged");
    let file = folder.file("weights.npy", weights(200, 256));
    let archive = folder.path("weights.npy.ibp");
    assert!(good(&["ibp", "pack", &file]).contains("ratio"));
    assert!(good(&["ibp", "info", &archive]).contains("200 of 512 bytes"));
    let bytes = std::fs::read(&archive).unwrap();
    let again = folder.path("again");
    for (at, what) in [(4, "no archive"), (20, "header"), (300, "tables"), (bytes.len() - 9, "rows from")] {
        let mut damaged = bytes.clone();
        damaged[at] ^= 0x10;
        let damaged = folder.file("damaged.ibp", damaged);
        refused(&["ibp", "unpack", &damaged, "-o", &again], &["damaged.ibp", what]);
    }
    let cut = folder.file("cut.ibp", &bytes[..bytes.len() / 2]);
    refused(&["ibp", "unpack", &cut, "-o", &again], &["cut.ibp", "cut off"]);
    refused(&["ibp", "info", &cut], &["cut off"]);
    refused(&["ibp", "unpack", &file, "-o", &again], &["no archive"]);
    refused(&["ibp", "unpack", &archive, "--rows", "100..201", "-o", &again], &["0..200"]);
    refused(&["ibp", "pack", &file, "--row-bytes", "30", "--word-bits", "32", "-o", &again], &["30 bytes", "32 bits"]);
    assert!(!std::path::Path::new(&again).exists());
    let other = folder.file("archive", &bytes);
    refused(&["ibp", "unpack", &other], &["--output"]);
}
